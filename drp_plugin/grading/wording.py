"""Answers in words: numbers, phrases with the same meaning, explanations to be cut."""

import re
from fractions import Fraction

from drp_plugin.resources import Patterns, table

_TABLES = table("grading.yaml")["tables"]
_P = Patterns("grading.yaml", "wording")
_ONES, _TENS = _TABLES["numbers"].split(), _TABLES["tens"].split()
_BELOW = [*_ONES, *(f"{ten} {one}".removesuffix(" zero") for ten in _TENS for one in _ONES[:10])]
_PARTS = {part + plural: value for value, part in enumerate(_TABLES["parts"].split(), 2)
          for plural in ("", "s")} | {"halves": 2, "fourth": 4, "fourths": 4}
_PHRASES = [(re.compile(pattern), phrase) for pattern, phrase in _TABLES["phrases"].items()]


def number_of(words: str) -> Fraction | None:
    """The number that words name: twenty-one, one half, three and a half, minus five."""
    parts = re.sub(r"[-\s]+|(?<=sand|lion),", " ", words.lower().strip(" .")).split()
    if not parts or len(parts) > 12:
        return None
    if parts[0] in ("minus", "negative"):
        negated = number_of(" ".join(parts[1:]))
        return None if negated is None else -negated
    if parts[-1] in _PARTS:
        before, joint, top = " ".join(parts[:-1]).rpartition(" and ")
        whole = number_of(before) if joint else Fraction(0)
        count = Fraction(1) if top in ("a", "an") or parts == ["half"] else number_of(top)
        return None if whole is None or count is None else whole + count / _PARTS[parts[-1]]
    value = _whole(parts)
    return None if value is None else Fraction(value)


def _whole(parts: list[str]) -> int | None:
    """Two thousand five hundred and six: what stands before the largest scale is multiplied."""
    for word, scale in sorted(_TABLES["scales"].items(), key=lambda item: -item[1]):
        if word in parts[1:]:
            place = parts.index(word)
            rest = parts[place + 1:][parts[place + 1:place + 2] == ["and"]:]
            high = 1 if parts[0] == "a" and place == 1 else _whole(parts[:place])
            low = _whole(rest) if rest else 0
            return None if high is None or low is None or low >= scale else high * scale + low
    text = " ".join(parts)
    return _BELOW.index(text) if text in _BELOW else None


def word_key(text: str) -> str:
    """Words in one form; two answers in words are the same when their keys are."""
    text = text.lower().strip(" .")
    for pattern, phrase in _PHRASES:
        text = pattern.sub(phrase, text)
    return re.sub(r"[^a-z0-9]+" if text.isascii() else r"[\W_]+", "", text)


def announced(text: str) -> str:
    """Without the words that announce the answer: the answer is 42."""
    if (match := _P.announced.match(text)) is None or match.end() == len(text):
        return text
    rest = text[match.end():].strip()
    if match[1] or "\x02" not in match[0]:
        return rest
    return rest[:-1] if rest.find("\x03") == len(rest) - 1 else "\x02" + rest


def explained(text: str) -> str:
    """The answer before its explanation: 7 since 7 is prime, 7 as required."""
    cut = _P.explained.search(text)
    head = text[:cut.start()].strip(" ,;:(") if cut else ""
    return text if not head or head.endswith((" or", " and")) else head
