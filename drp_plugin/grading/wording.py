"""What people write in words: numbers, phrases that mean the same, explanations to be cut."""

from __future__ import annotations

import re
from fractions import Fraction

_SMALL = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
          "fifteen sixteen seventeen eighteen nineteen").split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS = {**{word: i for i, word in enumerate(_SMALL)},
            **{word: 20 + 10 * i for i, word in enumerate(_TENS)}}
_PARTS = {word + plural: value for word, value in (
    ("half", 2), ("third", 3), ("quarter", 4), ("fourth", 4), ("fifth", 5), ("sixth", 6),
    ("seventh", 7), ("eighth", 8), ("ninth", 9), ("tenth", 10)) for plural in ("", "s")} \
    | {"halves": 2}


def number_of(words: str) -> Fraction | None:
    """The number that words name: twenty-one, one half, three and a half, minus five."""
    parts = re.sub(r"[-\s]+", " ", words.lower().strip(" .")).split()
    if not parts or len(parts) > 12:
        return None
    if parts[0] in ("minus", "negative"):
        value = number_of(" ".join(parts[1:]))
        return None if value is None else -value
    if parts[-1] in _PARTS:
        whole, top = Fraction(0), parts[:-1]
        if "and" in top:
            place = len(top) - 1 - top[::-1].index("and")
            before = number_of(" ".join(top[:place]))
            if before is None:
                return None
            whole, top = before, top[place + 1:]
        count = Fraction(1) if top in (["a"], ["an"]) or (not top and parts == ["half"]) \
            else number_of(" ".join(top))
        return None if count is None else whole + count / _PARTS[parts[-1]]
    return _integer(parts)


def _integer(parts: list[str]) -> Fraction | None:
    total = current = 0
    for at, word in enumerate(parts):
        if word in _NUMBERS:
            fits = current % 100 == 0 or (current % 100 >= 20 and current % 10 == 0
                                          and 0 < _NUMBERS[word] < 10)
            if not fits or (word == "zero" and len(parts) > 1):
                return None     # one two is no number
            current += _NUMBERS[word]
        elif word == "hundred" and 0 < (current or at == 0 or 1) < 10:
            current = 100 * (current or 1)
        elif word in ("thousand", "million") and current:
            total, current = total + current * (1000 if word == "thousand" else 10**6), 0
        elif not (word == "and" and 0 < at < len(parts) - 1 and (total or current >= 100)):
            return None
    return Fraction(total + current)


#: Several ways to say one thing.
_PHRASES = tuple((re.compile(pattern), phrase) for pattern, phrase in (
    (r"\b(?:there (?:is|are|exists?) )?no (?:real |such )?solutions?(?: exists?)?\b", "empty set"),
    (r"^empty$", "empty set"), (r"\bdne\b", "does not exist"), (r"\bit (?:is|does)\b", ""),
    (r"\b(?:the|an?) (?=[a-z]{3})", " "),
    (r"(?<=[a-z]) (?:solutions?|functions?|numbers?|triangles?|values?)$", "")))


def word_key(text: str) -> str:
    """Words in one form; two answers in words are the same when their keys are."""
    text = text.lower().strip(" .")
    for pattern, phrase in _PHRASES:
        text = pattern.sub(phrase, text)
    return re.sub(r"[^a-z0-9]+" if text.isascii() else r"[\W_]+", "", text)


_ANNOUNCED = re.compile(
    r"\x02?\s*(?:(?:so|thus|hence|therefore|and)\b,?\s*)?(?:the\s+|our\s+|my\s+)?(?:final\s+"
    r"|correct\s+)?(?:answer|result|solution|value)\s*(?:is|are|:|=)\s*:?\s*(\x03?)", re.IGNORECASE)
_EXPLAINED = re.compile(
    r"[\s,;(]*(?:\x02|(?<=\s))[\s,;(]*(?:since|because|as (?:required|desired|needed|claimed|stated"
    r"|expected|well as)|which|so(?: that)?|thus|therefore|hence|where|i\.e\.|that is|namely"
    r"|is (?:the|our|an?|prime|even|odd|correct)|or (?:equivalently|simply|about|approximately)"
    r"|equivalently|final|answer)\b.*", re.IGNORECASE | re.DOTALL)
_OUT_OF = re.compile(r"(\d+)\s*\x02?\s*(?:in|out of|of every)\s*\x03?\s*(\d+)")


def announced(text: str) -> str:
    """Without the words that announce the answer: the answer is 42."""
    match = _ANNOUNCED.match(text)
    if match is None or match.end() == len(text):
        return text
    rest = text[match.end():].strip()
    if match[1] or "\x02" not in match[0]:
        return rest
    return rest[:-1] if rest.find("\x03") == len(rest) - 1 else "\x02" + rest


def explained(text: str) -> str:
    """The answer before its explanation: 7 since 7 is prime, 7 as required."""
    cut = _EXPLAINED.search(text)
    return text[:cut.start()].strip(" ,;:(") if cut and cut.start() else text


def out_of(text: str) -> str:
    """3 in 4 and 3 out of 4, as a chance is told."""
    match = _OUT_OF.fullmatch(text)
    return f"\\frac{{{match[1]}}}{{{match[2]}}}" if match else text
