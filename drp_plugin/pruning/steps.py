"""Reading the teacher's decomposition: `Step n: …`, `Skill: …`."""

from __future__ import annotations

import re
from typing import NamedTuple

from drp_plugin.pruning.dialogue import FormatError, unbraced

_STEP = re.compile(r"^[ \t]{0,8}[#>*_\-]{0,6}[ \t]{0,2}[*_]{0,3}Step[ \t]{1,3}(\d{1,6})"
                   r"[*_]{0,3}[ \t]{0,2}[:.)][*_]{0,3}[ \t]{0,2}", re.MULTILINE | re.IGNORECASE)
_SKILL = re.compile(r"^[ \t]{0,8}[>*_\-]{0,6}[ \t]{0,2}[*_]{0,3}Skills?[*_]{0,3}[ \t]{0,2}[:：]"
                    r"[ \t*_]{0,8}(.*)$", re.MULTILINE | re.IGNORECASE)


class Labelled(NamedTuple):
    """A step as the teacher wrote it."""

    text: str
    skill: str | None


def parse_steps(reply: str, *, skills: bool) -> list[Labelled]:
    """The steps of a reply, in order.

    Markers count only in their turn (1, 2, 3 …), because the reasoning itself may say
    "Step 2:". Bold marks, headings and the braces of the format are taken off. Raises
    FormatError for a reply without steps, a step without text, or (`skills`) without skills.
    """
    turns: list[re.Match[str]] = []
    for match in _STEP.finditer(reply):
        number = int(match[1])
        if number == len(turns) + 1:
            turns.append(match)
    if not turns:
        raise FormatError('it has no line that starts with "Step 1:".')
    steps: list[Labelled] = []
    ends = [match.start() for match in turns[1:]] + [len(reply)]
    for number, (match, end) in enumerate(zip(turns, ends, strict=True), start=1):
        step = _labelled(reply[match.end() : end], skills)
        if not step.text:
            raise FormatError(f"step {number} has no text.")
        steps.append(step)
    if skills and sum(step.skill is None for step in steps) > len(steps) / 2:
        raise FormatError('the steps have no "Skill:" lines.')
    return steps


def _labelled(chunk: str, skills: bool) -> Labelled:
    skill = None
    if skills:
        lines = list(_SKILL.finditer(chunk))
        if lines:
            name = lines[-1][1].strip().strip("*_.{} ")
            skill = name[:200] or None
            chunk = chunk[: lines[-1].start()]
    return Labelled(unbraced(chunk), skill)
