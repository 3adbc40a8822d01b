"""Exact numbers as they are written in answers: no floats, no tolerance."""

from __future__ import annotations

import re
from fractions import Fraction

_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_PLAIN = re.compile(r"\d+\.?\d*|\.\d+")
_SIMPLE_FRACTION = re.compile(r"\\frac\{([^{}]+)\}\{([^{}]+)\}|([^/]+)/([^/]+)")
#: Digits beyond this are no answer; Python's own limit for int(text) lies above it.
MAX_DIGITS = 4000


def number(text: str) -> Fraction | None:
    """The exact value of a plain number, a fraction or a mixed number; None for anything else."""
    text = text.strip()
    if not text or len(text) > MAX_DIGITS:
        return None
    sign = 1
    while text[:1] in ("-", "+", "\u2212"):
        sign = -sign if text[0] != "+" else sign
        text = text[1:].lstrip()
        if sign == 1 and text[:1] in ("-", "+"):
            return None
    value = _unsigned(text)
    return None if value is None else sign * value


def _unsigned(text: str) -> Fraction | None:
    decimal = _decimal(text)
    if decimal is not None:
        return decimal
    mixed = re.fullmatch(r"(\d+)\s*(\\frac\{\d+\}\{\d+\})|(\d+)\s+(\d+\s*/\s*\d+)", text)
    if mixed:
        whole = mixed.group(1) or mixed.group(3)
        part = _fraction(mixed.group(2) or mixed.group(4))
        return None if part is None else Fraction(int(whole)) + part
    return _fraction(text)


def _decimal(text: str) -> Fraction | None:
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    return Fraction(text.rstrip(".")) if _PLAIN.fullmatch(text) else None


def _fraction(text: str) -> Fraction | None:
    match = _SIMPLE_FRACTION.fullmatch(text)
    if not match:
        return None
    top, bottom = (number_part(match.group(i) or match.group(i + 2)) for i in (1, 2))
    return top / bottom if top is not None and bottom else None


def number_part(text: str) -> Fraction | None:
    """A signed decimal."""
    text = text.strip()
    sign = -1 if text[:1] in ("-", "\u2212") else 1
    value = _decimal(text.lstrip("+-\u2212").strip())
    return None if value is None else sign * value
