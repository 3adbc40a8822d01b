"""Where answers are found, and where none must be found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drp_plugin.grading import extract, grade, last_box


@pytest.mark.parametrize(("completion", "text", "how"), [
    ("x</think>\\boxed{5}", "5", "boxed"),
    ("x</think>The answer is 5.", "5", "stated"),
    ("x</think>we get 5", "5", "last_number"),
    ("x</think>nothing here", None, None),
])
def test_how(completion: str, text: str | None, how: str | None) -> None:
    found = extract(completion)
    assert (found.text, found.how, found.truncated) == (text, how, False)


def test_no_closing_tag_is_truncated() -> None:
    assert extract("<think>\\boxed{5} The answer is 5") == (None, None, True)
    assert grade("\\boxed{5}", "5").outcome == "truncated"


def test_models_that_do_not_think() -> None:
    assert extract("The answer is \\boxed{5}", thinking=False).text == "5"
    assert extract("<think>\\boxed{5}", thinking=False).truncated
    assert extract("<think>\\boxed{5}</think>\\boxed{6}", thinking=False).text == "6"


@pytest.mark.parametrize("text", [
    "x</think>The answer is 12", "x</think>so 12", "x</think>\\boxed{12",
    "x</think>She sold 48 clips and"])
def test_an_answer_that_may_go_on_is_not_complete(text: str) -> None:
    assert extract(text, ended=False).text is None
    assert grade(text, "12", ended=False).outcome == "truncated"


@pytest.mark.parametrize("text", [
    "x</think>The answer is 12. Let", "x</think>\\boxed{12}", "x</think>\\boxed{12} and \\boxed{3"])
def test_a_complete_answer_counts_though_the_text_was_cut(text: str) -> None:
    assert grade(text, "12", ended=False).outcome == "right"


@pytest.mark.parametrize("box", ["\\boxed 1", "\\boxed 1.", "\\boxed 1,", "\\boxed x"])
def test_a_box_without_braces_may_go_on(box: str) -> None:
    text = f"x</think>So {box}"
    assert grade(text, "12", "math500", ended=False).outcome == "truncated"
    assert grade(text, "1", "math500", ended=False).outcome == "truncated"
    assert extract(text).how == "boxed"
    assert extract(f"{text} is it", ended=False).how == "boxed"
    assert extract(f"x</think>\\boxed{{7}}, or {box}", ended=False).text == "7"


@given(st.text(max_size=200), st.text(max_size=50))
def test_nothing_comes_from_the_thinking(thinking: str, answer: str) -> None:
    thinking = thinking.replace("</think>", "")
    # "secret" digits that only the thinking holds
    secret = "\\boxed{987654321} The answer is 987654321"
    found = extract(f"<think>{thinking} {secret}</think>{answer}")
    assert "987654321" not in (found.text or "") or "987654321" in answer
    assert extract(f"<think>{thinking}\\boxed{{987654321}}").text is None


@given(st.recursive(st.text("abc12 ", max_size=5), lambda inner: st.builds(
    lambda a, b: f"{a}{{{b}}}", inner, inner), max_leaves=8))
def test_balanced_boxes_come_out_whole(content: str) -> None:
    if content.strip():
        assert last_box(f"so \\boxed{{{content}}} done") == content.strip()


@given(st.text("\\{}boxed 12", max_size=60))
def test_any_braces_are_survived(text: str) -> None:
    found = last_box(text)
    assert found is None or found in text
