"""Each check of a pruned response, its reason and its switch."""

from __future__ import annotations

import pytest
from scripted import REVISION, STEPS, TRACE, Scripted, prune

from drp_plugin.pruning.flow import PruneOptions, language, same_language, script
from drp_plugin.pruning.numbers import evaluate, new_numbers, values
from drp_plugin.records import Pruned, Reason, Reject

SYNTHESIS = REVISION.split("## SYNTHESIS\n")[1].split("\n\n## ANSWER")[0]


def with_text(text: str, answer: str = "UNCHANGED") -> Scripted:
    return Scripted(STEPS, REVISION.replace(SYNTHESIS, text).replace("UNCHANGED", answer))


@pytest.mark.parametrize(("text", "answer", "reason", "switch"), [
    ("So she needs 300 / 60 hours. The answer is 8.", "UNCHANGED", Reason.ANSWER_CHANGED,
     "check_answer"),
    (SYNTHESIS, "It is \\boxed{6}.", Reason.ANSWER_CHANGED, "check_answer"),
    (SYNTHESIS, "It is what it is.", Reason.ANSWER_CHANGED, "check_answer"),
    ("She reads 77 pages. The answer is 5.", "UNCHANGED", Reason.NEW_NUMBER, "check_numbers"),
    (SYNTHESIS + " " + "So it goes on. " * 60 + "The answer is 5.", "UNCHANGED", Reason.LONGER,
     "check_length"),
    ("She needs 120 / 0.4 = 300 minutes, and then", "UNCHANGED", Reason.CUT_REPLY,
     "check_complete"),
    ("乔伊用二十分钟读八页书，所以每分钟读零点四页，一共需要三百分钟。", "UNCHANGED",
     Reason.WRONG_LANGUAGE, "check_language"),
])
def test_each_check_rejects_and_can_be_switched_off(text: str, answer: str, reason: Reason,
                                                    switch: str) -> None:
    found = prune(with_text(text, answer))
    assert isinstance(found, Reject), found
    assert (found.stage, found.reason) == ("verify", reason), found.detail
    passed = prune(with_text(text, answer), PruneOptions(**{switch: False}))
    assert isinstance(passed, Pruned), passed


def test_an_empty_result_never_passes() -> None:
    trace = TRACE.model_copy(update={"answer": None})
    found = prune(Scripted(STEPS, REVISION.replace(SYNTHESIS, "</think>")), trace=trace)
    assert isinstance(found, Reject) and found.reason is Reason.BAD_FORMAT


def test_equal_answers_need_not_look_equal() -> None:
    row = prune(with_text("So 300 / 60 = 5. The answer is $5.0$.", "That is \\boxed{5.0} hours."))
    assert isinstance(row, Pruned), row


@pytest.mark.parametrize(("text", "known", "new"), [
    ("48 + 24 = 72", "48 and 24", []),
    ("48 + 24 = 73", "48 and 24", ["73"]),
    ("so 48 + 24 = 72 and 72 \\times 2 = 144", "48, 24, 2", []),
    ("\\frac{3}{12} = \\frac{1}{4}", "3/12 and 1", []),
    ("$2{,}162{,}160 \\div 720 = 3003$", "2,162,160 and 720", []),
    ("Dividing 120 by 24 gives 5.", "120 pages, 24 a day", []),
    ("Dividing 120 by 24 gives 6.", "120 pages, 24 a day", ["6"]),
    ("She has three of 12.", "3 apples, a dozen", []),
    ("The square, 5^2 = 25", "5", []),
    ("5! = 120", "5", []),
    ("9! / (6!3!) = 84", "9, 6 and 3", []),
    ("9! / (6!3!) = 85", "9, 6 and 3", ["85"]),
    ("so x + 12 = 12", "nothing", ["12"]),
    ("0.25 of it", "25% of it", []),
    ("1. First\n2. Second\nStep 3: third", "nothing", []),
    ("It is 99.", "9 and 90", ["99"]),
    ("48 clips + 24 clips = 72 clips", "48 24", []),
    ("x_7 = 3", "3", ["7"]),
])
def test_numbers_out_of_nowhere(text: str, known: str, new: list[str]) -> None:
    assert new_numbers(text, known) == new


def test_arithmetic_is_exact_and_bounded() -> None:
    found = evaluate("(1/3 + 1/6) * 2^3 - 50%")
    assert found is not None and found[0] == 3.5
    for hopeless in ("9^9^9", "(" * 500, "1/0", "2+", "99!", "", "x+1", "-" * 400,
                     "9" * 200 + "^60"):
        assert evaluate(hopeless) is None


def test_values_know_words_and_both_readings() -> None:
    assert {3, 12, 1234, 1, 234} <= set(values("three, a dozen, 1,234"))


def test_languages() -> None:
    english = "So the rate is that of the pages that we have, and it is from the question."
    german = "Also ist die Zahl der Seiten nicht das, was wir mit dem Wert von der Frage haben."
    assert (language(english), language(german)) == ("English", "German")
    assert not same_language(german, english) and same_language(english, english)
    assert same_language("x = 5", english) and same_language("$\\frac{1}{2}$", english)
    assert language(english.replace(" ", "–") + " les² des² que²" * 9) == "English"
    assert script("Это русский текст") == "Cyrillic" and script("123 + 4") is None
    assert not same_language("Это русский текст", english)
