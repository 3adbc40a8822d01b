"""`drp distill` and `drp judge` over HTTP."""

from __future__ import annotations

import json
import re

from faults import Faults
from provider import Provider
from small_runs import rows_of, traces

from drp_plugin.llm.messages import Reply, Request
from drp_plugin.records import Usage


def reply(text: str) -> Reply:
    return Reply(text=text, usage=Usage(requests=1, prompt_tokens=50, completion_tokens=20))


async def solver(request: Request) -> Reply:
    """Adds right, but for a question about 15 apples, and forgets the format once."""
    prompt = request.messages[0].content
    a, b = map(int, re.findall(r"\d+", prompt.split("<question>")[1])[:2])
    if a == 14 and len(request.messages) == 1:
        return reply("It is easy.")
    total = a + b + (a == 15)
    return reply(f"## REASONING\n{a} + {b} = {total}. The answer is {total}.\n\n"
                 f"## ANSWER\nThey have \\boxed{{{total}}} apples.")


def test_distill(tmp_path, drp):
    data, run = traces(tmp_path / "t.jsonl", 6), tmp_path / "run"
    with Provider(solver) as provider:
        command = ("distill", data, "-o", run, "--teacher", "openai:solver", "--base-url",
                   provider.url, "--price", "1,2")
        assert drp(*command).code == 0
        assert provider.received == 7, "one repair"
        assert drp(*command).code == 0
        assert provider.received == 7
    pruned, rejects, summary = rows_of(run)
    assert len(pruned) == 5 and [(r["id"], r["reason"]) for r in rejects] == [
        ("q2", "wrong_answer")]
    assert pruned[0]["response"] == ("<think>\n13 + 7 = 20. The answer is 20.\n</think>\n\n"
                                     "They have \\boxed{20} apples.")
    assert pruned[0]["verdict"] == {"solved": {"ok": True, "answer": "20"}}, "nothing was changed"
    assert summary["cost_usd"] == round(7 * (50 + 2 * 20) / 1e6, 6)
    bare = tmp_path / "questions.jsonl"
    bare.write_text('{"question": "Tom has 2 apples and Ann has 3. How many?", "answer": 5}\n')
    with Provider(solver) as provider:
        assert drp("distill", bare, "-o", tmp_path / "r2", "--teacher", "openai:solver",
                   "--base-url", provider.url).code == 0
    assert rows_of(tmp_path / "r2")[0][0]["id"] == "questions-1"
    assert drp("distill", bare, "-o", tmp_path / "r3", "--teacher", "offline").code == 2


def two_runs(tmp_path, drp):
    data = traces(tmp_path / "t.jsonl", 12)
    for mode in ("skill", "sentence"):
        assert drp("prune", data, "-o", tmp_path / mode, "--teacher", "offline", "--decompose",
                   mode).code == 0
    return tmp_path / "skill", tmp_path / "sentence"


def versions(request: Request) -> tuple[str, str]:
    prompt = request.messages[0].content
    return tuple(re.search(f"<version_{x}>(.*)</version_{x}>", prompt, re.DOTALL)[1]
                 for x in "ab")


def judged(tmp_path, drp, provider, runs, *more):
    ran = drp("judge", *runs, "--judge", "gemini:judge", "--base-url", provider.gemini_url, "-o",
              tmp_path / "out", *more)
    assert ran.code == 0, ran.err
    return ran, json.loads((tmp_path / "out" / "judge.json").read_text())


def test_a_judge_with_a_taste_is_heard_whatever_the_side(tmp_path, drp):
    runs = two_runs(tmp_path, drp)

    async def fewer_steps(request: Request) -> Reply:
        a, b = (v.count("\nStep ") for v in versions(request))
        return reply("Same" if a == b else "‘A’" if a < b else "**B**")

    with Provider(fewer_steps) as provider:
        ran, summary = judged(tmp_path, drp, provider, runs)
        assert provider.received == 24
        judged(tmp_path, drp, provider, runs)
        assert provider.received == 24, "the same again asks nothing"
    steps = summary["steps_per_example"]
    assert steps["one"] != steps["two"]
    winner = "one" if steps["one"] < steps["two"] else "two"
    assert summary["both_orders"][winner] == 12 and summary["contradictions"]["share"] == 0
    assert summary["position"]["A"] == summary["position"]["B"] == 12
    low, high = summary["one_preferred"]["interval"]
    assert 0 <= low < high <= 1 and high - low > 0.2, "12 pairs leave a wide interval"
    assert "prefers run A" in ran.out and "steps per example" in ran.out


def test_a_judge_that_likes_a_side_is_found_out(tmp_path, drp):
    runs = two_runs(tmp_path, drp)

    async def always_a(request: Request) -> Reply:
        return reply("A")

    with Provider(always_a) as provider:
        _, summary = judged(tmp_path, drp, provider, runs, "--sample", "8")
    assert summary["pairs"] == 8 and summary["both_orders"]["contradiction"] == 8
    assert summary["position"]["A_share"]["share"] == 1.0
    assert summary["one_preferred"]["share"] is None
    assert 0 < summary["first_order"]["one"] < 8, "sides are drawn, not fixed"


def test_runs_without_common_traces_are_a_users_mistake(tmp_path, drp):
    runs = two_runs(tmp_path, drp)
    other = traces(tmp_path / "other.jsonl", 3, start=100)
    drp("prune", other, "-o", tmp_path / "o", "--teacher", "offline")
    ran = drp("judge", runs[0], tmp_path / "o", "--judge", "gemini:judge")
    assert ran.code == 2 and "no trace in common" in ran.err and ran.err.count("\n") == 1
    assert drp("judge", runs[0], tmp_path, "--judge", "gemini:judge").code == 2


def test_judgements_are_not_replaced_by_fewer_or_by_anothers(tmp_path, drp):
    runs = two_runs(tmp_path, drp)

    async def always_a(request: Request) -> Reply:
        return reply("A")

    with Provider(always_a) as provider:
        judged(tmp_path, drp, provider, runs)
        good = (tmp_path / "out" / "judgements.jsonl").read_bytes()
        provider.faults = Faults(script=[None] * 4, rate=1.0, kinds=("odd-400",))
        command = ("judge", *runs, "--base-url", provider.gemini_url, "-o", tmp_path / "out")
        fewer = drp(*command, "--judge", "gemini:judge", "--temperature", "0.7")
        provider.faults = Faults()
        other = drp(*command, "--judge", "gemini:another")
        for ran in (fewer, other):
            assert ran.code == 2 and "12 verdicts" in ran.err and "not replaced" in ran.err, ran.err
        assert (tmp_path / "out" / "judgements.jsonl").read_bytes() == good
        ran, _ = judged(tmp_path, drp, provider, runs, "--temperature", "0.7")
