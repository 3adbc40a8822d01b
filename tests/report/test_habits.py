"""Figures about the thinking, on completions whose answers are known by construction."""

from __future__ import annotations

import pytest

from drp_plugin.report import read_runs, score_run
from drp_plugin.report.efficiency import habits
from drp_plugin.tokens import TokenCounter

from .conftest import Writer, documents

THOUGHTS = (
    # right in the second of four sentences of 20 characters each
    "Now 2 + 3 makes 9. \nThen it is just 7.\nWait, let me check.\nAnother way: adds.",
    "",                                                 # no thinking at all
    "The question has a 7. It is unclear what to do.",  # never right
)


def test_habits(write: Writer, counter: TokenCounter) -> None:
    rows = documents(3, set(), 5)
    for sample, thought in zip(rows, THOUGHTS, strict=True):
        sample["target"] = "7"
        sample["filtered_resps"] = f"<think>\n{thought}\n</think>\n\nThe answer is \\boxed{{7}}."
    (run,) = read_runs([f"A={write('run', {'drp_gsm8k': rows})}"])
    scored = score_run(run, counter, 12_000)
    found = habits(scored)
    assert found["skips"] == pytest.approx(1 / 3) and found["first_found"] == pytest.approx(1 / 3)
    assert found["first_correct"] == pytest.approx(39 / 78, abs=0.02)
    assert found["reflections"] == pytest.approx(1 / 3)
    assert found["approaches"] == pytest.approx(1 / 3)
