"""A number and what is written with it: currency, percent, degrees, units, nouns."""

from __future__ import annotations

import re
from typing import NamedTuple

from drp_plugin.grading.normal import WORD_CLOSE, WORD_OPEN

#: Spellings of one unit; two of these that differ make two answers differ.
_SAME = """
$ dollar dollars usd|cent cents ¢|€ euro euros eur|£ pound-sterling gbp
hour hours hr hrs h|minute minutes min mins|second seconds sec secs s|day days|week weeks|
month months|year years yr yrs
meter meters metre metres m|kilometer kilometers kilometre kilometres km|
centimeter centimeters centimetre centimetres cm|millimeter millimeters millimetre mm|
inch inches in in.|foot feet ft ft.|yard yards yd|mile miles mi
gram grams g|kilogram kilograms kg|milligram milligrams mg|pound pounds lb lbs|ounce ounces oz
liter liters litre litres l|milliliter milliliters ml|gallon gallons gal
mph miles-per-hour mi/hr mi/h|kph km/h km/hr kilometers-per-hour
degree degrees ^\\circ deg|degree-c degrees-c degrees-celsius celsius|
degree-f degrees-f degrees-fahrenheit fahrenheit|radian radians rad|% percent percentage pct|
"""
CANONICAL = {word: group.split()[0]
             for group in _SAME.replace("\n", "|").split("|") if group.strip()
             for word in group.split()}
PERCENT = "%"
#: Words that multiply the number before them.
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALE = re.compile(r"((?:\\?\$|[€£])?\s*[-+]?\d[\d.,]*)\s*(\x02?)\s*("
                    + "|".join(SCALES) + r")(?![A-Za-z])(?=[A-Za-z\s.\x02\x03]*$)")

_LEAD = re.compile(r"^(?P<sign>[-+]?)\s*(?P<unit>\\?\$|€|£|US\$|"
                   + WORD_OPEN + r"\s*(?:\$|US\$|USD|Rs\.?)\s*" + WORD_CLOSE + r")\s*(?=[-\d.\\])")
_WORDS = WORD_OPEN + r"(?P<{0}>[^\x02\x03]*)" + WORD_CLOSE
_TRAIL = re.compile(
    r"(?P<value>.*?[\d)}\]!]|.*?\\pi|.*?[\d}) ][a-zA-Z])\s*(?:"
    r"(?P<degree>\^\s*\\circ\s*(?P<scale>[CF]|\x02\s*[CF]\s*\x03)?)|(?P<percent>\\?%)"
    r"|(?P<money>\\\$|[€£¢])|(?P<modulus>\\pmod\s*(?:\{[^{}]*\}|\w+))"
    r"|(?P<wrapped>(?:\s*\x02[^\x02\x03]*\x03\s*(?:\^\s*\{?\s*\d\s*\}?)?\s*[./]?)+)"
    r"|(?P<bare>[A-Za-z]{2,}[A-Za-z.\s/'-]*(?:\^\s*\{?\s*\d\s*\}?)?)"
    r")$", re.DOTALL)
_LETTER = re.compile(r"(?P<value>.*[\d)}i])\s+(?P<unit>[mhsgl](?:\s*\^\s*\{?\s*\d\s*\}?)?)")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d.,\s/]*\d\.?")
_FUNCTION_WORDS = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "pi", "sqrt", "exp", "and", "or"))


class Quantity(NamedTuple):
    """A value and its unit, in canonical spelling; '' where there is none."""

    value: str
    unit: str
    known: bool
    """Whether the unit is one of the table; other words are only nouns."""
    scale: int = 1
    """What a word multiplies the number by: 10**6 for 2 million."""


