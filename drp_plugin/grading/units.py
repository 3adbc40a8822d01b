"""A number and what is written with it: currency, percent, degrees, units, nouns."""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from drp_plugin.grading.normal import WORD_CLOSE, WORD_OPEN

#: Spellings of one unit; two of these that differ make two answers differ.
_SAME = """
$ dollar dollars usd bucks|cent cents ¢|€ euro euros eur|£ pound-sterling gbp
hour hours hr hrs h|minute minutes min mins|second seconds sec secs s|day days|week weeks|
month months|year years yr yrs|
meter meters metre metres m|kilometer kilometers kilometre kilometres km|
centimeter centimeters centimetre centimetres cm|millimeter millimeters millimetre mm|
inch inches in in.|foot feet ft|yard yards yd|mile miles mi|
gram grams g gm|kilogram kilograms kg|milligram milligrams mg|pound pounds lb lbs|
ounce ounces oz|ton tons tonne tonnes|newton newtons n|joule joules j|watt watts w|
liter liters litre litres l|milliliter milliliters ml|gallon gallons gal|
degree degrees ^\\circ deg|degree-c degrees-c degrees-celsius degree-celsius celsius|
degree-f degrees-f degrees-fahrenheit degree-fahrenheit fahrenheit|
radian radians rad|% percent percentage pct|
"""
_CANONICAL = {word: group.split()[0]
              for group in _SAME.replace("\n", "|").split("|") if group.strip()
              for word in group.split()}
_SHORT = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "mpg": "mi/gal", "fps": "ft/s"}
_SPELLED = tuple((re.compile(pattern), unit) for pattern, unit in (
    (r"[{}]|\^\s+(?=\d)", ""), (r"\s*\^\s*", "^"), (r"\s*(?:/|\bper\b)\s*", "/"),
    (r"\b(?:square|sq\.?) (\w+)", r"\1^2"), (r"\b(?:cubic|cu\.?) (\w+)", r"\1^3"),
    (r"(\w+) squared\b", r"\1^2"), (r"(\w+) cubed\b", r"\1^3"),
    (r"(degrees?) (c|f|celsius|fahrenheit)\b", r"\1-\2"),
    (rf"\b({'|'.join(_SHORT)})\b", lambda match: _SHORT[match[1]])))
PERCENT = "%"
#: Words that multiply the number before them.
SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3,
          "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SCALE = re.compile(r"((?:\\?\$|[€£])?\s*[-+]?\d[\d.,]*)\s*(\x02?)\s*("
                    + "|".join(SCALES) + r")(?![A-Za-z])(?=[A-Za-z\s.\x02\x03]*$)")

_LEAD = re.compile(r"^(?P<sign>[-+]?)\s*(?P<unit>\\?\$|€|£|US\$|"
                   + WORD_OPEN + r"\s*(?:\$|US\$|USD|Rs\.?)\s*" + WORD_CLOSE + r")\s*(?=[-\d.\\])")
_POWER = r"\^\s*(?:\d|\{\s*-?\d\s*\})"
_WORD = r"\x02[^\x02\x03]*\x03"
_TRAIL = re.compile(
    r"(?P<value>.*?[\d)}\]!]|.*?\\pi|.*?[\d}) ][a-zA-Z])\s*(?:"
    r"(?P<degree>\^\s*\\circ\s*(?P<scale>[CF]|\x02\s*[CF]\s*\x03)?)"
    r"|(?P<percent>\\?%(?:\s*\x02[A-Za-z ]*\x03|\s*[A-Za-z][A-Za-z ]{2,})?)"
    r"|(?P<money>\\\$|[€£¢])|(?P<modulus>\\pmod\s*(?:\{[^{}]*\}|\w+))"
    rf"|(?P<wrapped>(?:\s*(?:[./(]|\\cdot)?\s*(?:{_WORD}|\\frac\s*\{{\s*{_WORD}\s*\}}\s*\{{\s*"
    rf"{_WORD}\s*(?:{_POWER})?\s*\}})\s*(?:{_POWER})?\s*[.)]?)+)"
    rf"|(?P<bare>[A-Za-z]{{2,}}[A-Za-z.\s/'-]*(?:{_POWER})?)"
    r")$", re.DOTALL)
_LETTER = re.compile(rf"(?P<value>.*[\d)}}i])\s+(?:(?P<unit>[mhsgl](?:\s*{_POWER})?)|\\frac\s*"
                     rf"\{{(?P<top>[a-z]+)\}}\s*\{{(?P<bottom>[a-z]+(?:\s*{_POWER})?)\}})")
