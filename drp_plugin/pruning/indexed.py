"""Decomposition and revision in one structured reply over numbered units of T.

The units are cut here (`drp_plugin.segment`), so the steps' spans are exact by construction, and
the teacher never repeats T: it is paid for ranges, skills, actions and new text only."""

import json
import re
from functools import partial
from typing import Any

from drp_plugin.pruning.decompose import Windows
from drp_plugin.pruning.dialogue import CheckedTrace, CutReply, Dialogue, FormatError, Result
from drp_plugin.pruning.revise import ACTIONS, WRITTEN
from drp_plugin.pruning.steps import Part, as_revisions, as_steps, assemble, pieces, stretch
from drp_plugin.records import Action, Revision, Step
from drp_plugin.resources import table
from drp_plugin.segment import Span
from drp_plugin.thinking import CLOSE, OPEN

_RANGE = re.compile(r"\s*\[?(\d{1,7})\]?(?:\s*(?:-|–|to|,|\.\.)\s*\[?(\d{1,7})\]?)?\s*").fullmatch
SCHEMA = table("indexed_schema.json")
"""The reply's JSON schema, within what OpenAI's strict mode and Gemini take."""


def parse_indexed(reply: str, first: int, last: int) -> tuple[tuple[Part, ...], str | None]:
    """Steps and new answer part of a reply for units `first` to `last`; raises FormatError."""
    body = reply.strip()
    start = body.find("{")
    if start < 0:
        raise FormatError("it is not a JSON object.")
    try:
        value, _ = json.JSONDecoder().raw_decode(body, start)
    except (ValueError, RecursionError) as error:  # bare for an endless integer
        why = "a number is too long" if type(error) is ValueError else error
        raise FormatError(f"it is not JSON ({why}).") from None
    if not isinstance(value, dict) or not isinstance(value.get("steps"), list):
        raise FormatError('it has no list "steps".')
    if not value["steps"]:
        raise FormatError('"steps" is empty.')
    parts: list[Part] = []
    for item in value["steps"]:
        parts.append(_part(item, parts, first, last))
    if parts[-1].last < last:
        raise FormatError(f"units {parts[-1].last + 1} to {last} belong to no step.")
    answer = value.get("answer")
    if answer is not None and not isinstance(answer, str):
        raise FormatError('"answer" is neither a text nor null.')
    return tuple(parts), answer.strip() or None if answer else None


def _part(item: Any, before: list[Part], first: int, last: int) -> Part:
    """The step after those `before`, of units `first` to `last`. Raises FormatError."""
    number = len(before) + 1
    if not isinstance(item, dict):
        raise FormatError(f"step {number} is not an object.")
    start, end = _range(item.get("u"), number)
    name = str(item.get("a", "")).strip().upper().replace(" STEP", "-STEP")
    if name not in ACTIONS:
        raise FormatError(f"step {number} has no action KEEP, DELETE, COMPRESS or MERGE.")
    skill, text, action = item.get("k"), item.get("t"), ACTIONS[name]
    if text is not None and not isinstance(text, str):
        raise FormatError(f'"t" of step {number} is not a text.')
    expected = before[-1].last + 1 if before else first
    if start != expected or not start <= end <= last:
        raise FormatError(f"step {number} covers units {start}-{end}, but the next unit is "
                          f"{expected} and the last one {last}.")
    text = (text or "").strip()
    if action is Action.COMPRESS and not text:
        raise FormatError(f'step {number} is to be compressed, but "t" is empty.')
    if action is Action.MERGE and not text and \
            not (before and before[-1].action is Action.MERGE):
        raise FormatError(f"step {number} is to be merged, but neither it nor a merged step "
                          'before it has the combined text in "t".')
    named = skill.strip()[:200] if isinstance(skill, str) else ""
    return Part(start, end, named or None, action, text)


def _range(value: Any, number: int) -> tuple[int, int]:
    match = _RANGE("-".join(map(str, value if isinstance(value, list) else [value])))
    if not match:
        raise FormatError(f'"u" of step {number} is not a range of units like "3-6".')
    return int(match[1]), int(match[2] or match[1])


def whole_parts(reply: str, first: int, last: int) -> tuple[Part, ...]:
    """The complete steps of a cut reply, up to the first wrong one. The last one may be incomplete
    and is left out, with the MERGE that the cut may have split."""
    return _settled(_read_cut(reply, first, last)[0])


