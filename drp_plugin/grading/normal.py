"""Writing an answer in one plain way: what carries no meaning goes, nothing else."""

from __future__ import annotations

import re
import unicodedata

#: Around words that stood in \text{} or the like.
WORD_OPEN, WORD_CLOSE = "\x02", "\x03"

_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|textup|textnormal|emph|mbox|hbox|mathrm|mathbf|mathit|mathsf"
    r"|operatorname\*?|boldsymbol|bold|bf|rm)\s*\{([^{}\\]*(?:\\[ $%,_&][^{}\\]*)*)\}")
_SWITCH = re.compile(r"\\(?:rm|bf|it|displaystyle|textstyle|boldmath|limits|nolimits)(?![A-Za-z])")
_SPACE = re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|~|\\(?:no|line)?break(?![A-Za-z])"
                    r"|\\[hv]?phantom\s*(?:\{[^{}]*\}|-)|\\hspace\*?\{[^{}]*\}|&nbsp;")
_SIZES = re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s*(?=[\\()\[\]|./<>]|$)"
                    r"|\\(?:left|right)(?![A-Za-z])")
_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\!,|\\,|\\thinspace)\s*(?=\d{3}(?!\d))")
_HEAD = re.compile(r"^((?:\\?[$€£]|[-+\s])*\d{1,3}(?:,\d{3})+)(?![\d,])(?=\.?\d*\s*(?:[^,]*)$)")
_STARTS_NUMBER = re.compile(r"\x02\s*[-+]?\s*[$€£]?\s*\d[^\x02\x03:]*\x03$")
_MIXED = re.compile(r"(?<![\d/.\w])(\d+) (\d+)/(\d+)(?![\d./])")
_SPACED = re.compile(r"^(?:\\?\$\s*)?[-+]?\d{1,3}(?: \d{3})+(?=$|\.\d|\s*[\x02A-Za-z\\%^])")
_ABOUT = re.compile(r"^(?:\x02\s*(?:about|approximately|approx\.?|roughly)\s*\x03\s*"
                    r"|(\x02?)\s*(?:about|approximately|approx\.?|roughly)\s+(?=[-+]?[\d.$\\]))",
                    re.IGNORECASE)
_COLOUR = re.compile(r"\\(?:textcolor|color)\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}")
_SCIENTIFIC = re.compile(r"^(-?\d+(?:\.\d+)?)[eE]([-+]?\d{1,4})$")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_SUBSCRIPT = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_RAISED, _LOWERED = re.compile("[⁰¹²³⁴-⁹⁺⁻]+"), re.compile("[₀-₉]+")


def _fractions() -> dict[str, str]:
    """½, ⅓ and their like: Unicode itself says what they consist of."""
    found = {}
    for sign in map(chr, (*range(0xBC, 0xBF), *range(0x2150, 0x215F))):
        digits = [chr(int(code, 16)) for code in unicodedata.decomposition(sign).split()[1:]]
        top, bottom = "".join(digits).split("\u2044")
        found[sign] = f"\\frac{{{top}}}{{{bottom}}}"
    return found


