"""Steps: read from the teacher's decomposition (`Step n: …`, `Skill: …`) and found in T; and those
that are kept or rewritten put together into one text.

How much of T they hold is measured, since a teacher may leave text out, change it or make it up."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import accumulate, zip_longest
from operator import itemgetter
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from drp_plugin.pruning.dialogue import FormatError
from drp_plugin.records import Action, Revision, Step
from drp_plugin.resources import Patterns

_P = Patterns("replies.yaml", "decomposition")
_WORD = re.compile(r"\S+")
_LOOKAHEAD = 2000  # Non-space characters that may be missing before a step
_LIKE = 0.6  # Least share of a reworded step's characters that must be found in T, in order
_FUZZY_LIMIT = 4000
_FUZZY_TRIES = 200
_SPACES = bytes(byte for byte in range(128) if chr(byte).isspace())
_QUOTES = str.maketrans("“”‘’`", "\"\"'''")
# creating many records at once takes half the time
as_steps = TypeAdapter(tuple[Step, ...]).validate_python
as_revisions = TypeAdapter(tuple[Revision, ...]).validate_python


class Located(NamedTuple):
    """A step as the teacher wrote it, and where it stands in T."""

    text: str
    skill: str | None
    start: int | None = None  # None where it was not looked for, or could not be found
    end: int | None = None
    held: int = 0  # Non-space characters of T that it holds, in order


def unbraced(text: str) -> str:
    """Text without the braces `{{…}}` with which the prompts mark placeholders."""
    text = text.strip()
    return text[2:-2].strip() if text.startswith("{{") and text.endswith("}}") else text


def parse_steps(reply: str, *, skills: bool) -> list[Located]:
    """A reply's steps in order, without bold marks, headings and the format's braces. Raises
    FormatError for a reply without steps, a step without text, or (`skills`) without skills."""
    steps = [_labelled(chunk, skills) for _, chunk in numbered(f"\n{reply}", _P.step, 1)]
    if not steps:
        raise FormatError('it has no line that starts with "Step 1:".')
    for number, step in enumerate(steps, start=1):
        if not step.text:
            raise FormatError(f"step {number} has no text.")
    if skills and sum(step.skill is None for step in steps) > len(steps) / 2:
        raise FormatError('the steps have no "Skill:" lines.')
    return steps


def numbered(text: str, marker: re.Pattern[str], first: int | None = None
             ) -> list[tuple[int, str]]:
    """The markers' numbers, from `first` on, and what follows each. A marker counts only in its
    turn (1, 2, 3 …), because the reasoning itself may say "Step 2:"."""
    turns: list[re.Match[str]] = []
    expected = first
    for match in marker.finditer(text):
        number = int(match[1])
        if expected in (number, None):
            turns.append(match)
            expected = number + 1
    ends = [match.start() for match in turns] + [len(text)]
    return [(int(match[1]), text[match.end() : end])
            for match, end in zip(turns, ends[1:], strict=True)]


def _labelled(chunk: str, skills: bool) -> Located:
    lines = list(_P.skill.finditer(f"\n{chunk}")) if skills else []
    if not lines:
        return Located(unbraced(chunk), None)
    name = lines[-1][1].strip().strip("*_.{} ")
    return Located(unbraced(chunk[: lines[-1].start()]), name[:200] or None)


def locate(text: str, steps: list[Located]) -> list[Located]:
    """Find the steps in `text` one after another.

    A step that differs in white space only gets its exact span and the text's own wording. A
    reworded one gets the span from its first to its last common word, keeps its wording, and holds
    only the characters that are common. Spans never overlap and never go back."""
    compact: _Compact | None = None  # Made at the first step that does not simply continue T
    found: list[Located] = []
    at = cursor = 0  # End of the step before: in the text, and without its white space
    tries = _FUZZY_TRIES
    for step in steps:
        ahead = _WORD.search(text, at)
        if ahead and step.text and text.startswith(step.text, ahead.start()):
            start, at, held = ahead.start(), ahead.start() + len(step.text), nonspace(step.text)
            cursor += held
            found.append(Located(step.text, step.skill, start, at, held))
            continue
        compact = compact or _Compact(text)
        wanted = "".join(step.text.split()).translate(_QUOTES)
        reach = len(compact.text) if len(wanted) > 80 else cursor + _LOOKAHEAD + len(wanted)
        if wanted and (exact := compact.text.find(wanted, cursor, reach)) >= 0:
            cursor = exact + len(wanted)
            start, at = compact.place(exact), compact.place(cursor - 1) + 1
            found.append(Located(text[start:at], step.skill, start, at, len(wanted)))
            continue
        like = step
        if wanted and tries > 0 and ahead:
            tries -= 1
            like = _reworded(text, like, ahead.start())
            if like.end is not None:
                at, cursor = compact.word_end(like.end)
        found.append(like)
    return found


class _Compact:
    """A text without its white space, and where its characters stand in the text."""

    def __init__(self, text: str) -> None:
        self.text = "".join(text.split()).translate(_QUOTES)
        self._spans = [word.span() for word in _WORD.finditer(text)]
        self._begins = [0, *accumulate(end - start for start, end in self._spans)]

    def place(self, at: int) -> int:
        """Where a character of it stands in the text."""
        word = bisect_right(self._begins, at) - 1
        return self._spans[word][0] + at - self._begins[word]

    def word_end(self, position: int) -> tuple[int, int]:
        """The end of the word at a place of the text: there, and in here."""
        word = bisect_left(self._spans, position, key=itemgetter(1))
        return self._spans[word][1], self._begins[word + 1]


def _reworded(text: str, step: Located, start: int) -> Located:
    """The step, with its place where most of it stands near `start`."""
    if len(step.text) > _FUZZY_LIMIT:
        return step
    theirs = _WORD.findall(step.text)
    ours = list(_WORD.finditer(text, start, start + 2 * len(step.text) + 300))
    matcher = SequenceMatcher(None, [_plain(m[0]) for m in ours], [_plain(w) for w in theirs],
                              autojunk=False)
    blocks = [b for b in matcher.get_matching_blocks() if b.size]
    held = sum(len(ours[b.a + i][0]) for b in blocks for i in range(b.size))
    if not blocks or held < _LIKE * sum(map(len, theirs)):
        return step
    last = ours[blocks[-1].a + blocks[-1].size - 1]
    return step._replace(start=ours[blocks[0].a].start(), end=last.end(), held=held)


def _plain(word: str) -> str:
    return word.translate(_QUOTES).strip("*_#.,:;!?\"'").lower() or word


@lru_cache(maxsize=2)  # T's are asked for twice in a row
def nonspace(text: str) -> int:
    return len(text.encode().translate(None, _SPACES) if text.isascii() else "".join(text.split()))


def coverage(text: str, located: list[Located]) -> float:
    """Share of `text`'s non-space characters that the steps hold, in order; 1.0 is a partition."""
    total = nonspace(text)
    return sum(step.held for step in located) / total if total else 1.0


