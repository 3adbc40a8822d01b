"""Multiple choice: the letter that was chosen, however it is written."""

from __future__ import annotations

import re

from drp_plugin.grading.normal import plain

_LETTER = r"\(?\s*([A-J])\s*(?:\)|(?=[\s.:,]|$))"
_GOLD = re.compile(r"\(?\s*([A-J])\s*\)?")
_WITH_TEXT = re.compile(r"\(?\s*([A-J])\s*[).:]\s*(\S.*)", re.DOTALL)
_CHOSEN = re.compile(
    r"(?:(?:so|thus|hence|therefore)\b,?\s*)?(?:(?:the|my)\s+)?(?:(?:final|correct|best|right)\s+)?"
    r"(?:(?:answer|option|choice)\s*(?:is|:|=)?\s*:?\s*){0,2}(?:\*\*)?" + _LETTER.replace(
        "A-J", "A-Ja-j") + r"[).:\s*]*(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_ANOTHER = re.compile(r"(?:^|[\s(,&])(?:\(\s*[A-J]\s*\)|[A-J](?=$|[\s.,:)&]))")


def letters_of(text: str) -> str | None:
    """The letters of a list such as A, C; None where the text is something else."""
    letters = re.split(r"[\s,;()]+(?:and\s+)?", plain(text).strip(" ()"))
    return "".join(sorted(letters)) if len(letters) > 1 \
        and all(re.fullmatch("[A-J]", letter) for letter in letters) else None


def letter_of(gold: str) -> str | None:
    """The letter of a gold answer that is one: B, (B)."""
    match = _GOLD.fullmatch(plain(gold))
    return match[1] if match else None


def chosen(text: str) -> str | None:
    """The one letter that a tidied answer chooses: B, (B) 12, Option B; None for (A) or (B)."""
    match = _CHOSEN.fullmatch(plain(text))
    if match is None or _ANOTHER.search(match["rest"]):
        return None
    letter, rest = match[1], match["rest"]
    marked = re.search(r"[).:]", plain(text)[match.start(1):match.end(1) + 2])
    if rest and not marked and not re.match(r"(?i)because|since|as\b|,|\(", rest):
        return None     # "A pound" chooses nothing
    return letter.upper()


def same_choice(candidate: str, gold: str) -> bool:
    """Whether both choose one letter; the gold may be B, (B) or "B. text", the candidate may be
    the text alone."""
    text = _WITH_TEXT.fullmatch(plain(gold))
    letter = text[1] if text else letter_of(gold)
    found = chosen(candidate)
    if found is None and text is not None:
        return plain(candidate).lower() == text[2].strip().lower()
    return letter is not None and found == letter
