"""The transformers engine against transformers' own generate, and against itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message
from drp_plugin.sampling import pool
from drp_plugin.sampling.batching import Picker
from drp_plugin.sampling.completions import Completion, Failed, SampleRequest
from drp_plugin.sampling.through_ledger import opened, within_budget
from drp_plugin.sampling.transformers_engine import TIER, HFSampler


def asked(index: int, **settings: object) -> SampleRequest:
    text = "apples " * (index % 13) + f"what is {index} + 2 ?"
    return SampleRequest(messages=(Message(role="user", content=text),), **{
        "temperature": 0.0, "max_new_tokens": 20 + (index * 37) % 90, "seed": index, **settings})


@pytest.fixture(scope="module")
def sampler(random_student: Path) -> HFSampler:
    return HFSampler(str(random_student), batch_size=5, workers=1)


def test_greedy_equals_generate(sampler: HFSampler) -> None:
    requests = [asked(i) for i in range(23)]
    outcomes = dict(sampler.sample(requests))
    assert sorted(outcomes) == list(range(23))
    finishes = set()
    for index, request in enumerate(requests):
        prompt = torch.tensor([sampler.chat.encode(request.messages)])
        ids = sampler.model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
            max_new_tokens=request.max_new_tokens)[0, prompt.shape[1]:].tolist()
        stopped = ids[-1] in sampler.chat.stop_ids
        ids = ids[:-1] if stopped else ids
        assert outcomes[index] == Completion(
            text=sampler.chat.decode(ids), tokens=len(ids), prompt_tokens=prompt.shape[1],
            finish="stop" if stopped else "length")
        finishes.add(outcomes[index].finish)
    assert finishes == {"stop", "length"}  # else the model is no test of both


def test_draws_do_not_depend_on_the_company(sampler: HFSampler, random_student: Path) -> None:
    requests = [asked(i, temperature=4.0, top_p=0.99, max_new_tokens=700) for i in range(12)]
    one = dict(sampler.sample(requests))
    other = dict(HFSampler(str(random_student), batch_size=12, workers=1).sample(requests[::-1]))
    assert [one[i] for i in range(12)] == [other[11 - i] for i in range(12)]
    assert max(c.tokens for c in one.values()) > TIER  # some went through several passes
    assert one[0] != dict(sampler.sample([requests[0].model_copy(update={"seed": 99})]))[0]


def test_processes_draw_the_same(sampler: HFSampler, random_student: Path) -> None:
    requests = [asked(i, temperature=0.7, max_new_tokens=30) for i in range(2 * pool.LEAST)]
    alone = dict(sampler.sample(requests))
    shared = dict(HFSampler(str(random_student), workers=2).sample(requests))
    assert shared == alone


def test_a_dead_process_is_an_error(random_student: Path) -> None:
    requests = [asked(i) for i in range(4)]
    with pytest.raises(RuntimeError, match="ended with"):
        list(pool.run(HFSampler, {"model": "/nowhere"}, requests, 2))


def test_context_and_limits(sampler: HFSampler) -> None:
    long = SampleRequest(messages=(Message(role="user", content="apples " * 2000),))
    full = asked(3, max_new_tokens=100_000, temperature=1.5, top_p=1.0)
    cut = asked(4, temperature=1.5, max_new_tokens=300, cutoff=7)
    outcomes = dict(sampler.sample([long, full, cut]))
    assert isinstance(outcomes[0], Failed) and "context 1024" in outcomes[0].error
    assert outcomes[1].prompt_tokens + outcomes[1].tokens <= 1024
    assert (outcomes[2].finish, outcomes[2].tokens) == ("cutoff", 8)


def test_a_completion_that_ends_at_the_cutoff_is_whole(sampler: HFSampler) -> None:
    """It is told apart from one that would have gone on, by one token more."""
    whole = next(o for o in dict(sampler.sample([asked(i, max_new_tokens=300)
                                                 for i in range(20)])).values()
                 if o.finish == "stop" and o.tokens > 3)
    index = next(i for i in range(20)
                 if dict(sampler.sample([asked(i, max_new_tokens=300)]))[0] == whole)
    n = whole.tokens
    for cutoff, finish in ((n + 1, "stop"), (n, "stop"), (n - 1, "cutoff")):
        found = dict(sampler.sample([asked(index, max_new_tokens=300, cutoff=cutoff)]))[0]
        assert (found.finish, found.tokens) == (finish, n), cutoff
    # the protocol's own limit stays what it is
    limited = dict(sampler.sample([asked(index, max_new_tokens=n - 1, cutoff=n)]))[0]
    assert (limited.finish, limited.tokens) == ("length", n - 1)


def test_stop_loops(sampler: HFSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that says one token for ever is stopped, and only when asked to."""
    def stuck(logits: torch.Tensor, randoms: object) -> torch.Tensor:
        return torch.full((len(logits),), 40)

    monkeypatch.setattr(Picker, "__call__", lambda self, logits, randoms: stuck(logits, randoms))
    free, stopped = (dict(sampler.sample([asked(1, max_new_tokens=600, stop_loops=flag)]))[0]
                     for flag in (False, True))
    assert (free.finish, free.tokens) == ("length", 600)
    assert stopped.finish == "loop" and stopped.tokens < 400