_PLAIN_NUMBER = re.compile(r"[-+]?[\d.,\s/]*\d\.?")
_ORDINAL = re.compile(r"(\d+)(?:\^\s*\{?\s*\x02?|\x02|\s)?\s*(?:st|nd|rd|th)(?:\s*\x03)?\s*\}?")


_NO_NOUNS = frozenset(("exp", "and", "or", "not", "no", "nor", "wrong", "too", "more", "less",
                       "fewer", "than", "above", "below", "over", "under", "half", "maybe"))


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
    ordinal = _ORDINAL.fullmatch(text)
    if ordinal:
        return Quantity(ordinal[1], "", False)
    scaled = _SCALE.match(text)
    if scaled:
        rest = quantity(scaled.group(1) + scaled.group(2) + text[scaled.end():])
        return rest._replace(scale=SCALES[scaled.group(3)])
    lead = _LEAD.match(text)
    money = ""
    if lead:
        money = next((sign for sign in "€£" if sign in lead["unit"]), "$")
        text = lead.group("sign") + text[lead.end():]
    trail = _TRAIL.fullmatch(text)
    found = _unit_of(trail) if trail else None
    if trail is None or found is None:
        return Quantity(text.strip(), money, bool(money))
    value, (name, known) = trail.group("value").strip(), found
    if money and known and name != money:       # $12 per hour, or the nonsense of $5 cents
        return Quantity(value if "^-" in name else text, f"{money} {name}", True)
    return Quantity(value, money or name, bool(money) or known)


def lettered(text: str) -> Quantity | None:
    """5 m as five metres: written like a product of letters, so that the other answer has to say
    that the letter is no variable."""
    match = _LETTER.fullmatch(text.strip())
    if match is None:
        return None
    unit, known = canonical(match["unit"] or f"{match['top']}/{match['bottom']}")
    return Quantity(match["value"], unit, True) if known else None


def _unit_of(trail: re.Match[str]) -> tuple[str, bool] | None:
    if trail.group("degree"):
        # \cos 58^\circ is an expression: only a bare number of degrees has a unit
        if re.search(r"\\(?:sin|cos|tan|cot|sec|csc|cis)(?![a-z])", trail.group("value")):
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
        words = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{(.*)\}", r"\1/\2", trail.group("wrapped"))
        words = re.sub(r"[\x02\x03]|\\cdot|[()]", " ", words)
    else:
        words = trail.group("bare")
        spaced = trail.string[trail.start("bare") - 1].isspace()
        if not _nouns(words, spaced) or not (
                _PLAIN_NUMBER.fullmatch(trail.group("value").strip())
                or (canonical(words)[1] and _closed(trail.group("value")))):
            return None
    if set(re.findall(r"[a-z]+", words.lower())) & _NO_NOUNS:
        return None
    return None if re.search(r"\d", re.sub(_POWER, "", words)) else canonical(words)


def _nouns(words: str, spaced: bool) -> bool:
    """Whether bare letters behind a number are words, not variables: 5 cm, 5 apples, not 5xy."""
    return canonical(words)[1] or (spaced and len(words.split()[0]) >= 3)


def _closed(value: str) -> bool:
    """Whether a formula has no variables, so that letters behind it can be no factor."""
    return not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", value))


def canonical(words: str) -> tuple[str, bool]:
    """A unit in one spelling, and whether all its parts are in the table: m/s^2, cm^3, mi/h."""
    text = " ".join(words.lower().split())
    for pattern, spelling in _SPELLED:
        text = pattern.sub(spelling, text)
    powers: Counter[str] = Counter()
    for place, side in enumerate(text.strip(" .").split("/")):
        for part in side.split():
            name, _, power = part.partition("^")
            unit = _CANONICAL.get(name) or _CANONICAL.get(name.rstrip("."))
            if unit is None or not re.fullmatch(r"(?:-?\d)?", power):
                return text, False
            powers[unit] += int(power or 1) * (-1 if place else 1)
    parts = [f"{unit}^{power}" if power != 1 else unit for unit, power in sorted(powers.items())]
    return " ".join(parts), bool(parts)


def conflict(one: Quantity, two: Quantity) -> bool:
    """Whether both carry known units that differ: 5 hours is not 5 minutes."""
    if one.unit.startswith("degree") and two.unit.startswith("degree") \
            and "degree" in (one.unit, two.unit):
        return False        # the question has named the scale
    prices = sorted((one.unit, two.unit), key=len)
    if prices[0] in ("$", "€", "£") and prices[1].split()[0] == prices[0] and "^-1" in prices[1]:
        return False        # a price by the hour, the hour left to the question
    return one.known and two.known and one.unit != two.unit