def quantity(text: str) -> Quantity:
    """Take the unit off an answer; expressions without one come back whole."""
    scaled = _SCALE.match(text)
    if scaled:
        rest = quantity(scaled.group(1) + scaled.group(2) + text[scaled.end():])
        return rest._replace(scale=SCALES[scaled.group(3)])
    lead = _LEAD.match(text)
    unit = ""
    if lead:
        unit = "$" if "$" in lead.group("unit") or "USD" in lead.group("unit") else "€" \
            if "€" in lead.group("unit") else "£"
        text = lead.group("sign") + text[lead.end():]
    trail = _TRAIL.fullmatch(text)
    if trail:
        found = _unit_of(trail)
        if found is not None:
            value = trail.group("value").strip()
            name, known = found
            if lead and known and name not in (unit, ""):
                return Quantity(text, f"{unit} {name}", True)
            return Quantity(value, unit or name, bool(unit) or known)
    return Quantity(text.strip(), unit, bool(unit))


def lettered(text: str) -> Quantity | None:
    """5 m as five metres. It is written like a product: that the letter is no variable, the other
    answer has to say."""
    match = _LETTER.fullmatch(text.strip())
    return Quantity(match["value"], canonical(match["unit"])[0], True) if match else None


def _unit_of(trail: re.Match[str]) -> tuple[str, bool] | None:
    if trail.group("degree"):
        # \cos 58^\circ is an expression: only a bare number of degrees has a unit
        if re.search(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])", trail.group("value")):
            return None
        scale = (trail.group("scale") or "").strip("\x02\x03 ")
        return ("degree-" + scale.lower() if scale else "degree"), True
    if trail.group("percent"):
        return PERCENT, True
    if trail.group("money"):
        return canonical(trail.group("money").removeprefix("\\"))
    if trail.group("modulus"):
        return "mod " + re.sub(r"\\pmod|[{}\s]", "", trail.group("modulus")), True
    if trail.group("wrapped"):
        words = trail.group("wrapped").replace(WORD_OPEN, " ").replace(WORD_CLOSE, " ")
    else:
        words = trail.group("bare")
        spaced = trail.string[trail.start("bare") - 1].isspace()
        if not _nouns(words, spaced) or not (
                _PLAIN_NUMBER.fullmatch(trail.group("value").strip())
                or (canonical(words)[1] and _closed(trail.group("value")))):
            return None
        if set(re.findall(r"[a-z]+", words.lower())) & _FUNCTION_WORDS:
            return None
    if re.search(r"\d", re.sub(r"\^\s*\{?\s*\d", "", words)):
        return None
    return canonical(words)


def _nouns(words: str, spaced: bool) -> bool:
    """Whether bare letters behind a number are words, not variables: 5 cm, 5 apples, not 5xy."""
    if canonical(words)[1]:
        return True
    return spaced and len(words.split()[0]) >= 3


def _closed(value: str) -> bool:
    """Whether a formula has no variables, so that letters behind it can be no factor."""
    return not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", value))


def canonical(words: str) -> tuple[str, bool]:
    """A unit in one spelling with its power, and whether it is in the table."""
    text = words.strip().strip(".").lower()
    power = re.search(r"\^\s*\{?\s*(\d)", text)
    exponent = power.group(1) if power else "1"
    text = re.sub(r"\^\s*\{?\s*\d\s*\}?", "", text).strip()
    for word, value in (("square ", "2"), ("sq. ", "2"), ("sq ", "2"), ("cubic ", "3"),
                        ("cu. ", "3")):
        if text.startswith(word):
            text, exponent = text[len(word):], value
    for word, value in ((" squared", "2"), (" cubed", "3")):
        if text.endswith(word):
            text, exponent = text[:-len(word)], value
    joined = re.sub(r"\s+", "-", text.strip())
    known = CANONICAL.get(joined) or CANONICAL.get(text)
    if known is None:
        return text, False
    return (known if exponent == "1" else f"{known}^{exponent}"), True


def conflict(one: Quantity, two: Quantity) -> bool:
    """Whether both carry known units that differ: 5 hours is not 5 minutes."""
    if "degree" in (one.unit, two.unit) and one.unit.startswith("degree") \
            and two.unit.startswith("degree"):
        return False        # the question has named the scale
    return one.known and two.known and one.unit != two.unit
