"""Answers with a notation of their own: times, dates, bases, lists of letters, words."""

from __future__ import annotations

import re
from fractions import Fraction

from drp_plugin.grading.answer import Answer, Expression, Group, Ratio, Words
from drp_plugin.grading.latex import num
from drp_plugin.grading.normal import WORD_OPEN, plain
from drp_plugin.grading.units import Quantity
from drp_plugin.grading.wording import number_of

_BASED = re.compile(r"(-?)\s*\(?\s*([0-9A-F]+(?:\.[0-9A-F]+)?)\s*\)?\s*(?:_\s*"
                    r"(?:\{?\s*(?:\x02\s*base\s*\x03)?\s*\(?\s*(\d+)\s*\)?\s*\}?"
                    r"|\{?\s*\x02\s*(\w+)\s*\x03\s*\}?"
                    r"|\{\s*([a-z]{3,})\s*\})|,?\s*(?:in\s)?\s*base[ -]?(\d+|[a-z]+))")
_TIME = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d))? ?([ap])\.? ?m\.?", re.IGNORECASE)
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september",
           "october", "november", "december")
_DATE = re.compile(r"(?:(?P<first>\d{1,2})(?:st|nd|rd|th)?(?: of)? )?(?P<month>[a-z]{3,9})\.?"
                   r"(?(first)| (?P<last>\d{1,2})(?:st|nd|rd|th)?)(?:,? (?P<year>\d{4}))?",
                   re.IGNORECASE)
#: Four letters, or three that are no product: odd, but neither xyz nor abc.
_WORD = re.compile(r"[A-Za-z'.]{4}|[^\W\d_a-zA-Z]|"
                   r"(?<![A-Za-z])(?![a-f]{3}|[^aeiouAEIOU]{3})[A-Za-z][a-z]{2}")
_NUMBERED = re.compile(r"(?:the )?(\d+)(?:st|nd|rd|th) [a-z]+|(\d{1,2}) o'? ?clock")


def named(text: str) -> Answer | None:
    """What the text names, if it is one of these notations."""
    based = _BASED.fullmatch(re.sub(r"\x02(\w+)\x03(?=\s*_)", r"\1", text)
                             if "_" in text else plain(re.sub("[()]", " ", text)))
    if based:
        return _based(based)
    if text == "\\emptyset":
        return Words("empty set")
    if "\\" in text or not re.search(r"[^\W\d_]", text):
        return None     # a formula
    parts = [part.strip(" ()") for part in re.split(r",|\band\b", plain(text)) if part.strip()]
    if len(parts) > 1 and all(map(str.isalpha, parts)) and (WORD_OPEN in text or is_words(text)):
        return Group("list", tuple(map(in_words, parts)))      # Alice and Bob; A, C and F
    inner = plain(re.sub(r"[\^_{}()]", " ", text))
    time = _TIME.fullmatch(inner)
    if time:
        hour, minute, second = (int(part or 0) for part in time.groups()[:3])
        half = 12 * (time[4].lower() == "p")
        return Ratio((), ((hour % 12 + half) * 60 + minute) * 60 + second, half=True) \
            if 1 <= hour <= 12 and minute < 60 and second < 60 else None
    date, numbered = _DATE.fullmatch(inner), _NUMBERED.fullmatch(inner.lower())
    return (_date(date) if date else None) or (
        number(int(numbered[1] or numbered[2])) if numbered else None)


def _date(match: re.Match[str]) -> Words | None:
    """The month, the day and perhaps the year, in this order however they were written."""
    word = match["month"].lower()
    month = next((m for m in _MONTHS if word in (m, m[:3], m[:4] if m[0] == "s" else m)), None)
    day = str(int(match["first"] or match["last"]))
    return Words(" ".join(filter(None, (month, day, match["year"])))) if month else None


def _based(match: re.Match[str]) -> Words | None:
    name = next(group for group in match.groups()[2:] if group).lower()
    base = int(name) if name.isdecimal() else int(number_of(name) or 0)
    digits = match[1].replace("-", "minus ") + (match[2].lstrip("0") or "0")
    return Words(f"{digits} base {base}".lower()) if base or "_" in match[0] else None


def is_words(text: str) -> bool:
    """Whether the answer is words rather than a formula."""
    inner = plain(text)
    outside = re.sub(r"\x02[^\x02\x03]*\x03", "", text).strip(" ()")
    if WORD_OPEN in text and not outside:
        return not re.fullmatch(r"[\s\d.,/%$+-]*", inner) \
            and not re.match(r"[-$]?\s*\d|.*,", inner)   # \text{5 hours}, \text{A, B}
    if re.search(r"[\\^_=<>{}+*/|]|\d", outside):
        return False
    return inner.lower() in ("no", "yes", "am", "pm", "dne") or bool(_WORD.search(inner))


def in_words(text: str) -> Answer:
    """A number that is told in words, else the words."""
    inner = plain(text).strip(" .").lower()
    value = number_of(inner)
    return Words(inner) if value is None else number(value)


def number(value: int | Fraction) -> Expression:
    """A bare number."""
    return Expression(num(value), Quantity(str(value), "", False))
