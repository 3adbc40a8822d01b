"""A number and what is written with it: currency, percent, degrees, units, nouns."""

import re
from collections import Counter
from typing import NamedTuple

from drp_plugin.resources import Patterns, table

_TABLES = table("grading.yaml")["tables"]
_P = Patterns("grading.yaml", "units")
_CANONICAL = {word: group.split()[0] for group in _TABLES["units"] for word in group.split()}
_SHORT: dict[str, str] = _TABLES["short_units"]
_SPELLED = [(re.compile(pattern), spelling) for pattern, spelling in _TABLES["spelled"].items()]
_NO_NOUNS = frozenset(_TABLES["no_nouns"].split())
PERCENT = "%"


class Quantity(NamedTuple):
    """A value and its unit, in canonical spelling; '' where there is none."""

    value: str
    unit: str
    known: bool  # Whether the unit is one of the table; other words are only nouns
    scale: int = 1  # What a word multiplies the number by: 10**6 for 2 million


def quantity(text: str) -> Quantity:
    """Take the unit off an answer; expressions without one are returned unchanged."""
    if ordinal := _P.ordinal.fullmatch(text):
        return Quantity(ordinal[1], "", False)
    if scaled := _P.scale.match(text):
        rest = quantity(scaled[1] + scaled[2] + text[scaled.end():])
        return rest._replace(scale=_TABLES["scales"][scaled[3]])
    lead = _P.lead.match(text)
    money = ""
    if lead:
        money = next((sign for sign in "€£" if sign in lead["unit"]), "$")
        text = lead["sign"] + text[lead.end():]
    if not (trail := _P.trail.fullmatch(text)) or not (found := _unit_of(trail)):
        return Quantity(text.strip(), money, bool(money))
    value, (name, known) = trail["value"].strip(), found
    if money and known and name != money:       # $12 per hour, or the nonsense of $5 cents
        return Quantity(value if "^-" in name else text, f"{money} {name}", True)
    return Quantity(value, money or name, bool(money) or known)


def lettered(text: str) -> Quantity | None:
    """5 m as five metres: written like a product of letters, so that the other answer has to say
    that the letter is no variable."""
    if (match := _P.letter.fullmatch(text.strip())) is None:
        return None
    unit, known = canonical(match["unit"] or f"{match['top']}/{match['bottom']}")
    return Quantity(match["value"], unit, True) if known else None


def _unit_of(trail: re.Match[str]) -> tuple[str, bool] | None:
    if trail["degree"]:
        # \cos 58^\circ is an expression: only a bare number of degrees has a unit
        if re.search(r"\\(?:sin|cos|tan|cot|sec|csc|cis)(?![a-z])", trail["value"]):
            return None
        scale = (trail["scale"] or "").strip("\x02\x03 ")
        return ("degree-" + scale.lower() if scale else "degree"), True
    if trail["percent"]:
        return PERCENT, True
    if trail["money"]:
        return canonical(trail["money"].removeprefix("\\"))
    if trail["modulus"]:
        return "mod " + re.sub(r"\\pmod|[{}\s]", "", trail["modulus"]), True
    if trail["wrapped"]:
        words = re.sub(r"\\frac\s*\{([^{}]*)\}\s*\{(.*)\}", r"\1/\2", trail["wrapped"])
        words = re.sub(r"[\x02\x03]|\\cdot|[()]", " ", words)
    else:
        words = trail["bare"]
        known = canonical(words)[1]
        # words, not variables: 5 cm, 5 apples, not 5xy
        if not known and (not trail.string[trail.start("bare") - 1].isspace()
                          or len(words.split()[0]) < 3):
            return None
        # letters behind a formula without variables cannot be a factor
        closed = (known or words.endswith("units")) and not re.search(
            r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", trail["value"]))
        if not closed and not _P.plain_number.fullmatch(trail["value"].strip()):
            return None
    if set(re.findall(r"[a-z]+", words.lower())) & _NO_NOUNS:
        return None
    return None if re.search(r"\d", _P.power.sub("", words)) else canonical(words)


def canonical(words: str) -> tuple[str, bool]:
    """A unit in one spelling, and whether all its parts are in the table: m/s^2, cm^3, mi/h."""
    text = " ".join(words.lower().split())
    for pattern, spelling in _SPELLED:
        text = pattern.sub(spelling, text)
    text = _P.short.sub(lambda match: _SHORT[match[0]], text)
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
        return False        # the question names the scale
    prices = sorted((one.unit, two.unit), key=len)
    if prices[0] in ("$", "€", "£") and prices[1].split()[0] == prices[0] and "^-1" in prices[1]:
        return False        # a price per hour, with the hour in the question only
    return one.known and two.known and one.unit != two.unit
