"""Order, bounds, counting, settings."""

from __future__ import annotations

import asyncio
import json
import random
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient, key_of
from drp_plugin.llm.messages import Message, Reply, Request, Sampling, Teacher
from drp_plugin.progress import Display, duration
from drp_plugin.records import Pruned, Reason, Reject, Trace, Usage
from drp_plugin.runner.job import Job, attempt_row, in_order, run_live
from drp_plugin.runner.outputs import differences, outputs, prepare, settle


def collect(items, work, **bounds):
    async def main():
        return [x async for x in in_order(items, work, **bounds)]
    return asyncio.run(main())


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 60), active=st.integers(1, 9), window=st.integers(1, 20),
       seed=st.integers(0, 9))
def test_order_is_kept_and_bounds_hold(count, active, window, seed):
    chance = random.Random(seed)
    running = peak = read = written = most_read = 0

    def items():
        nonlocal read, most_read
        for n in range(count):
            read += 1
            most_read = max(most_read, read - written)
            yield n

    async def work(n):
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await asyncio.sleep(chance.choice([0, 0, 0.001]))
        running -= 1
        return n

    async def main():
        nonlocal written
        got = []
        async for x in in_order(items(), work, active=active, window=window):
            got.append(x)
            written += 1
        return got

    assert asyncio.run(main()) == list(range(count))
    assert peak <= active and most_read <= window + 1


def test_an_exception_ends_it_at_once():
    ended = []

    async def work(n):
        try:
            if n == 3:
                raise UserError("stop")
            await asyncio.sleep(30)
        finally:
            ended.append(n)

    with pytest.raises(UserError, match="stop"):
        collect(range(10), work, active=5, window=10)
    assert sorted(ended) == [0, 1, 2, 3, 4], "the others were cancelled, none was left behind"


def trace(n: int) -> Trace:
    return Trace(id=f"r{n}", question="q", response=f"<think>{n}</think>{n}")


def pruned(row: Trace, usage: Usage) -> Pruned:
    return Pruned(id=row.id, question=row.question, original=row.response, response="x",
                  tokens_before=10, tokens_after=4, teacher="t", prompts_hash="h", usage=usage)


class Scripted(Teacher):
    """A teacher that counts what it is asked."""

    name = "scripted"
    identity: ClassVar[dict[str, str]] = {"kind": "test", "model": "scripted"}

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, request: Request) -> Reply:
        self.asked.append(request.messages[0].content)
        await asyncio.sleep(0)
        return Reply(text="fine", usage=Usage(requests=1, prompt_tokens=5, completion_tokens=2))


async def flow(row, ask):
    reply = await ask(Request(messages=(Message(role="user", content=row.id),)))
    if row.id == "r2":
        raise KeyError("a fault of ours")
    if row.id == "r3":
        return Reject(id=row.id, stage="revise", reason=Reason.BAD_FORMAT, detail="x",
                      usage=reply.usage)
    return pruned(row, reply.usage)


def run(folder, rows, teacher):
    prepare(folder)
    job = Job(rows=lambda: iter(rows), flow=flow, run_dir=folder, settings={"command": "test"})

    async def main():
        with Ledger(folder / "ledger.sqlite") as ledger, Display("test", None) as display:
            client = LedgerClient(teacher, ledger)
            return await run_live(job, client, active=4, display=display)

    return asyncio.run(main())


