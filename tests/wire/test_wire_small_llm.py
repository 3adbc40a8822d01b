"""A real small LLM as a teacher that does not do what it is told: true reasons, no way round."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

import pytest
from provider import Provider
from small_runs import rows_of, traces
from starlette.responses import JSONResponse

from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.messages import Reply
from drp_plugin.records import Usage

pytestmark = pytest.mark.framework
CONTEXT = 900  # Tokens; the prompt of `indexed` alone has about 600


def with_a_long_one(path):
    """Two traces, the second of which is over the context."""
    traces(path, 2)
    short, long = (json.loads(line) for line in path.read_text().splitlines())
    more = "".join(f"\n\nNow {n} and {n + 1} make {2 * n + 1}, I think." for n in range(90))
    long["response"] = long["response"].replace("\n</think>", f"{more}\n</think>")
    path.write_text(json.dumps(short) + "\n" + json.dumps(long) + "\n")
    return path


@pytest.fixture(scope="module")
def sampler(small_llm):
    from drp_plugin.sampling.transformers_engine import HFSampler

    return HFSampler(str(small_llm), threads=1)


def server(sampler):
    """The model behind an endpoint, with a context that a request can be over."""
    from drp_plugin.sampling.completions import SampleRequest

    async def answer(request):
        asked = SampleRequest(messages=request.messages, temperature=0.0,
                              max_new_tokens=request.sampling.max_tokens)
        ((_, said),) = await asyncio.to_thread(lambda: list(sampler.sample([asked])))
        return Reply(text=said.text, finish_reason=said.finish, usage=Usage(
            requests=1, prompt_tokens=said.prompt_tokens, completion_tokens=said.tokens))

    async def over(fault, http, gemini):
        text = "".join(m["content"] for m in (await http.json())["messages"])
        size = len(sampler.chat.tokenizer(text)["input_ids"])
        return None if size < CONTEXT else JSONResponse({"error": {
            "message": f"This model's maximum context length is {CONTEXT} tokens. However, your "
                       f"request has {size} input tokens.", "code": 400}}, 400)

    provider = Provider(answer)
    provider.faults.response = over
    return provider


def test_prose_in_place_of_json_is_named_and_asked_in_no_smaller_part(tmp_path, drp, sampler,
                                                                      small_llm):
    run, data = tmp_path / "run", with_a_long_one(tmp_path / "t.jsonl")
    with server(sampler) as provider:
        command = ("prune", data, "-o", run, "--teacher", "openai:smol", "--base-url",
                   provider.url, "--decompose", "indexed", "--max-tokens", 32, "--repairs", 1,
                   "--concurrency", 1, "--tokenizer", small_llm)
        ran = drp(*command)
        assert ran.code == 2 and "no row was pruned" in ran.err, ran.err
        answered = sum(provider.answered.values())
        pruned, rejects, summary = rows_of(run)
        assert not pruned and summary["balanced"] and summary["requests"] == answered == 4
        for reject in rejects:
            assert reject["reason"] == "bad_format" and reject["reply"]
            assert "not a JSON object" in reject["detail"] or "repeats" in reject["detail"]
        assert provider.received > answered, "the long one was refused, and asked in parts"
        assert drp(*command).code == 2 and sum(provider.answered.values()) == answered


@pytest.mark.vllm
def test_a_schema_that_is_kept_to_makes_no_teacher(tmp_path, small_llm, vllm_python):
    """vLLM holds it to the JSON schema; what it says within that is named as wrong."""
    run, data = tmp_path / "run", with_a_long_one(tmp_path / "t.jsonl")
    done = subprocess.run(
        [str(vllm_python), "-m", "drp_plugin", "prune", str(data), "-o", str(run), "--teacher",
         f"vllm:{small_llm}", "--decompose", "indexed", "--max-tokens", "64", "--repairs", "1",
         "--max-requests", "3", "--engine-arg", f"max_model_len={CONTEXT}", "--engine-arg",
         "dtype=float32", "--engine-arg", "enforce_eager=True", "--tokenizer", str(small_llm)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
        capture_output=True, text=True, timeout=850)
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr[-3000:]
    pruned, rejects, summary = rows_of(run)
    assert len(pruned) + len(rejects) == 2 and summary["balanced"]
    assert set(summary["rejects"]) <= {"bad_format", "cut_reply", "wrong_answer", "no_answer"}
    assert all(reject["detail"] for reject in rejects)
    with Ledger(run / "ledger.sqlite") as ledger:
        replies = ledger._reader.execute("SELECT key FROM replies").fetchall()
        texts = [ledger.get(key)["text"] for (key,) in replies if "/" not in key]
    assert texts and all(text.lstrip().startswith("{") for text in texts), "else no schema held"
