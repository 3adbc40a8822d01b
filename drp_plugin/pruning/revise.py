"""Revise(s_i) → ŝ_i, and the synthesis T̂ with its answer part Â (§3.2, Appendix C)."""

import re
from functools import partial

from drp_plugin.pruning.dialogue import SO_FAR, CutReply, Dialogue
from drp_plugin.pruning.revision import parse_revision
from drp_plugin.pruning.values import CheckedTrace, Result
from drp_plugin.records import Revision, Step
from drp_plugin.segment import texts, units

_CONCLUSION = re.compile(r"\b(?:the )?(?:final )?answer is\b", re.IGNORECASE)


async def revise(checked: CheckedTrace, steps: tuple[Step, ...], dialogue: Dialogue) -> Result:
    """Have the teacher choose an action for each step and synthesize the result. Long lists go
    through in windows of whole steps; each is shown how the explanation so far ends. Where a reply
    is cut, its steps are asked for in two halves. Raises Rejection."""
    revisions: list[Revision] = []
    thinking = ""
    new_answer: str | None = None
    waiting = _groups(steps, dialogue)
    while waiting:
        group = waiting.pop(0)
        expected = range(group[0].index, group[-1].index + 1)
        message = dialogue.prompts.render(
            "revise", question=checked.trace.question, answer=checked.answer,
            # as plain values, which a template reads many times as fast as records
            steps=[vars(step) for step in group],
            more=bool(waiting), so_far=thinking[-SO_FAR:])
        try:
            revised = await dialogue.ask("revise", message,
                                         partial(parse_revision, expected=expected))
        except CutReply as cut:
            if len(group) == 1:
                raise cut.rejection("revise", f"even for step {group[0].index} alone") from None
            half = len(group) // 2
            waiting[:0] = [group[:half], group[half:]]
            continue
        revisions += revised.revisions
        thinking = joined(thinking, revised.synthesis, last=not waiting)
        if not waiting:
            new_answer = revised.answer
    return Result(steps, tuple(revisions), thinking,
                  checked.answer if new_answer is None else new_answer)


def _groups(steps: tuple[Step, ...], dialogue: Dialogue) -> list[tuple[Step, ...]]:
    groups: list[tuple[Step, ...]] = []
    tokens = 0
    for step in steps:
        size = dialogue.count(step.text)
        if groups and tokens + size <= dialogue.options.window_tokens:
            groups[-1] += (step,)
            tokens += size
        else:
            groups.append((step,))
            tokens = size
    return groups


def joined(so_far: str, text: str, *, last: bool) -> str:
    """Two windows' explanations put together, the seam cleaned. A sentence that stands on both
    sides of it is said once, and a window before the last does not conclude."""
    if last and not so_far:
        return text.strip()
    spans = units(text, "sentence")
    pieces = [piece.strip() for piece in texts(text, spans)]
    ends = {piece.strip() for piece in texts(so_far, units(so_far, "sentence")[-3:])}
    repeated = 0
    while so_far and repeated < min(3, len(pieces) - 1) and pieces[repeated] in ends:
        repeated += 1
    if repeated:
        text = text[spans[repeated].start :]
        spans = units(text, "sentence")
    if not last and len(spans) > 1 and _CONCLUSION.search(text, spans[-1].start):
        text = text[: spans[-1].start]
    return f"{so_far}\n\n{text.strip()}".strip() if text.strip() else so_far