def check_cut(reply: str, first: int, last: int) -> None:
    """Raises FormatError for a cut reply whose fault is not its length: a loop, no JSON, or a first
    step that is complete and wrong. A shorter window would not help."""
    parts, wrong = _read_cut(reply, first, last)
    if _settled(parts):
        return
    if wrong is not None:
        raise wrong
    Dialogue.check_loop(reply)
    if (said := _said(reply)) and not re.search(r'\{\s*"', said):
        raise FormatError("it is not a JSON object.")


def _said(reply: str) -> str:
    """The text after the thinking; empty if the cut fell into it."""
    _, thought, said = reply.rpartition(CLOSE)
    return "" if not thought and said.lstrip().startswith(OPEN) else said.strip()


def _read_cut(reply: str, first: int, last: int) -> tuple[list[Part], FormatError | None]:
    """The complete and correct steps of a cut reply, and what is wrong with the next one."""
    said = _said(reply)
    body = said[said.find("[") + 1 :] if "[" in said else ""
    parts: list[Part] = []
    at = 0
    while (at := body.find("{", at)) >= 0:
        try:
            item, at = json.JSONDecoder().raw_decode(body, at)
        except (ValueError, RecursionError):
            break  # the cut
        try:
            parts.append(_part(item, parts, first, last))
        except FormatError as error:
            return parts, error
    return parts, None


def _settled(parts: list[Part]) -> tuple[Part, ...]:
    kept = parts[:-1]
    while kept and kept[-1].action is Action.MERGE:
        kept = kept[:-1]
    return tuple(kept)


async def prune_indexed(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Ask for both stages at once, in windows of units where T is long. Windows meet where a step
    ends: the last one is asked for again at the head of the next. Raises Rejection."""
    thinking = checked.thinking
    windows = Windows(thinking, dialogue.count, "clause")
    spans = windows.spans
    parts: list[Part] = []
    new_answer: str | None = None
    first, limit = 1, dialogue.options.window_tokens
    while first <= len(spans):
        begin = spans[first - 1].start
        end = len(thinking) if dialogue.tokens <= limit else windows.end(begin, limit)
        last = windows.units_until(end)
        more = last < len(spans)
        so_far = assemble(pieces(thinking, *records(thinking, spans, parts))) if parts else ""
        message = dialogue.prompts.render(
            "indexed", question=checked.trace.question, answer=checked.answer, first=first,
            last=last, more=more, so_far=so_far[-dialogue.SO_FAR:], units=[
                {"index": i, "text": _shown(thinking[start:end])}
                for i, (start, end) in enumerate(spans[first - 1 : last], start=first)])
        limits: dict[str, Any] = {"first": first, "last": last}
        try:
            found, new_answer = await dialogue.ask("indexed", message, partial(parse_indexed,
                **limits), schema=SCHEMA, check_cut=partial(check_cut, **limits))
            if more:
                found = _settled(list(found)) or found
        except CutReply as cut:
            found = whole_parts(cut.reply.text, first, last)
            if not found:
                limit = min(limit, windows.count_tokens(begin, end)) // 2
                if first == last or limit < 1:
                    raise cut.rejection("decompose", "even for one unit") from None
                continue
        parts += found
        first = parts[-1].last + 1
    steps, revisions = records(thinking, spans, parts)
    return Result(steps, revisions, assemble(pieces(thinking, steps, revisions)),
                  new_answer or checked.answer)


def _shown(unit: str) -> str:
    """A unit as the prompt shows it: a blank line where its paragraph ends."""
    shown = unit.strip()
    return f"{shown}\n" if "\n\n" in unit and "\n\n" in unit[len(unit.rstrip()) :] else shown


def records(text: str, spans: tuple[Span, ...],
            parts: list[Part]) -> tuple[tuple[Step, ...], tuple[Revision, ...]]:
    """The reply's steps and actions as records; merged neighbours become one revision."""
    steps: list[dict[str, Any]] = []
    revisions: list[dict[str, Any]] = []
    for index, part in enumerate(parts, start=1):
        steps.append(stretch(index, text, spans[part.first - 1].start, spans[part.last - 1].end,
                             part.skill))
        if part.action is Action.MERGE and not part.text and revisions:
            revisions[-1]["steps"].append(index)
        else:
            kept = part.text if part.action in WRITTEN else None
            revisions.append({"action": part.action, "steps": [index], "text": kept})
    return as_steps(steps), as_revisions(revisions)