def test_every_row_is_accounted_for_and_a_fault_of_ours_is_a_reject(tmp_path):
    bad = Reject(id="bad", stage="read", reason=Reason.NOT_JSON, detail="d")
    tally = run(tmp_path, [trace(1), trace(2), bad, trace(3), trace(4)], Scripted())
    assert (tally.rows, tally.pruned, tally.rejected, tally.balanced) == (5, 2, 3, True)
    rejects = [json.loads(x) for x in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert [(r["id"], r["reason"]) for r in rejects] == [
        ("r2", "internal_error"), ("bad", "not_json"), ("r3", "bad_format")]
    assert "KeyError" in rejects[0]["detail"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["tokens_before"] == 20 and summary["tokens_saved"] == 0.6
    assert summary["rejects"] == {"bad_format": 1, "internal_error": 1, "not_json": 1}
    assert summary["requests"] == 4 and summary["prompt_tokens"] == 20, "r2 was paid for, too"


def test_a_run_again_gives_the_same_bytes_and_asks_nothing(tmp_path):
    rows = [trace(n) for n in range(1, 9)]
    teacher = Scripted()
    run(tmp_path, rows, teacher)
    before = {f.name: f.read_bytes() for f in tmp_path.glob("*.json*")}
    run(tmp_path, rows, teacher)
    assert len(teacher.asked) == 8
    assert {f.name: f.read_bytes() for f in tmp_path.glob("*.json*")} == before


def test_outputs_are_whole_or_not_there(tmp_path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with outputs(tmp_path, ledger, {}) as written:
            written.add(trace(1), pruned(trace(1), Usage()))
        whole = (tmp_path / "pruned.jsonl").read_bytes()
        with pytest.raises(RuntimeError), outputs(tmp_path, ledger, {}) as written:
            written.add(trace(2), pruned(trace(2), Usage()))
            raise RuntimeError
        assert (tmp_path / "pruned.jsonl").read_bytes() == whole
        assert not list(tmp_path.glob(".*.tmp"))


def test_what_a_killed_process_left_is_cleared_and_a_living_ones_is_not(tmp_path):
    import os
    (tmp_path / ".pruned.jsonl.999999999.tmp").write_text("half")
    mine = tmp_path / f".pruned.jsonl.{os.getppid()}.tmp"
    mine.write_text("being written")
    with Ledger(tmp_path / "l.sqlite") as ledger, outputs(tmp_path, ledger, {}):
        pass
    assert [f.name for f in tmp_path.glob(".*.tmp")] == [mine.name]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a folder"):
        prepare(tmp_path / "file")


def test_settings_must_be_the_same_to_go_on(tmp_path):
    base = {"teacher": "a", "sampling": {"temperature": 0.0, "seed": None}, "limit": 5}
    assert settle(tmp_path, base) == []
    assert settle(tmp_path, base | {"limit": 10}) == [], "more rows are no other run"
    other = base | {"sampling": {"temperature": 0.5, "seed": None}}
    with pytest.raises(UserError, match=r"temperature: 0\.0 → 0\.5") as caught:
        settle(tmp_path, other)
    assert "--anew" in str(caught.value)
    assert settle(tmp_path, other, anew=True) == ["temperature: 0.0 → 0.5"]
    assert settle(tmp_path, other) == []
    assert differences({"a": None}, {"a": "x"}) == ["a: none → x"]
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings\.json"):
        settle(tmp_path, base)


def test_keys_change_with_everything_that_is_sent_and_with_nothing_else():
    def key(who="a", content="hi", role="user", schema=None, tag="", **sampling):
        return key_of({"model": who}, Request(
            messages=(Message(role=role, content=content),), json_schema=schema, tag=tag,
            sampling=Sampling(**sampling)))

    different = [key(), key(who="b"), key(content="hi!"), key(role="system"), key(temperature=1),
                 key(temperature=None), key(top_p=0.5), key(max_tokens=9), key(seed=1),
                 key(extra={"x": 1}), key(schema={"type": "object"})]
    assert len(set(different)) == len(different)
    assert key(tag="decompose") == key(tag="revise") == key()


def test_a_stop_is_not_taken_for_a_result(tmp_path):
    from drp_plugin.llm.ledger_client import Pending

    async def stopped(row, ask):
        raise Pending("k", Request(messages=()))

    job = Job(rows=lambda: iter(()), flow=stopped, run_dir=tmp_path, settings={})
    assert asyncio.run(attempt_row(trace(1), job, lambda r: None))[1] is None


@pytest.mark.parametrize(("value", "text"), [(5, "5 s"), (65, "1 min 5 s"),
                                             (7270, "2 h 1 min")])
def test_durations(value, text):
    assert duration(value) == text


def test_lines_where_there_is_no_terminal_are_few(capfd):
    clock = [0.0]
    with Display("prune", 1000, status=lambda: "$1.00", clock=lambda: clock[0]) as display:
        for _ in range(1000):
            clock[0] += 0.1
            display.advance()
    lines = capfd.readouterr().err.splitlines()
    assert 5 <= len(lines) <= 8
    assert lines[0].startswith("drp: prune 15") and "/1000" in lines[0]
    assert "10.0/s" in lines[0] and "$1.00" in lines[0] and "left" in lines[0]
