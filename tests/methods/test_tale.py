"""TALE's budgets: a student that says what the test tells it to, and the embedded one."""

from __future__ import annotations

import asyncio

import pytest
from made_samples import sample

from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Reply, Request, TeacherError
from drp_plugin.methods.tale import estimate, search
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.pruning.dialogue import Dialogue, Prune, Rejection, Result
from drp_plugin.pruning.flow import check_trace
from drp_plugin.records import Reason, Trace
from drp_plugin.student import model_path

OPTIONS = PruneOptions()
TRACE = Trace.model_validate(sample("t", 10))


def words(text: str) -> int:
    return len(text.split())


def said(length: int, answer: str = "5") -> str:
    return sample("", length, answer=answer)["response"]


def run(method: Prune, *replies: str | Reply | Exception) -> tuple[Result | Rejection, list[str]]:
    """The result, and what was asked."""
    asked: list[str] = []
    left = list(replies)

    async def ask(request: Request) -> Reply:
        asked.append(request.messages[0].content)
        reply = left.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, Reply) else Reply(text=reply)

    dialogue = Dialogue(RowClient(ask), OPTIONS, Prompts(), words)
    try:
        return asyncio.run(method(check_trace(TRACE, OPTIONS), dialogue)), asked
    except Rejection as rejection:
        return rejection, asked
    finally:
        assert not left, "nobody asked for these"


def test_the_estimated_budget_is_the_second_rounds():
    result, asked = run(estimate, "<think>few</think>Budget: [[42]]", said(1))
    assert isinstance(result, Result) and result.kind == "sample"
    assert result.thinking.count("Let me look") == 1
    assert "[[budget]]" in asked[0] and "use less than 42 tokens" in asked[1]


@pytest.mark.parametrize("reply", ["no idea", "[[0]]", Reply(text="and", finish_reason="length")])
def test_a_budget_that_cannot_be_read_falls_back_to_none(reply):
    result, asked = run(estimate, reply, said(1))
    assert isinstance(result, Result)
    assert asked[1].endswith("Let's think step by step:"), "and to no number"


@pytest.mark.parametrize(("reply", "reason"), [
    (said(1, "6"), Reason.WRONG_ANSWER), ("<think>so", Reason.NO_THINK_END),
    (Reply(text="so", finish_reason="length"), Reason.CUT_REPLY),
    (TeacherError("gone"), Reason.REQUEST_FAILED)])
def test_a_budgeted_answer_that_is_none_is_rejected(reply, reason):
    found, _ = run(estimate, "[[9]]", reply)
    assert isinstance(found, Rejection) and found.reason is reason


def test_the_search_halves_while_it_gets_shorter_and_stays_right():
    full = words(TRACE.response)
    result, asked = run(search, said(7), said(4), said(4))
    assert isinstance(result, Result) and result.thinking.count("Let me look") == 4
    assert [f"less than {full // 2 ** k} tokens" in a for k, a in enumerate(asked, 1)] == [True] * 3


@pytest.mark.parametrize("last", [said(1, "6"), "cut off", Reply(text="x", finish_reason="length")])
def test_the_search_ends_where_the_answer_is_lost(last):
    result, _ = run(search, said(7), said(4), last)
    assert isinstance(result, Result) and result.thinking.count("Let me look") == 4


def test_a_search_that_finds_nothing_says_why():
    for reply, reason in ((said(1, "6"), Reason.WRONG_ANSWER), (said(12), Reason.LONGER)):
        found, _ = run(search, reply)
        assert isinstance(found, Rejection) and found.reason is reason


def test_a_server_that_failed_is_no_end_of_the_search():
    found, _ = run(search, said(7), TeacherError("gone"))
    assert isinstance(found, Rejection) and found.reason is Reason.REQUEST_FAILED


def test_the_embedded_student_under_budgets(prune, built, student_traces):
    """Out of its depth with these prompts or not, every row ends in one of the two files."""
    more = ("--max-tokens", "600", "--engine-arg", "workers=1", "--limit", "4")
    run = prune(student_traces, f"tale-search:{model_path()}", *more)
    assert run.summary["rows"] == 4 == len(run.pruned) + len(run.rejects)
    assert run.summary["requests"] >= 4 and run.summary["balanced"]
    for row in run.pruned:
        assert row["tokens_after"] < row["tokens_before"]
    if run.pruned:
        assert built(run.folder, pairs=True)
    again = prune(student_traces, f"tale-search:{model_path()}", *more)
    assert again.pruned == run.pruned and again.summary["paid"] == run.summary["paid"]
