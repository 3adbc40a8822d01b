"""The shortest prefix that is right."""

from __future__ import annotations

import pytest
from scripted import TRACE, Scripted, prune

from drp_plugin.methods.dropping import stated_result
from drp_plugin.methods.earliest_correct import earliest_correct
from drp_plugin.pruning import PruneOptions
from drp_plugin.records import Action, Pruned, Reason, Reject, Trace
from drp_plugin.thinking import split_response

OPTIONS = PruneOptions(teacher="earliest-correct")


def test_cuts_after_the_first_right_result_for_free() -> None:
    thinking = ("She reads 5 days? So maybe it is 5. The time is 120 / 0.4 = 300 minutes. "
                "Then 300 / 60 = 5 hours. Wait, let me check that. 5 * 60 = 300, good.")
    trace = TRACE.model_copy(update={"response": f"<think>{thinking}</think>\\boxed{{5}}"})
    row = prune(Scripted(), OPTIONS, trace, method=earliest_correct)
    assert isinstance(row, Pruned), row
    assert split_response(row.response).thinking == (
        "She reads 5 days? So maybe it is 5. The time is 120 / 0.4 = 300 minutes. "
        "Then 300 / 60 = 5 hours. The answer is 5.")
    assert row.usage.requests == 0 and row.teacher == "earliest-correct"
    assert [r.action for r in row.revisions] == [Action.KEEP] * 4 + [Action.DELETE]
    assert row.revisions[-1].steps == (5, 6)


def test_gold_counts_where_it_is_known() -> None:
    trace = Trace(id="t", question="q", answer="7", response="<think>It is 6. It is 7. So it is "
                  "6 after all, or so it seems.</think>\\boxed{7}")
    row = prune(Scripted(), OPTIONS, trace, method=earliest_correct)
    assert isinstance(row, Pruned), row
    assert split_response(row.response).thinking == "It is 6. It is 7. The answer is 7."


def test_a_trace_that_never_says_it() -> None:
    trace = TRACE.model_copy(update={"response": "<think>Easy, surely.</think>\\boxed{5}"})
    found = prune(Scripted(), OPTIONS, trace, method=earliest_correct)
    assert isinstance(found, Reject) and found.reason is Reason.NO_ANSWER


@pytest.mark.parametrize(("sentence", "result"), [
    ("So 3 + 4 = 7.", "7"), ("The answer is 12.", "12"), ("That gives \\(x = \\frac{1}{2}\\).",
                                                          "\\frac{1}{2}"),
    ("Is it 7?", None), ("Maybe it is 7.", None), ("If it is 7.", None), ("It's 300 minutes long",
                                                                         None)])
def test_what_a_sentence_states(sentence: str, result: str | None) -> None:
    assert stated_result(sentence) == result
