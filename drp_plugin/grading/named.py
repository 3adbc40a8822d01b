"""Answers with a notation of their own: times, dates, bases, segments, words, sets of reals."""

from __future__ import annotations

import re

from drp_plugin.grading.answer import Answer, Based, Clock, Expression, Group, Words
from drp_plugin.grading.latex import Node, num
from drp_plugin.grading.normal import WORD_OPEN, plain
from drp_plugin.grading.units import Quantity
from drp_plugin.grading.wording import number_of

_BASED = re.compile(r"(-?)\s*\(?\s*([0-9A-F]+(?:\.[0-9A-F]+)?)\s*\)?\s*(?:_\s*"
                    r"(?:\{?\s*(?:\x02\s*base\s*\x03)?\s*\(?\s*(\d+)\s*\)?\s*\}?|\{?\s*\x02\s*(\w+)\s*\x03\s*\}?"
                    r"|\{\s*([a-z]{3,})\s*\})|,?\s*(?:in\s)?\s*base[ -]?(\d+|[a-z]+))")
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))? ?([ap])\.? ?m\.?", re.IGNORECASE)
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
           "october", "november", "december")
_DATE = re.compile(r"(?:(?P<first>\d{1,2})(?:st|nd|rd|th)?(?: of)? )?(?P<month>[a-z]{3,9})\.?"
                   r"(?(first)| (?P<last>\d{1,2})(?:st|nd|rd|th)?)(?:,? (?P<year>\d{4}))?",
                   re.IGNORECASE)
_REALS = {"": (None, None), "^+": (0, "("), "_>0": (0, "("), "_\\ge0": (0, "["),
          "^-": (0, ")"), "_<0": (0, ")"), "_\\le0": (0, "]")}
_WORD = re.compile(r"[A-Za-z][A-Za-z'.-]*|[^\W\d_a-zA-Z]+")
_NTH = re.compile(r"(?:the )?(\d+)(?:st|nd|rd|th) [a-z]+")
INFINITY = Node("const", name="inf")
MINUS_INFINITY = Node("neg", (INFINITY,))


def number(value: Node, unit: str = "") -> Expression:
    """An expression that is no more than its node."""
    return Expression(value, Quantity(unit, "", False))


def named(text: str) -> Answer | None:
    """What the text names, if it is one of these notations."""
    based = _BASED.fullmatch(re.sub(r"\x02(\w+)\x03(?=\s*_)", r"\1", text)
                             if "_" in text else plain(re.sub("[()]", " ", text)))
    if based:
        return _based(based)
    if not re.search(r"[^\W\d_]", text):
        return None
    if text == "\\emptyset":
        return Words("empty set")
    if text.startswith("\\mathbb{R}"):
        return _reals(re.sub(r"[{} ]", "", text[len("\\mathbb{R}"):]))
    if "\\" in text:
        return None     # a formula
    letters = _letter_list(text) if WORD_OPEN in text else None
    if letters is not None:
        return letters
    inner = plain(re.sub(r"[\^_{}()]", " ", text))
    time = _TIME.fullmatch(inner)
    if time:
        return _clock(time)
    hour = re.fullmatch(r"(\d{1,2}) o'? ?clock", inner)
    if hour:
        return number(num(int(hour[1])), hour[1])
    date = _DATE.fullmatch(inner)
    return _date(date) if date else None


def _reals(part: str) -> Answer | None:
    if part not in _REALS:
        return None
    bound, bracket = _REALS[part]
    zero, low, high = number(num(0)), number(MINUS_INFINITY), number(INFINITY)
    if bound is None:
        return Group("tuple", (low, high), "()")
    if bracket in ("(", "["):
        return Group("tuple", (zero, high), f"{bracket})")
    return Group("tuple", (low, zero), f"({bracket}")


def _clock(match: re.Match[str]) -> Clock | None:
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if not 1 <= hour <= 12 or minute > 59 or second > 59:
        return None
    half = 12 * (match.group(4).lower() == "p")
    return Clock(((hour % 12 + half) * 60 + minute) * 60 + second)


def _date(match: re.Match[str]) -> Words | None:
    """The month, the day and perhaps the year, in this order however they were written."""
    word = match["month"].lower()
    month = next((m for m in _MONTHS if word in (m, m[:3], m[:4] if m[0] == "s" else m)), None)
    if month is None:
        return None
    day = int(match["first"] or match["last"])
    return Words(" ".join(filter(None, (month, str(day), match["year"]))))


def _based(match: re.Match[str]) -> Based | None:
    sign, digits = match[1], match[2]
    name = next(group for group in match.groups()[2:] if group).lower()
    base = int(name) if name.isdecimal() else int(number_of(name) or 0)
    return Based(sign + (digits.lstrip("0") or "0"), base) if base or "_" in match[0] else None


def _letter_list(text: str) -> Answer | None:
    """\\text{A, C and F}: which statements hold, in any order."""
    letters = [part.strip(" ()") for part in re.split(r",|\band\b", plain(text)) if part.strip()]
    if len(letters) < 2 or not all(re.fullmatch(r"[A-Z]", letter) for letter in letters):
        return None
    return Group("list", tuple(Words(letter.lower()) for letter in letters))


def is_words(text: str) -> bool:
    """Whether the answer is words rather than a formula."""
    inner = plain(text)
    marked = WORD_OPEN in text
    outside = re.sub(r"\x02[^\x02\x03]*\x03", "", text).strip(" ()")
    if marked and not outside:
        return not re.fullmatch(r"[\s\d.,/%$+-]*", inner) \
            and not re.match(r"[-$]?\s*\d|.*,", inner)   # \text{5 hours}, \text{A, B}
    if re.search(r"[\\^_=<>{}+*/|]|\d", outside):
        return False
    if inner.lower() in ("no", "yes", "am", "pm", "dne"):
        return True
    return any(len(w) >= 4 or (len(w) == 3 and w.islower()) or not w.isascii()
               for w in _WORD.findall(inner))


def in_words(text: str) -> Answer:
    """A number that is told in words, else the words."""
    inner = plain(text).strip(" .").lower()
    value = number_of(inner)
    if value is not None:
        return number(num(value), inner)
    nth = _NTH.fullmatch(inner)
    return number(num(int(nth[1])), nth[1]) if nth else Words(inner)