def first_gap(text: str, located: list[Located]) -> str:
    """The start of the longest passage that no step holds, to be named to the teacher."""
    ends = [0, *(step.end for step in located if step.end is not None)]
    starts = [*(step.start for step in located if step.start is not None), len(text)]
    longest = max((text[end:start].strip() for end, start in zip(ends, starts, strict=True)),
                  key=len)
    return longest[:160] + ("…" if len(longest) > 160 else "")


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
    """What is left of the steps, in order; of skipped white space the widest is kept."""
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


def stretch(index: int, text: str, start: int, end: int,
            skill: str | None = None) -> dict[str, Any]:
    """The step that is this stretch of T, without the white space around it."""
    body = text[start:end].strip()
    start += text[start:end].index(body[:1])
    return {"index": index, "text": body, "skill": skill, "start": start, "end": start + len(body)}


def gap(text: str) -> str:
    """The widest white space in a text: a blank line, a line's end, or a space."""
    return "\n\n" if "\n\n" in text else "\n" if "\n" in text else " "


def assemble(parts: Iterable[Piece], *, opening: bool = True) -> str:
    """The pieces as running text, which begins with a capital letter if it is an opening. Where
    text between two pieces was removed, a dangling comma becomes a full stop, and a sentence that
    lost its start gets a capital letter."""
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
