"""Formulas on a page: rendered where they can be read, and nothing else of a text is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from drp_plugin.mathml import FORMULA, formulas, html_with_math, mathml
from drp_plugin.redact import visible


@pytest.mark.parametrize("text", [
    r"$x^2$", r"\(\frac{1}{2}\)", r"\[ x < 5 \]", r"$$\sqrt{2}$$", r"\boxed{\frac{3}{4}}",
    r"\boxed {12^{\text{th}}}", r"$1{,}000$", r"$100\%$", r"$\text{if x is even}$",
    r"\begin{align*}a&=b\\[3pt]c&=d\end{align*}", r"$\{1, 2, \ldots, n\}$",
    r"$n \equiv 2 \pmod{7}$", r"\(k = 3 \implies \text{done}\)", "$PQ = QR = 34$"])
def test_formulas_become_mathml(text: str) -> None:
    found = html_with_math(f"so {text} <then>")
    assert re.fullmatch(r"so <math.*</math> &lt;then&gt;", found, re.DOTALL)
    assert [source for source, _ in formulas(text)] == [text]
    assert ('display="block"' in found) == text.startswith(("$$", r"\[", r"\begin"))


@pytest.mark.parametrize("text", [
    "It costs $5 and $6.", "$5-$6", "$5/$6", "so $5 + $6 = $11", "between $3 and 5$ apples",
    r"\$5 and \$6$", "US$5 (or US$ 6)", r"$\frac{1$", r"\(x", r"$\unknown{x}$", "$ x $"])
def test_money_and_what_cannot_be_read_stay_text(text: str) -> None:
    assert html_with_math(text) == text


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs


@pytest.mark.parametrize("inside", [
    r"\text{<script>alert(1)</script>}", r"\text{</math><img src=x onerror=alert(1)>}",
    r"\href{javascript:alert(1)}{x}", r'\color{red"onload="x}{y}', r"\style{color:red}{y}",
    r'\class{a" onclick="x}{y}', "<img src=x onerror=alert(1)>", r"\text{&lt;b&gt;}", "&amp;",
    r"\operatorname{<img>}", r"\operatorname{<script>alert(1)</script>}",
    r"\operatorname{<?x > <script>alert(1)</script> ?>}", r"\operatorname{<mspace width='2em'/>}",
    r'\operatorname{<mi style="position: fixed; inset: 0">}', r"\operatorname{</math><b>}",
    r"\operatorname{<!-- }", r"\operatorname{<a href=javascript:alert(1)>x</a>}",
    r"\label{a}\ref{a}", r"\hspace{9999em}", r"x\\[9999em]y",
    r"\def\a{\a\a}\a", r"\newcommand{\x}{\x\x}\x", r"\mathrm{<b>}", "\u202ex", "\x00", "\ud800"])
@pytest.mark.parametrize("ends", [("$", "$"), (r"\(", r"\)"), (r"\boxed{", "}")])
def test_hostile_text_is_inert(inside: str, ends: tuple[str, str]) -> None:
    found = html_with_math(f"<b onclick=x>{ends[0]}{inside}{ends[1]}</b>")
    tags = _Tags()
    tags.feed(found)
    assert all(tag.startswith("m") for tag in tags.seen), tags.seen
    assert {name for name, _ in tags.attributes} <= {
        "notation", "display", "stretchy", "lspace", "rspace", "form", "mathvariant", "width"}
    assert not re.search(r"\d{3}em", "".join(value or "" for _, value in tags.attributes))
    assert found.startswith("&lt;b onclick=x&gt;") and visible(found) == found


@pytest.mark.parametrize("text", [
    "$" * 50_000, r"\(" * 20_000, r"\[" * 20_000, r"\boxed{" * 10_000, r"\boxed{{" * 10_000,
    r"\boxed{" + "{}" * 20_000, r"\begin{align}" * 5_000, "$(" * 900 + "$",
    r"\(" + "(" * 1_900 + r"\)", r"\[" + r"\left(" * 300 + r"\]", r"\(" + "[" * 40 + r"\)",
    "$" + "{" * 1_900 + "$", "$" + "^{" * 600 + "x" + "}" * 600 + "$",
    "$" + r"\sqrt" * 390 + "$", "$x" + "'" * 1_900 + "$"], ids=lambda text: text[:9])
def test_no_text_hangs_or_raises(text: str) -> None:
    """Brackets that never close, depth that would overflow a stack, openers without end."""
    assert len(html_with_math(text)) >= len(text)


def test_too_deep_is_refused_before_it_is_parsed() -> None:
    assert mathml("${" + "{" * 49 + "x" + "}" * 50 + "$")
    assert mathml("${" + "{" * 50 + "x" + "}" * 51 + "$") is None


def test_the_pattern_is_javascript_too() -> None:
    """Pages split their texts by it: no Python-only syntax."""
    assert not re.search(r"\(\?P|\(\?[imsx]|\\A|\\Z|\(\?#|\[\^\]", FORMULA)
