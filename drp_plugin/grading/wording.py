"""What people write in words: numbers, phrases that mean the same, explanations to be cut."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBERS = {word: value for words, first, step in (
    ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
     "fifteen sixteen seventeen eighteen nineteen", 0, 1),
    ("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10))
    for value, word in zip(range(first, 100, step), words.split(), strict=False)}
_HUNDREDS = re.compile(r"(?:(\w+) hundred ?(?:and )?)?(?:(\w+ty)(?: |$))?(\w+)?")
_PARTS = {part + plural: value for value, part in enumerate(
    ("half", "third", "quarter", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"), 2)
    for plural in ("", "s")} | {"halves": 2, "fourth": 4, "fourths": 4}


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
    return _integer(" ".join(parts))


def _integer(words: str) -> Fraction | None:
    match = _HUNDREDS.fullmatch(words)
    hundreds, tens, ones = (_NUMBERS.get(word, 100) if word else 0 for word in match.groups()) \
        if match else (100, 0, 0)
    fits = hundreds < 10 and tens < 100 and ones < (10 if tens else 20) and (ones or words == "zero"
                                                                          or hundreds or tens)
    return Fraction(100 * hundreds + tens + ones) if fits else None


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
    head = text[:cut.start()].strip(" ,;:(") if cut else ""
    return text if not head or head.endswith((" or", " and")) else head
