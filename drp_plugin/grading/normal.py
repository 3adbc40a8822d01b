"""Writing an answer in one plain way: what carries no meaning goes, nothing else."""

from __future__ import annotations

import re

_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|mathit|operatorname|hbox|bf|rm)"
                   r"\s*\{([^{}]*)\}")
_SPACES = re.compile(r"\\[,;:!> ]|\\q?quad(?![A-Za-z])|~|\\(?:no|line)?break(?![A-Za-z])")
_FRAC_BARE = re.compile(r"\\frac\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))\s*(?:\{([^{}]*)\}|([0-9A-Za-z]))")
_SQRT_BARE = re.compile(r"\\sqrt\s*([0-9A-Za-z])")
_UNICODE = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2011": "-", "\u00a0": " ", "\u2009": " ",
                          "\u202f": " ", "\uff0c": ",", "\uff1a": ":", "\u3002": "."})
_REPLACED = (
    ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cfrac", "\\frac"),
    ("\\left", ""), ("\\right", ""), ("\\bigl", ""), ("\\bigr", ""), ("\\displaystyle", ""),
    ("\u00b0", "^\\circ"), ("\u03c0", "\\pi "), ("\u221e", "\\infty "), ("\u00d7", "\\times "),
    ("\u00b7", "\\cdot "), ("\u00f7", "/"), ("\u222a", "\\cup "), ("\u2264", "\\le "),
    ("\u2265", "\\ge "), ("\u2208", "\\in "), ("\u00b1", "\\pm "), ("\u221a", "\\sqrt"),
    ("\\leq", "\\le"), ("\\geq", "\\ge"), ("\\lbrace", "\\{"), ("\\rbrace", "\\}"),
    ("\u00b2", "^2"), ("\u00b3", "^3"), ("\\phantom -", ""),
)


def tidy(text: str) -> str:
    """The answer without delimiters, LaTeX spacing and font commands; fractions in braces."""
    text = text.translate(_UNICODE).strip()
    text = _unwrap(text)
    text = re.sub(r"\\left\s*\.|\\right\s*\.", "", text)
    for old, new in _REPLACED:
        text = text.replace(old, new)
    text = text.replace("\\!", "").replace("{,}", ",")
    for _ in range(3):
        text = _TEXT.sub(lambda m: f" {m.group(1)} ", text)
    text = _SPACES.sub(" ", text)
    for _ in range(4):
        text = _FRAC_BARE.sub(lambda m: "\\frac{%s}{%s}" % (
            (m.group(1) if m.group(1) is not None else m.group(2)).strip(),
            (m.group(3) if m.group(3) is not None else m.group(4)).strip()), text)
    text = _SQRT_BARE.sub(r"\\sqrt{\1}", text)
    return " ".join(text.split()).rstrip(".,;").strip()


def _unwrap(text: str) -> str:
    for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**")):
        if text.startswith(left) and text.endswith(right) and len(text) > len(left + right) \
                and left not in text[len(left):-len(right)]:
            text = text[len(left):-len(right)].strip()
    return text


_UNIT = re.compile(
    r"^(?P<currency>\\?[$\u20ac\u00a3]\s*)?(?P<value>[-+]?[\d.,\s]*\d[\d.,]*(?:\s*/\s*\d+)?"
    r"|[-+]?\d*\s*\\frac\{[^{}]*\}\{[^{}]*\})"
    r"(?P<unit>\s*(?:\^\{?\\circ\}?|\\?%|[A-Za-z][A-Za-z .\-'/]*(?:\^\{?\d\}?)?))?$")


def without_unit(text: str) -> tuple[str, str]:
    """A number and the unit, currency or percent sign written with it ('' where there is none)."""
    match = _UNIT.match(text)
    if not match:
        return text, ""
    unit = ((match.group("currency") or "") + (match.group("unit") or "")).strip()
    return match.group("value").strip(), unit.replace("\\", "")