def test_adapter_changes_the_output(random_student: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(random_student),
        peft.LoraConfig(r=8, target_modules="all-linear", init_lora_weights=False))
    model.save_pretrained(tmp_path)
    plain = HFSampler(str(random_student), workers=1)
    adapted = HFSampler(str(random_student), peft=str(tmp_path), workers=1)
    assert plain.identity != adapted.identity
    assert dict(plain.sample([asked(1)])) != dict(adapted.sample([asked(1)]))


def test_sliding_windows_are_refused(random_student: Path, tmp_path: Path) -> None:
    for file in random_student.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["layer_types"][0] = "sliding_attention"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="without full attention"):
        HFSampler(str(tmp_path))


@pytest.mark.parametrize("rows", [1, 3])
def test_picker_keeps_to_the_nucleus(rows: int) -> None:
    """Shares of draws follow the renormalised nucleus, by hand: 0.5, 0.3 of (0.5, 0.3, 0.15, …)."""
    probs = torch.tensor([0.5, 0.3, 0.15, 0.05])
    request = asked(0, temperature=1.0, top_p=0.75)
    picker = Picker([request] * rows, torch.device("cpu"))
    drawn = [picker(probs.log().repeat(rows, 1), [u / 1000] * rows)[-1].item()
             for u in range(1000)]
    assert set(drawn) == {0, 1}
    assert abs(drawn.count(0) / 1000 - 0.625) < 0.002


def test_picker_falls_back_to_the_whole_vocabulary() -> None:
    """A flat distribution has no small nucleus."""
    picker = Picker([asked(0, temperature=1.0, top_p=0.99)], torch.device("cpu"))
    flat = torch.zeros(1, 1000)
    assert {picker(flat, [u / 50])[0].item() // 100 for u in range(50)} == set(range(10))


def test_picker_mixes_greedy_and_sampled() -> None:
    logits = torch.tensor([[0.0, 3.0, 0.0], [0.0, 3.0, 0.0]])
    picker = Picker([asked(0), asked(1, temperature=5.0, top_p=1.0)], torch.device("cpu"))
    assert picker(logits, [0.999, 0.999]).tolist() == [1, 2]


def test_picker_top_k() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    picker = Picker([asked(0, temperature=100.0, top_p=1.0, top_k=2)], torch.device("cpu"))
    assert {picker(logits, [u / 20])[0].item() for u in range(20)} == {0, 1}


def test_an_answer_that_is_begun_goes_on(sampler: HFSampler) -> None:
    """Also where the template has opened the thinking itself, which is not opened twice."""
    chat = sampler.chat
    question = Message(role="user", content="what is 1 + 2 ?")
    plain = chat.tokenizer.decode(chat.encode([question]))
    begun = chat.encode([question, Message(role="assistant", content="<think>\n\n</think>\n\n")])
    text = chat.tokenizer.decode(begun)
    assert text.count("<think>") == 1 and text.endswith("\n\n</think>\n\n")
    assert text.startswith(plain.rstrip())


def test_a_thinking_budget_closes_the_thinking(sampler: HFSampler) -> None:
    """What was thought within it stays as it was; then the model goes on with its answer."""
    requests = [asked(i, max_new_tokens=60) for i in range(12)]
    free = [o for _, o in sorted(dict(sampler.sample(requests)).items())]
    with opened(None) as ledger:
        bound = within_budget(sampler, requests, 20, ledger)
    longer = 0
    for request, whole, cut in zip(requests, free, bound, strict=True):
        if whole.finish == "stop" and whole.tokens < 20:
            assert cut == whole
            continue
        longer += 1
        thought, tag, answer = cut.text.partition("\n</think>\n\n")
        assert tag and whole.text.startswith(thought) and 20 <= cut.tokens <= 60
        assert cut.prompt_tokens == whole.prompt_tokens
        if cut.finish == "length":
            assert cut.tokens == request.max_new_tokens and answer
    assert longer > 3
