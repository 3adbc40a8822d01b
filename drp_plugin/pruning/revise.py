"""Revise(s_i) → ŝ_i, and the synthesis T̂ with its answer part Â (§3.2, Appendix C)."""

import re
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from drp_plugin.pruning.dialogue import CheckedTrace, CutReply, Dialogue, FormatError, Result
from drp_plugin.pruning.steps import as_revisions, unbraced
from drp_plugin.records import Action, Revision, Step
from drp_plugin.resources import Patterns, table
from drp_plugin.segment import texts, units

_P = Patterns("replies.yaml", "revision")
ACTIONS = {name: Action[action]
           for action, names in table("replies.yaml")["actions"].items() for name in names}
WRITTEN = (Action.COMPRESS, Action.MERGE)  # Those with a new text
_CONCLUSION = re.compile(r"\b(?:the )?(?:final )?answer is\b", re.IGNORECASE)


class Revised(NamedTuple):
    """A revision reply taken apart."""

    revisions: tuple[Revision, ...]
    synthesis: str  # T̂, or the window's part of it
    answer: str | None  # Â where the teacher wrote it anew; None leaves A as it is


def parse_revision(reply: str, expected: range) -> Revised:
    """Actions for exactly the steps `expected`, the synthesized text, the answer part. Raises
    FormatError that names what is missing or wrong."""
    listing, synthesis, answer = _sections(_P.fenced.sub(r"\1", reply))
    revisions = parse_actions(listing, expected)
    if not synthesis:
        raise FormatError('the explanation after the line "## SYNTHESIS" is missing.')
    return Revised(revisions, synthesis, answer)


def _sections(reply: str) -> tuple[str, str, str | None]:
    """The action lines, the text after `## SYNTHESIS`, and the text after `## ANSWER`. The
    reference marks the synthesis with a bare leading `##`, which is accepted too."""
    headings = list(_P.heading.finditer(reply))
    if named := [match for match in headings if _P.synthesis.match(match[1])]:
        start, at = named[-1].span()
    else:
        behind = max((line.end() for line in _P.line.finditer(reply)), default=0)
        bare = next((match for match in headings if match.start() >= behind
                     and not _P.answer.match(match[1])), None)
        if bare is None:
            return reply, "", None
        start, at = bare.start(), bare.start(1)
    for match in headings:
        if match.start() >= at and _P.answer.match(match[1]):
            answer = unbraced(reply[match.end() :])
            unchanged = answer.strip("*_ .`").upper() in ("UNCHANGED", "")
            return (reply[:start], unbraced(reply[at : match.start()]),
                    None if unchanged else answer)
    return reply[:start], unbraced(reply[at:]), None


def parse_actions(listing: str, expected: range) -> tuple[Revision, ...]:
    """The revisions in a list of action lines; raises FormatError as `parse_revision` does."""
    lines = list(_P.line.finditer(listing))
    if not lines:
        raise FormatError('it has no lines like "Step 1: KEEP".')
    ends = [match.start() for match in lines[1:]] + [len(listing)]
    revisions: list[dict[str, Any]] = []
    known, seen = set(expected), set[int]()
    for match, end in zip(lines, ends, strict=True):
        action = ACTIONS[match[3].upper().replace(" STEP", "-STEP")]
        steps = _numbers(match[1] + match[2])
        merges = action is Action.MERGE
        text = listing[match.end() : end]
        if covered := _P.covered.match(text):
            text = text[covered.end() :]
            if merges:
                steps = sorted({*steps, *_numbers(covered[1])})
        text = unbraced(_P.opening.sub("", text, count=1))
        if not known.issuperset(steps):
            raise FormatError(f"step {next(s for s in steps if s not in known)} was not given; "
                              f"the steps are {expected[0]} to {expected[-1]}.")
        new = steps if seen.isdisjoint(steps) else [step for step in steps if step not in seen]
        if not new:
            if merges or (revisions and not text):
                continue  # repeats that it went into the merged step before
            raise FormatError(f"step {steps[0]} has more than one action.")
        if len(new) < len(steps) and not merges:
            raise FormatError(f"step {min(set(steps) - set(new))} has more than one action.")
        before = revisions[-1] if revisions else None
        if merges and not text and before is not None and \
                before["action"] is action and before["steps"][-1] + 1 == new[0]:
            before["steps"] += new
        elif action in WRITTEN and not text:
            raise FormatError(f"step {new[0]} is to be compressed, but its new text is missing.")
        else:
            kept = text if action in WRITTEN else None
            revisions.append({"action": action, "steps": new, "text": kept})
        seen.update(new)
    if missing := [step for step in expected if step not in seen]:
        named = ", ".join(map(str, missing[:10])) + (" …" if len(missing) > 10 else "")
        raise FormatError(f"these steps have no action: {named}.")
    return as_revisions(sorted(revisions, key=itemgetter("steps")))


def _numbers(text: str) -> list[int]:
    """`4`, `4-6`, `4, 5 and 6`, `4 to 6`, ascending; a range of more than 10,000 is none."""
    if text.isdecimal() and len(text) < 7:
        return [int(text)]
    found: set[int] = set()
    for match in re.finditer(r"(\d{1,6})(?:[ \t]*(?:-|–|—|to|through)[ \t]*(\d{1,6}))?", text):
        first, last = int(match[1]), int(match[2] or match[1])
        found.update(range(first, last + 1) if first <= last <= first + 10_000 else [first])
    return sorted(found)


async def revise(checked: CheckedTrace, steps: tuple[Step, ...], dialogue: Dialogue) -> Result:
    """Have the teacher choose an action for each step and synthesize the result. Long lists go
    through in windows of whole steps; each is shown how the explanation so far ends. Where a reply
    is cut, its steps are asked for in two halves. Raises Rejection."""
    revisions: list[Revision] = []
    thinking = ""
    new_answer: str | None = None
    short = dialogue.tokens <= dialogue.options.window_tokens \
        and sum(len(step.text) for step in steps) <= len(checked.thinking)
    waiting = [steps] if short else _groups(steps, dialogue)
    while waiting:
        group = waiting.pop(0)
        expected = range(group[0].index, group[-1].index + 1)
        message = dialogue.prompts.render(
            "revise", question=checked.trace.question, answer=checked.answer,
            # as plain values, which a template reads many times faster than records
            steps=[vars(step) for step in group],
            more=bool(waiting), so_far=thinking[-dialogue.SO_FAR:])
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
