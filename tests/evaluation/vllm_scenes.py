"""Run by test_vllm.py in an environment that has vLLM: prints what was seen as JSON.

    python vllm_scenes.py MODEL ADAPTER
"""

import json
import sys


def main(model: str, adapter: str) -> None:
    from drp_plugin.errors import UserError
    from drp_plugin.llm.messages import Message
    from drp_plugin.sampling import vllm_engine
    from drp_plugin.sampling.completions import SampleRequest
    from drp_plugin.sampling.through_ledger import opened, within_budget
    from drp_plugin.sampling.transformers_engine import HFSampler
    from drp_plugin.sampling.vllm_engine import VLLMSampler

    def asked(i: int, **settings) -> SampleRequest:
        return SampleRequest(messages=(Message(role="user", content=f"what is {i} + 2 ?"),), **{
            "temperature": 0.0, "max_new_tokens": 12 + 7 * i % 60, "seed": i, **settings})

    def told(outcomes) -> list:
        return [o.model_dump() for _, o in sorted(dict(outcomes).items())]

    greedy = [asked(i) for i in range(24)]
    sampled = [asked(i, temperature=0.8, top_p=0.9) for i in range(24)]
    seen = {}
    engine = VLLMSampler(model, lora=adapter)
    seen["greedy"] = told(engine.sample(greedy))
    seen["sampled"] = told(engine.sample(sampled))
    seen["reversed"] = told(engine.sample(sampled[::-1]))[::-1]
    seen["cutoff"] = told(engine.sample([asked(0, max_new_tokens=50, cutoff=3, temperature=1.9)]))
    long = SampleRequest(messages=(Message(role="user", content="apples " * 3000),))
    seen["too_long"] = told(engine.sample([long, asked(0)]))
    vllm_engine.AHEAD = 5
    seen["five_ahead"] = told(engine.sample([long] * 6 + greedy))
    stuck = [asked(i, max_new_tokens=900, stop_loops=flag) for i in range(3)
             for flag in (True, False)]
    seen["loops"] = told(engine.sample(stuck))
    seen["hf_loops"] = told(HFSampler(model, peft=adapter, workers=1).sample(stuck))
    seen["hf"] = told(HFSampler(model, peft=adapter, workers=1).sample(greedy))
    seen["hf_without"] = told(HFSampler(model, workers=1).sample(greedy))
    thinkers = [asked(i, max_new_tokens=60).model_copy(update={"messages": (
        Message(role="user", content=f"{i} <think>"),)}) for i in range(12)]
    thinker = VLLMSampler(model)
    seen["own_budget"] = thinker.ends_thinking()
    with opened(None) as ledger:
        seen["within"] = told(enumerate(within_budget(thinker, thinkers, 20, ledger)))
    seen["freely"] = told(thinker.sample(thinkers))
    try:
        VLLMSampler(model, gpu_memory_utilisation=0.5)
    except UserError as error:
        seen["mistake"] = str(error)
    print("SEEN " + json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
