r"""Texts of models on an HTML page: formulas as MathML, all else inert; and pages of such texts.

A formula is what stands between `$…$`, `$$…$$`, `\(…\)` or `\[…\]`, in an environment such as
`align`, or in a `\boxed{…}` of its own. A formula that cannot be read stays text. math-core does
the work, and is not trusted: 0.8.2 lets `\operatorname{<script>}` through as markup (latex2mathml
all of `\text` too), 0.9.0 needs twice the time for every bracket that never closes."""

import base64
import hashlib
import html
import itertools
import json
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import math_core

from drp_plugin.redact import UNSEEN, visible
from drp_plugin.resources import Patterns

_P = Patterns("mathml.yaml", "patterns")
FORMULA = _P.formula.pattern  # Pages split by it, too
#: For what browsers do not draw by themselves, and formulas wider than the page.
STYLE = ("math { max-width: 100%; overflow-x: auto; overflow-y: hidden; } "
         "menclose[notation=box] { border: 1px solid; padding: 0 .2em; }")
_DEEP = 50
_CONVERTER = math_core.LatexToMathML(max_expansions=100, fancy_error=False)


def html_with_math(text: str) -> str:
    """HTML of a text, formulas as MathML, everything else escaped and `visible`."""
    text = visible(text)
    pieces, at = [], 0
    for match, found in _read(text):
        pieces += [html.escape(text[at:match.start()]), found]
        at = match.end()
    return "".join([*pieces, html.escape(text[at:])])


def formulas(text: str) -> Iterator[tuple[str, str]]:
    """The formulas of a text as they stand there, and their MathML, for scripts that show it."""
    return ((match.group(), found) for match, found in _read(text))


def _read(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Places and MathML; several times faster than `finditer` in texts of few formulas."""
    at = 0
    while start := _P.start.search(text, at):
        match = _P.formula.match(text, start.start())
        at = match.end() if match else start.end()
        if match and (found := mathml(match.group())):
            yield match, found


def typeset(answer: Any) -> Any:
    """A bare answer in LaTeX between dollars if all of it is a formula; else unchanged."""
    whole = f"${answer}$"
    return whole if isinstance(answer, str) and "\\" in answer and mathml(whole) else answer


def framed(page: Path, **values: Any) -> tuple[str, str, str]:
    """A page from a template, script and style beside each other: its head with the script, the
    only one that the page's policy allows, by its hash; and its tail. Data go between."""
    template, script, style = (page.with_suffix(end).read_text("utf-8")
                               for end in (".html", ".js", ".css"))
    unseen = re.sub(r"\\U000(\w{5})", r"\\u{\1}", UNSEEN.pattern)  # as JavaScript spells it
    script = f'const UNSEEN = new RegExp({json.dumps(unseen)}, "u");\n{script}'
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head, _, tail = jinja2.Template(
        template, autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    ).render(digest=digest, style=style + STYLE, **values).partition("<!-- data -->")
    return head, f"<script>{script}</script>\n", tail


def island(name: str, texts: Iterable[str], level: int = 9) -> Iterator[str]:
    """Data of a page, piece by piece, as base64 of gzip, which no text can break out of."""
    yield f'<script type="text/plain" id="{name}">'
    packer, packed = zlib.compressobj(level, wbits=31), b""
    for text in texts:
        packed += packer.compress(text.encode())
        whole = len(packed) // 3 * 3
        yield base64.b64encode(packed[:whole]).decode()
        packed = packed[whole:]
    yield base64.b64encode(packed + packer.flush()).decode() + "</script>\n"


@lru_cache(maxsize=4096)
def mathml(source: str) -> str | None:
    """MathML of a formula with its delimiters; None where it cannot be read, or could do harm."""
    opening = _P.dollars.match(source)
    edge = opening.end() if opening else 0
    inside = source[edge:len(source) - edge]
    depth = max(itertools.accumulate((c == "{") - (c == "}") for c in inside), default=0)
    if depth > _DEEP or _P.refused.search(inside) or visible(inside) != inside or (
            _P.prose.match(re.sub(r"\{[^{}]*\}", "{}", source))):
        return None
    try:
        found = _CONVERTER.convert_with_local_state(
            inside, displaystyle=source.startswith(("$$", "\\[", "\\begin")))
        nodes = list(ET.fromstring(found).iter())
    except (math_core.LatexError, UnicodeError, ET.ParseError):
        return None
    # HTML reads instructions and comments differently from XML
    inert = not re.search(r"<[?!]", found) and all(_P.tag.fullmatch(node.tag) and all(
        _P.attribute.fullmatch(f"{name}={value}") for name, value in node.items())
        for node in nodes)
    return found if inert else None
