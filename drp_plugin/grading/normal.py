"""Writing an answer in one plain way: what carries no meaning goes, nothing else."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate

from drp_plugin.grading.signs import in_ascii

#: Around words that stood in \text{} or the like.
WORD_OPEN, WORD_CLOSE = "\x02", "\x03"

_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|textup|textnormal|emph|mbox|hbox|math(?:rm|bf|it|sf)"
    r"|operatorname\*?|boldsymbol|bold|bf|rm|bm|pmb)\s*\{([^{}\\]*(?:\\[ $%,_&][^{}\\]*)*)\}")
_SWITCH = re.compile(r"\\(?:rm|bf|it|displaystyle|textstyle|boldmath|limits|nolimits|tiny|small"
                     r"|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z])")
_SPACE = re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|~|\\(?:no|line)?break(?![A-Za-z])"
                    r"|\\[hv]?phantom\s*(?:\{[^{}]*\}|-)|\\hspace\*?\{[^{}]*\}|&nbsp;")
_SIZES = re.compile(r"\\(?:left|right|middle|[bB]igg?[lrm]?)\s*(?:\.|(?=[\\()\[\]|/<>]|$))"
                    r"|\\(?:left|right)(?![A-Za-z])")
_LINES = re.compile(r"\\(?:begin|end)\{(?:align(?:ed)?|equation|gather(?:ed)?|split)\*?\}")
_GROUPED = re.compile(r"(?<=\d)(?:\{,\}|,\\!|\\!,|\\,|\\thinspace|\\text\{,\})\s*(?=\d{3}(?!\d))")
_HEAD = re.compile(r"^((?:\\?[$€£]|[-+\s])*(?!0,)\d{1,3}(?:,\d{3})+)(?![\d,])(?=\.?\d*[^,]*$)")
_STARTS_NUMBER = re.compile(r"\x02\s*[-+]?\s*[$€£]?\s*\d[^\x02\x03:]*\x03$")
#: How a chance is told.
_OUT_OF = re.compile(r"^(\d+)\s*\x02?\s*(?:in|out of|of every)\s*\x03?\s*(\d+)$")
_MIXED = re.compile(r"(?<![\d/.\w])(\d+) (?:and )?(\d+)/(\d+)(?![\d./])")
_PROPER = re.compile(r"(?<![\w.^\\{}])(\d+) *\\frac *(?:\{ *(\d+) *\}|(\d)) *(?:\{ *(\d+) *\}|(\d))"
                     r"(?! *\^(?! *\\circ))(?!\d*[.\d])")
_SPACED = re.compile(r"^(?:\\?\$\s*)?[-+]?\d{1,3}(?: \d{3})+(?=$|\.\d|\s*[\x02A-Za-z\\%^])")
_ABOUT = re.compile(r"^(?:\x02\s*(?:about|exactly|approximately|approx\.?|roughly)\s*\x03\s*"
                    r"|(\x02?)\s*(?:about|approximately|approx\.?|roughly)\s+(?=[-+]?[\d.$\\]))",
                    re.IGNORECASE)
_COLOUR = re.compile(r"\\(?:textcolor|color)\s*(?:\[[^\[\]]*\])?\s*\{[^{}]*\}")
_SCIENTIFIC = re.compile(r"^(-?\d+(?:\.\d+)?)[eE]([-+]?\d{1,4})(?![\w.])")
_REPEATING = re.compile(
    r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*(?:\{(\d+)\}|(\d))|\((\d+)\)"
    r"|(?<=\d)(?:\\[lc]?dots|\.\.\.)(?![A-Za-z]))")
_DOTS = re.compile(r"(\.\d+)\.\.\.+")
_MODULO = re.compile(r"\x02?\s*\(\s*\x02?\s*mod(?:ulo)?\s*\x03?\s*(\d+)\s*\)\s*\x03?")
_DOTTED = re.compile(r"\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?")
_SHOWN = re.compile(r"(\d*?)(\d{1,12}?)\2+")
_MINUTES = re.compile(r"(\d+)\s*\^\s*\{?\\circ\s*\}?\s*(\d+)\s*(?:'|\^\s*\{?\\prime\}?)(?!')"
                      r"(?:\s*(\d+)\s*(?:''|\"|\^\s*\{?\\prime\\prime\}?))?")
_CHOOSE = re.compile(r"(?:(?<![\w}\\^_])(?:\{\})?[_^]?\{?(\d+|[a-z])\}?\s*"
                     r"(?:\x02([CP])\x03|([CP]))\s*_?\s*\{?(\d+|[a-z])\}?"
                     r"|(?<![A-Za-z])(C)\((\d+),\s*(\d+)\))(?!\w)")
_NAMES = [("\\mathbb R", "\\mathbb{R}"), *(pair.split() for pair in r"""
    \dfrac \frac ; \tfrac \frac ; \cfrac \frac ; \nicefrac \frac ; \sfrac \frac ;
    \dbinom \binom ; \tbinom \binom ; \leqslant \le ; \geqslant \ge ; \lbrace \{ ;
    \rbrace \} ; \varnothing \emptyset ; \degree ^\circ ; \bigcup \cup ; \colon : ;
    \lbrack [ ; \rbrack ] ; \vert BAR ; \mid BAR ; \thickapprox \approx ; \simeq \approx ;
    \dollar \$ ; \percent \% ; \textdollar \$ ; \langle ( ; \rangle ) ; \cdotp \cdot ;
    ^{\circ} ^\circ ; \backslash \setminus ; \smallsetminus \setminus ; {:} : ;
    \textdegree ^\circ ; ^{\text{o}} ^\circ ; ^{\prime} ' ; \infin \infty ; \inftyty \infty ;
    \lvert BAR ; \rvert BAR ; ^\top ^T ; ^{\top} ^T ; \ast *
