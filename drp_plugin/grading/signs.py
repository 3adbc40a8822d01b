"""Signs beyond ASCII as LaTeX writes them: Unicode mathematics, Chinese and Japanese."""

from __future__ import annotations

import re
import unicodedata

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED, _LOWERED = re.compile("[⁰¹²³⁴-⁹⁺⁻]+"), re.compile("[₀-₉]+")
_BUILT = re.compile("([⁰¹²³⁴-⁹]+)\u2044([₀-₉]+)")
_ROOT = re.compile(r"([\u221a\u221b\u221c])\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))")
_DEGREES = {"\u221a": "", "\u221b": "[3]", "\u221c": "[4]"}


def _made() -> dict[str, str]:
    """What Unicode itself tells: full-width ASCII, ½ and its like, Greek and styled letters."""
    found = {}
    for sign in map(chr, range(0x391, 0x3CA)):
        words = unicodedata.name(sign, "").replace("LAMDA", "LAMBDA").split()
        if len(words) == 4:
            name = words[3].lower()
            found[sign] = f"\\{name if words[1] == 'SMALL' else name.capitalize()} "
    for sign in map(chr, (*range(0xFF01, 0xFF5F), *range(0xBC, 0xBF), *range(0x2150, 0x215F),
                          *range(0x1D400, 0x1D800))):
        plain = unicodedata.normalize("NFKC", sign)
        top, bar, bottom = plain.partition("\u2044")
        found[sign] = f"\\frac{{{top}}}{{{bottom}}}" if bar else found.get(plain, plain)
    return found


_CHARACTERS = str.maketrans({
    **_made(), **dict.fromkeys("\u2212\u2013\u2010\u2011\ufe63", "-"),
    **dict.fromkeys("\u00a0\u2009\u202f\u2003\u2002\u3000", " "),
    **dict.fromkeys("\u200b\ufeff", ""), **dict.fromkeys("\u201c\u201d\u300c\u300d", '"'),
    **dict.fromkeys("\u00b0\u02da\u00ba\u5ea6", "^\\circ "),
    **dict.fromkeys("\u00d7\u2715\u2716\u2a2f", "\\times "),
    **dict.fromkeys("\u00b7\u22c5\u2022\u2219", "\\cdot "), "\u2217": "*",
    "\u3001": ",", "\u3002": ".", "\u2032": "'", "\u2019": "'", "\u2033": "''", "\u2026": "...",
    "\u2103": "^\\circ C", "\u2109": "^\\circ F", "\u221e": "\\infty ",
    "\u00f7": "/", "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2264": "\\le ", "\u2265": "\\ge ",
    "\u2a7d": "\\le ", "\u2a7e": "\\ge ", "\u2260": "\\ne ", "\u2208": "\\in ",
    "\u00b1": "\\pm ", "\u2213": "\\mp ", "\u2248": "\\approx ", "\u2205": "\\emptyset ",
    "\u211d": "\\mathbb{R}", "\u27e8": "(", "\u27e9": ")", "\u2044": "/", "\u2215": "/",
    "\u2216": "\\setminus ", "\u2220": "\\angle ", "\u2261": "\\equiv ",
})

_HAN = re.compile("[\u3040-\u30ff\u3400-\u9fff]+")
_AND = re.compile("[\u548c\u4e0e\u53ca\u6216]|\u307e\u305f\u306f")
#: Beside a number these change it: ten thousands, halves, more, less, not, nths.
_CHANGING = re.compile("[\u4e07\u4ebf\u5343\u534a\u4f59\u591a\u51e0\u4e0d\u975e\u6ca1\u7121\u65e0"
                       "\u5c11\u81f3\u8d85\u5927\u5c0f\u8d1f\u5206\u4e4b\u4ee5]")


def in_ascii(text: str) -> str:
    """Signs beyond ASCII as LaTeX writes them, where it does."""
    text = _BUILT.sub(lambda m: f"\\frac{{{m[1].translate(_SUPERSCRIPT)}}}"
                                f"{{{m[2].translate(_SUBSCRIPT)}}}", text)
    text = text.translate(_CHARACTERS)
    text = _RAISED.sub(lambda m: f"^{{{m[0].translate(_SUPERSCRIPT)}}}", text)
    text = _LOWERED.sub(lambda m: f"_{{{m[0].translate(_SUBSCRIPT)}}}", text)
    text = _ROOT.sub(lambda m: f"\\sqrt{_DEGREES[m[1]]}{{{m[2] or m[3]}}}", text)
    return _without_han(text) if _HAN.search(text) else text


def _without_han(text: str) -> str:
    """Chinese and Japanese words beside a number go when they do not change it."""
    if _CHANGING.search(text) or not re.search("[0-9]", text):
        return text
    text = _AND.sub(" and ", text)
    return re.sub(r"\\text\{\s*([^{}]*?)\s*\}", r"\1", _HAN.sub(" ", text)).strip(" :,.")
