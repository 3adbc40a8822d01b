"""Writing an answer in one plain form, without what carries no meaning."""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate

from drp_plugin.resources import Patterns, table

WORD_OPEN, WORD_CLOSE = "\x02", "\x03"  # Around words that stood in \text{} or the like
_TABLES = table("grading.yaml")["tables"]
_P = Patterns("grading.yaml", "normal")


def _made() -> dict[str, str]:
    """Replacements from Unicode's tables: full-width ASCII, ½, Greek and styled letters."""
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


_CHARACTERS = str.maketrans(_made() | {
    sign: latex for latex, signs in _TABLES["signs"].items() for sign in signs})


def _in_ascii(text: str) -> str:
    """Signs beyond ASCII as LaTeX writes them, where it does."""
    text = _P.built.sub(lambda m: f"\\frac{{{_level(m[1])}}}{{{_level(m[2])}}}", text)
    text = text.translate(_CHARACTERS)
    text = _P.raised.sub(lambda m: f"^{{{_level(m[0])}}}", text)
    text = _P.lowered.sub(lambda m: f"_{{{_level(m[0])}}}", text)
    text = _P.root.sub(lambda m: f"\\sqrt{'' if m[1] == '√' else '[3]' if m[1] == '∛' else '[4]'}"
                                 f"{{{m[2] or m[3]}}}", text)
    if not _P.han.search(text) or _P.changing.search(text) or not re.search("[0-9]", text):
        return text
    # Chinese and Japanese words beside a number go when they do not change it
    text = _P.han.sub(" ", _P.joining.sub(" and ", text))
    return re.sub(r"\\text\{\s*([^{}]*?)\s*\}", r"\1", text).strip(" :,.")


def _level(digits: str) -> str:
    """Superscript and subscript digits as digits."""
    return unicodedata.normalize("NFKC", digits).replace("\u2212", "-")


@lru_cache(maxsize=4_000)
def tidy(text: str) -> str:
    """An answer without math delimiters, spacing, sizes and fonts.

    Words that stood in `\\text{}` come out between two control characters, so that later steps can
    tell them from variables. Unambiguous thousands separators are removed."""
    text = text.replace(WORD_OPEN, "").replace(WORD_CLOSE, "")
    text = _unwrap((text if text.isascii() else _in_ascii(text)).strip())
    if "\\" in text or "{" in text:
        text = _without_commands(text)
    text = " ".join(text.split())
    text = _unwrap(_P.dots.sub(r"\1\\ldots", text)).rstrip(".,;: ").strip()
    text = _rewritten(text, "separators")
    if text[:1] == WORD_OPEN and text[-1:] == WORD_CLOSE and _P.starts_number.match(text):
        text = text[1:-1].strip()       # \\text{5 hours}: a number, not words
    return _rewritten(text, "numbers")      # and functions, from plain text to LaTeX


def _without_commands(text: str) -> str:
    if "color" in text:
        text = _unwrap(_P.colour.sub("", text).strip())
    for old, new in _TABLES["commands"].items():
        text = text.replace(old, new)
    if _P.lines.search(text):
        text = _unwrap(_P.lines.sub("", text).replace("\\\\", ", ").replace("&", " ").strip())
    return _rewritten(text, "markup")


def _rewritten(text: str, stage: str) -> str:
    for name, new in _TABLES["rewritings"][stage]:
        text = getattr(_P, name).sub(_MADE[name] if new is None else new, text)
    return text


def _improper(match: re.Match[str]) -> str:
    whole, top, bottom = (int(part) for part in match.groups() if part)
    return f"\\frac{{{whole * bottom + top}}}{{{bottom}}}" if top < bottom else match[0]


def _chosen(match: re.Match[str]) -> str:
    """5C2, {}_5C_2, ^5P_2, C(5, 2)."""
    n, k = match[1] or match[6], match[4] or match[7]
    return f"\\frac{{{n}!}}{{({n}-{k})!}}" if "P" in match.groups() else f"\\binom{{{n}}}{{{k}}}"


def _repeating(match: re.Match[str]) -> str:
    """0.1\\overline{6}, 0.1(6) and 0.1666… as the fraction."""
    whole, before = match[1] or "0", match[2]
    period = match[3] or match[4] or match[5]
    if period is None:      # dots: the period must be shown twice
        if (shown := _P.shown.fullmatch(before)) is None:
            return match.group()
        before, period = shown[1], shown[2]
    if len(whole + before + period) > 300:
        return match.group()
    scale, nines = 10 ** len(before), 10 ** len(period) - 1
    return f"{{\\frac{{{int(whole + before) * nines + int(period)}}}{{{scale * nines}}}}}"


def _minutes(match: re.Match[str]) -> str:
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)
    return f"\\frac{{{seconds}}}{{3600}}^\\circ"


def _words(match: re.Match[str]) -> str:
    inner = re.sub(r"\\([ $%])", r"\1", match[1])
    return f" {WORD_OPEN}{inner}{WORD_CLOSE} " if re.search(r"[A-Za-z]", inner) else f" {inner} "


_MADE: dict[str, Callable[[re.Match[str]], str]] = {
    "wrapped": _words, "choose": _chosen, "proper": _improper, "repeating": _repeating,
    "minutes": _minutes, "head": lambda match: match[0].replace(",", ""),
    "spaced": lambda match: match[0].replace(" ", ""),
    "named": lambda match: f"\\{match[1] or match[2]} " if match[1] or match[2] else match[0]}


def _unwrap(text: str) -> str:
    changed = True
    while changed:
        changed = False
        for left, right in _TABLES["around"]:
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
    """The text with its spaces in one form, and no marks around words."""
    return " ".join(text.replace(WORD_OPEN, " ").replace(WORD_CLOSE, " ").split())