""".replace("BAR", "|").split(";"))]
_LEQ = re.compile(r"\\(le|ge|ne)q(?![A-Za-z])")
_FUNCTION = (r"(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?|ln|log|exp|cis|sqrt|pi|theta|alpha|beta"
             r"|(?:gcd|lcm|max|min)(?=\s*\x03?\s*\()")
_NAMED = re.compile(rf"\x02\s*({_FUNCTION})\s*\x03|\x02[^\x03]*\x03"
                    rf"|(?<![A-Za-z\\])({_FUNCTION})(?![a-z])")
_INFINITE = re.compile(r"\b(?:(positive)|(negative|minus)) infinity\b|\binfinity\b")


@lru_cache(maxsize=20_000)
def tidy(text: str) -> str:
    """An answer without math delimiters, spacing, sizes and fonts.

    Words that stood in `\\text{}` come out between two control characters, so that what follows
    can tell them from variables. Thousands separators that can be nothing else are gone.
    """
    if WORD_OPEN in text or WORD_CLOSE in text:
        text = text.replace(WORD_OPEN, "").replace(WORD_CLOSE, "")
    text = _unwrap((text if text.isascii() else in_ascii(text)).strip())
    if "\\" in text or "{" in text:
        text = _without_commands(text)
    text = " ".join(text.split())
    text = _unwrap(_DOTS.sub(r"\1\\ldots", text)).rstrip(".,;: ").strip()
    return _numbers(text)


def _without_commands(text: str) -> str:
    if "color" in text:
        text = _unwrap(_COLOUR.sub("", text).strip())
    for old, new in _NAMES:
        text = text.replace(old, new)
    text = _LEQ.sub(r"\\\1", text)
    if _LINES.search(text):
        text = _unwrap(_LINES.sub("", text).replace("\\\\", ", ").replace("&", " ").strip())
    text = _GROUPED.sub("", text).replace("\\!", "")
    text = re.sub(r"(?<=\d)\{,\}(?=\d)", ".", text)     # what is left is a decimal comma
    text = _SIZES.sub("", text)
    for _ in range(3):
        text, changed = _WRAPPED.subn(_words, text)
        if not changed:
            break
    return _SPACE.sub(" ", _SWITCH.sub(" ", text))


def _numbers(text: str) -> str:
    """The forms of numbers and functions that plain text has, as LaTeX has them."""
    text = _ABOUT.sub(r"\1", text)
    text = _HEAD.sub(lambda m: m.group(1).replace(",", ""), text)
    if text[:1] == WORD_OPEN and text[-1:] == WORD_CLOSE and _STARTS_NUMBER.match(text):
        text = text[1:-1].strip()       # \\text{5 hours}: a number, not words
    text = _SPACED.sub(lambda m: m.group().replace(" ", ""), text)
    if re.search("[A-Za-z]", text):
        text = _INFINITE.sub(lambda m: "-\\infty" if m[2] else "\\infty", text)
        text = _NAMED.sub(lambda m: f"\\{m[1] or m[2]} " if m[1] or m[2] else m[0], text)
        text = _OUT_OF.sub(r"\\frac{\1}{\2}", text)
        text = _MODULO.sub(r"\\pmod{\1}", _CHOOSE.sub(_chosen, text))
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text).replace("**", "^")
    if "\\frac" in text:
        text = _PROPER.sub(_improper, text)
    if "." in text:
        text = _REPEATING.sub(_repeating, _DOTTED.sub(r"\\overline{\1\2\3}", text))
    if "\\circ" in text:
        text = _MINUTES.sub(_minutes, text)
    return _SCIENTIFIC.sub(r"\1 \\times 10^{\2}", text)


def _improper(match: re.Match[str]) -> str:
    """A mixed number such as 2\\frac{1}{4} as one fraction."""
    whole, top, bottom = (int(part) for part in match.groups() if part)
    return f"\\frac{{{whole * bottom + top}}}{{{bottom}}}" if top < bottom else match[0]


def _chosen(match: re.Match[str]) -> str:
    """5C2, {}_5C_2, ^5P_2, C(5, 2)."""
    n, k = match[1] or match[6], match[4] or match[7]
    if "P" in (match[2], match[3]):
        return f"\\frac{{{n}!}}{{({n}-{k})!}}"
    return f"\\binom{{{n}}}{{{k}}}"


def _repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6}, 0.1(6) and 0.1666… as the fraction."""
    whole, before = match[1] or "0", match[2]
    period = match[3] or match[4] or match[5]
    if period is None:      # dots: the period must have been shown twice
        shown = _SHOWN.fullmatch(before)
        if shown is None:
            return match.group()
        before, period = shown[1], shown[2]
    if len(whole + before + period) > 300:
        return match.group()
    scale, nines = 10 ** len(before), 10 ** len(period) - 1
    return f"{{\\frac{{{int(whole + before) * nines + int(period)}}}{{{scale * nines}}}}}"


