"""Putting kept and rewritten steps together into one text."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

from drp_plugin.records import Action, Revision, Step


class Piece(NamedTuple):
    """A stretch of the result, and the white space that stood behind it."""

    text: str
    space: str


class Part(NamedTuple):
    """A run of numbered units or steps, as a teacher's reply names it."""

    first: int
    last: int
    skill: str | None
    action: Action
    text: str  # The new text, "" without one


def pieces(thinking: str, steps: tuple[Step, ...],
           revisions: tuple[Revision, ...]) -> list[Piece]:
    """What is left of the steps, in order; the widest white space passed over is kept."""
    by_first = {revision.steps[0]: revision for revision in revisions}
    result: list[Piece] = []
    for step, after in zip_longest(steps, steps[1:]):
        space = " "
        if step.end is not None:
            stop = after.start if after is not None and after.start is not None else step.end + 8
            space = gap(thinking[step.end : max(stop, step.end)])
        said = by_first.get(step.index)
        text = "" if said is None else step.text if said.action is Action.KEEP else said.text or ""
        if text.strip():
            result.append(Piece(text.strip(), space))
        elif result:
            result[-1] = Piece(result[-1].text, gap(result[-1].space + "|" + space))
    return result


def stretch(index: int, text: str, start: int, end: int, skill: str | None = None) -> Step:
    """The step that is this stretch of T, without the white space around it."""
    body = text[start:end].strip()
    start += text[start:end].index(body[:1])
    return Step(index=index, text=body, skill=skill, start=start, end=start + len(body))


def gap(text: str) -> str:
    """The widest white space in a text: a blank line, a line's end, or a space."""
    return "\n\n" if "\n\n" in text else "\n" if "\n" in text else " "


def assemble(parts: Iterable[Piece], *, opening: bool = True) -> str:
    """The pieces as running text, which begins with a capital letter if it is an opening. Where the
    text between two pieces went away, a comma left hanging becomes a full stop and a sentence that
    lost its start begins with a capital letter."""
    text, space = "", ""
    for piece in parts:
        body = piece.text
        if text:
            if body[0].isupper() and text[-1] == "," and not _names(body):
                text = text[:-1] + "."
            if text[-1] in ".!?" or "\n" in space:
                body = capitalised(body)
            text += space
        elif opening:
            body = capitalised(body)
        text += body
        space = piece.space
    return text.strip()


def _names(text: str) -> bool:
    """Whether the first word is one that keeps its capital inside a sentence."""
    word = text.split(maxsplit=1)[0].strip(".,:;!?")
    return len(word) == 1 or word.startswith(("I'", "I’")) or not word.isalpha()


def capitalised(text: str) -> str:
    """With a capital first letter, unless the first word is a symbol (`x = 3`, `sin`, `gcd(`)."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    plain = word.strip(".,:;!?'’\"")
    if len(plain) > 1 and plain.replace("'", "").replace("’", "").isalpha() and plain.islower() \
            and plain not in ("sin", "cos", "tan", "log", "ln", "gcd", "lcm", "mod", "lim", "exp"):
        return text[0].upper() + text[1:]
    return "A" + text[1:] if text.startswith("a ") and text[2:3].isalpha() else text
