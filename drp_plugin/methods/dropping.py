"""Shared by the methods that drop whole steps by rule."""

import re
from collections.abc import Callable, Sequence
from itertools import groupby

from drp_plugin.errors import UserError
from drp_plugin.grading import equal, extract
from drp_plugin.pruning.decompose import decompose_sentences
from drp_plugin.pruning.dialogue import CheckedTrace, Result
from drp_plugin.pruning.steps import assemble, pieces
from drp_plugin.records import Action, Revision, Step
from drp_plugin.resources import Patterns

PATTERNS = Patterns("methods.yaml", "patterns")


def stated_result(sentence: str) -> str | None:
    """A sentence's result: boxed, "the answer is …", after its last `=` or "is"; or None."""
    if PATTERNS.questioning.search(sentence):
        return None
    found = extract(sentence, thinking=False)
    if found.how in ("boxed", "stated"):
        return found.text
    match = PATTERNS.result.search(sentence[-400:])
    return match[1].strip(" $*.") if match else None


def close_to(result: str, right: str, dataset: str | None) -> bool:
    """Equal, with the symbolic comparison kept for texts that can be equal at all."""
    if result == right:
        return True
    ours, theirs = re.findall(r"\d+", result), re.findall(r"\d+", right)
    if not ours and not theirs:
        return result.strip().lower() == right.strip().lower()
    if "".join(ours) != "".join(theirs) and not (set(ours) & set(theirs)):
        return False
    return equal(result, right, dataset)


def parse_ratio(text: str) -> float:
    """A share of tokens between 0 and 1. Raises UserError."""
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 < ratio < 1:
        raise UserError(f"ratio {text!r} is not a number between 0 and 1",
                        fix="It is the share of the response's tokens that stays, such as 0.5")
    return ratio


def sentences(checked: CheckedTrace) -> tuple[tuple[Step, ...], int]:
    """T's sentences, and the one that must stay: the last with the final answer, or the last."""
    steps = decompose_sentences(checked.thinking)
    for step in reversed(steps):
        result = stated_result(step.text)
        if result and checked.final and close_to(result, checked.final, checked.trace.dataset):
            return steps, step.index
    return steps, len(steps)


def to_ratio(ratio: float, checked: CheckedTrace, steps: Sequence[Step], order: Sequence[int],
             count: Callable[[str], int]) -> set[int]:
    """The steps to drop, taken in `order`, so that about `ratio` of R's tokens are left."""
    left = count(checked.trace.response)
    target, dropped = ratio * left, set[int]()
    for index in order:
        size = count(steps[index - 1].text)
        if left - size / 2 < target:  # R̂ is nearer to the ratio with this step than without
            break
        left -= size
        dropped.add(index)
    return dropped


def without(checked: CheckedTrace, steps: tuple[Step, ...], dropped: set[int]) -> Result:
    """T without these steps, as KEEP and DELETE; the rest is joined like a teacher's."""
    revisions: list[Revision] = []
    for gone, group in groupby((step.index for step in steps), key=dropped.__contains__):
        run = tuple(group)
        revisions += [Revision(action=Action.DELETE, steps=run)] if gone else [
            Revision(action=Action.KEEP, steps=(index,)) for index in run]
    thinking = assemble(pieces(checked.thinking, steps, tuple(revisions)))
    return Result(steps, tuple(revisions), thinking, checked.answer)