_CHARACTERS = str.maketrans({
    # the full-width forms of ASCII, which Chinese text has
    **{chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)}, **_fractions(),
    "\u2212": "-", "\u2013": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\ufeff": "",
    "\u3001": ",", "\u3002": ".", "\u2032": "'", "\u2019": "'", "\u00b0": "^\\circ ",
    "\u2103": "^\\circ C", "\u2109": "^\\circ F", "\u03c0": "\\pi ",
    "\u221e": "\\infty ", "\u00d7": "\\times ", "\u00b7": "\\cdot ", "\u22c5": "\\cdot ",
    "\u00f7": "/", "\u222a": "\\cup ", "\u2229": "\\cap ", "\u2264": "\\le ", "\u2265": "\\ge ",
    "\u2260": "\\ne ", "\u2208": "\\in ", "\u00b1": "\\pm ", "\u2213": "\\mp ",
    "\u2248": "\\approx ", "\u2205": "\\emptyset ", "\u211d": "\\mathbb{R}", "\u27e8": "(",
    "\u27e9": ")", "\u2044": "/", "\u2216": "\\setminus ",
    "\u03b1": "\\alpha ", "\u03b2": "\\beta ", "\u03b8": "\\theta ", "\u03bb": "\\lambda ",
    "\u2003": " ", "\u2002": " ",
})
_UNICODE_ROOT = re.compile(r"\u221a\s*(?:\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))")
_NAMES = (("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("\\cfrac", "\\frac"),
          ("\\leqslant", "\\le"), ("\\geqslant", "\\ge"), ("\\lbrace", "\\{"),
          ("\\rbrace", "\\}"), ("\\varnothing", "\\emptyset"), ("\\degree", "^\\circ"),
          ("\\bigcup", "\\cup"), ("\\colon", ":"), ("\\lbrack", "["), ("\\rbrack", "]"),
          ("\\vert", "|"), ("\\mid", "|"), ("\\thickapprox", "\\approx"), ("\\simeq", "\\approx"),
          ("\\dollar", "\\$"), ("\\percent", "\\%"), ("\\mathbb R", "\\mathbb{R}"),
          ("\\textdollar", "\\$"), ("\\langle", "("), ("\\rangle", ")"),
          ("\\cdotp", "\\cdot"), ("^{\\circ}", "^\\circ"),
          ("\\backslash", "\\setminus"), ("\\smallsetminus", "\\setminus"), ("{:}", ":"),
          ("\\textdegree", "^\\circ"), ("^{\\text{o}}", "^\\circ"), ("^{\\prime}", "'"))
_LEQ = re.compile(r"\\(le|ge|ne)q(?![A-Za-z])")


def tidy(text: str) -> str:
    """An answer without math delimiters, spacing, sizes and fonts.

    Words that stood in `\\text{}` come out between two control characters, so that what follows
    can tell them from variables. Thousands separators that can be nothing else are gone.
    """
    if WORD_OPEN in text or WORD_CLOSE in text:
        text = text.replace(WORD_OPEN, "").replace(WORD_CLOSE, "")
    text = _unwrap((text if text.isascii() else _in_ascii(text)).strip())
    if "\\" in text or "{" in text:
        if "color" in text:
            text = _unwrap(_COLOUR.sub("", text).strip())
        for old, new in _NAMES:
            text = text.replace(old, new)
        text = _LEQ.sub(r"\\\1", text)
        text = _GROUPED.sub("", text).replace("\\!", "")
        text = _SIZES.sub("", text)
        for _ in range(3):
            text, changed = _WRAPPED.subn(_words, text)
            if not changed:
                break
        text = _SWITCH.sub(" ", text)
        text = _SPACE.sub(" ", text)
    text = " ".join(text.split())
    text = _unwrap(text).rstrip(".,;: ").strip()
    text = _ABOUT.sub(r"\1", text)
    text = _HEAD.sub(lambda m: m.group(1).replace(",", ""), text)
    if text[:1] == WORD_OPEN and text[-1:] == WORD_CLOSE and _STARTS_NUMBER.match(text):
        text = text[1:-1].strip()       # \\text{5 hours}: a number, not words
    text = _SPACED.sub(lambda m: m.group().replace(" ", ""), text)
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    return _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)


def _in_ascii(text: str) -> str:
    """Signs beyond ASCII as LaTeX writes them, where it does."""
    text = text.translate(_CHARACTERS)
    text = _RAISED.sub(lambda m: _script("^", m.group().translate(_SUPERSCRIPT)), text)
    text = _LOWERED.sub(lambda m: _script("_", m.group().translate(_SUBSCRIPT)), text)
    return _UNICODE_ROOT.sub(lambda m: f"\\sqrt{{{m.group(1) or m.group(2)}}}", text)


def _script(mark: str, inner: str) -> str:
    return mark + (inner if len(inner) == 1 else f"{{{inner}}}")


def _words(match: re.Match[str]) -> str:
    inner = match.group(1).replace("\\ ", " ").replace("\\$", "$").replace("\\%", "%")
    if not re.search(r"[A-Za-z]", inner):
        return f" {inner} "
    return f" {WORD_OPEN}{inner}{WORD_CLOSE} "


def _unwrap(text: str) -> str:
    """Without the math delimiters or emphasis that surround the whole."""
    changed = True
    while changed:
        changed = False
        for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"),
                            ("**", "**"), ("\\boxed{", "}"), ("\\underline{", "}"), ("{", "}")):
            if text.startswith(left) and text.endswith(right) \
                    and len(text) > len(left) + len(right):
                inner = text[len(left):-len(right)]
                if _balanced(inner) and inner[-1] != "\\" if right == "}" else left not in inner:
                    text, changed = inner.strip(), True
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def plain(text: str) -> str:
    """Letters, digits and signs only, for comparing words and as a last resort."""
    text = text.replace(WORD_OPEN, " ").replace(WORD_CLOSE, " ")
    return " ".join(text.split())