def _minutes(match: re.Match[str]) -> str:
    """Degrees, minutes and seconds of arc as degrees."""
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)
    return f"\\frac{{{seconds}}}{{3600}}^\\circ"


def _words(match: re.Match[str]) -> str:
    inner = match.group(1).replace("\\ ", " ").replace("\\$", "$").replace("\\%", "%")
    if not re.search(r"[A-Za-z]", inner):
        return f" {inner} "
    return f" {WORD_OPEN}{inner}{WORD_CLOSE} "


_AROUND = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("*", "*"),
           ("`", "`"), ('"', '"'), ("\\boxed{", "}"), ("\\underline{", "}"),
           ("\\ensuremath{", "}"), ("\\text{$", "$}"), ("{", "}"))


def _unwrap(text: str) -> str:
    """Without the math delimiters or emphasis that surround the whole."""
    changed = True
    while changed:
        changed = False
        for left, right in _AROUND:
            if text.startswith(left) and text.endswith(right) \
                    and len(text) > len(left) + len(right):
                inner = text[len(left):-len(right)]
                if _balanced(inner) and inner[-1] != "\\" if right == "}" else left not in inner:
                    text, changed = inner.strip(), True
    return text


def _balanced(text: str) -> bool:
    depths = list(accumulate((c == "{") * 2 - 1 for c in re.findall(r"(?<!\\)[{}]", text)))
    return not depths or (min(depths) >= 0 and depths[-1] == 0)


def plain(text: str) -> str:
    """Letters, digits and signs only, for comparing words and as a last resort."""
    text = text.replace(WORD_OPEN, " ").replace(WORD_CLOSE, " ")
    return " ".join(text.split())
