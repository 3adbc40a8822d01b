"""Units of T: what must not be broken, and what must partition."""

from __future__ import annotations

import os

import pytest
from cpu import effort
from hypothesis import given, settings
from hypothesis import strategies as st

from drp_plugin.segment import texts, units

EXAMPLES = int(os.environ.get("DRP_FUZZ", "150"))


def cut(text: str, level: str = "clause") -> list[str]:
    return [piece.strip() for piece in texts(text, units(text, level))]  # type: ignore[arg-type]


@pytest.mark.parametrize("whole", [
    "We know that $x = 1. Then y = 2$ holds here.",
    "So \\(f(x) = x. \\text{ So } y\\) is the map.",
    "\\[\nx = 1. \n\ny = 2.\n\\]",
    "$$a. b. c.$$",
    "\\begin{align}\nx &= 1. \\\\\ny &= 2.\n\\end{align}",
    "```\nx = 1. Then y.\n\nz\n```",
    "It is 3.14 and 2.5 here.",
    "Use e.g. the first and i.e. the second, approx. 3 of them.",
    "The rate (which is 0.4. Not more. See above) is fixed.",
    "We have 5! / 3! = 20 of them.",
    "The sum 1 + 2 + ... + 10 is 55.",
    "1. First we add them.",
    "x = 5 + 3\n= 8\n= 2 * 4",
    'The sign "!" denotes a factorial.',
    "The ratio is 3:4 and 1 : 2 as well.",
])
def test_is_one_unit(whole: str) -> None:
    assert cut(whole) == [whole.strip()]


def test_sentences_and_clauses() -> None:
    text = "She has 5 apples. Is it 6? No, it costs $5 and $10. So 8! is big. Team A. The end"
    assert cut(text, "sentence") == [
        "She has 5 apples.", "Is it 6?", "No, it costs $5 and $10.", "So 8! is big.", "Team A.",
        "The end"]
    assert cut("She reads 8 pages in 20 minutes, so her own rate is: 0.4 pages.") == [
        "She reads 8 pages in 20 minutes,", "so her own rate is:", "0.4 pages."]
    assert cut("She reads 8 pages in 20 minutes, so it is.", "sentence") == [
        "She reads 8 pages in 20 minutes, so it is."]


def test_lines_and_lists() -> None:
    assert cut("So:\n\nx + 1 = 2\n\nThen x = 1.\n- one\n- two\n2. three") == [
        "So:", "x + 1 = 2", "Then x = 1.", "- one", "- two", "2. three"]
    wrapped = "this is a line of prose that was wrapped softly by somebody\nand goes on here."
    assert cut(wrapped) == [wrapped]


def test_an_unclosed_formula_takes_nothing_with_it() -> None:
    assert cut("A sum of $5 is paid. Then more.\n\nAnd \\( x is left open. It ends.") == [
        "A sum of $5 is paid.", "Then more.", "And \\( x is left open.", "It ends."]


PIECES = st.sampled_from([
    "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{a}", "\\end{a}", "```", "(", ")", "[", "]", ".",
    "!", "?", "...", ";", ":", ", so ", " ", "\n", "\n\n", "1.", "e.g.", "x", "The", "5", "=", "\t",
    "\u2028", "\x00", "…", "<think>", "</think>", "é", "漢", "\u202e", "- ", "**", "'", '"'])


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(PIECES | st.text(max_size=6), max_size=60).map("".join),
       st.sampled_from(["sentence", "clause"]))
def test_units_partition_any_text(text: str, level: str) -> None:
    spans = units(text, level)  # type: ignore[arg-type]
    assert "".join(texts(text, spans)) == text
    assert all(span.start < span.end for span in spans)
    assert [a.end for a in spans[:-1]] == [b.start for b in spans[1:]]


@pytest.mark.parametrize("unit", [
    "$", "(", "()", ".", "\\(", "\\begin{a}", "a. ", "\n", "$a", ", so ", "1. ", "\\[\n\n", '"',
    ".)", " ", "```", "x\n\n(a", ".'"])
def test_time_grows_with_length_alone(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    tenth = effort(lambda: units(text[:len(text) // 10]))
    # quadratic work would be a hundred times as much
    assert effort(lambda: units(text)) < 40 * max(tenth, 1)
    spans = units(text)
    assert spans[0].start == 0 and spans[-1].end == len(text)
