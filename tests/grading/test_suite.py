"""The labelled cases: every trap has right and wrong twins, and all come out as labelled."""

from collections import defaultdict

import pytest

from drp_plugin.grading import equal, grade

from .suite import Case, cases

BY_TRAP: dict[str, list[Case]] = defaultdict(list)
for case in cases():
    BY_TRAP[case.trap].append(case)


def test_the_suite_is_large_and_has_twins() -> None:
    assert len(cases()) >= 400
    for trap, members in BY_TRAP.items():
        wants = {c.want for c in members}
        assert wants >= {"right", "wrong"} or "none" in wants, trap
    assert len({(c.dataset, c.gold, c.text) for c in cases()}) == len(cases())


@pytest.mark.parametrize("trap", BY_TRAP)
def test_trap(trap: str) -> None:
    expected = {"right": ("right",), "wrong": ("wrong",), "none": ("no_answer", "truncated")}
    missed = []
    for case in BY_TRAP[trap]:
        got = grade(case.completion, case.gold, case.dataset).outcome
        # an empty box holds no answer, which is not right either
        allowed = expected[case.want] if case.text.strip() or case.want != "wrong" \
            else ("wrong", "no_answer")
        if got not in allowed:
            missed.append((case.gold, case.text, case.want, got))
    assert not missed


def test_equal_is_what_grade_uses() -> None:
    for case in cases():
        if not case.whole:
            assert equal(case.text, case.gold, case.dataset) is (case.want == "right"), case
