"""Methods that leave whole steps out by rule, and what all that leave steps out share.

`earliest-correct` keeps the shortest prefix of steps whose stated result is the correct answer: the
zero-cost baseline that every paid teacher must beat (STOP's earliest correct node). The controls
are what every choice of steps must beat. `random:RATIO` drops steps at random; RATIO is the share
of R's tokens that stays (DRP's own is 1 − `tokens_saved` of its summary.json), and so does the
statement of the answer. `no-thinking` is the answer part alone behind an empty thinking, the lower
bound in tokens.
"""

import random
import re
from collections.abc import Callable, Sequence
from itertools import groupby

from drp_plugin.errors import UserError
from drp_plugin.grading import equal, extract
from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.pruning.decompose import decompose_sentences
from drp_plugin.pruning.dialogue import CheckedTrace, Dialogue, Rejection, Result
from drp_plugin.pruning.steps import assemble, pieces
from drp_plugin.records import Action, Reason, Revision, Step

_RESULT = re.compile(r"(?:=|≈|\bis|\bare|\bequals?|\bgives?|\bget|\bbe|\bhave|\bmakes?|\bhas)"
                     r"\s*(?:exactly |just |simply |now )?(?:\$|\\\(|\\\[)?\s*([^=≈\n]{1,80}?)\s*"
                     r"(?:\$|\\\)|\\\])?\s*(?:[a-z]+ ?){0,3}[.!?]?\s*\Z", re.IGNORECASE)
_QUESTIONING = re.compile(r"\?\s*\Z|\b(?:maybe|perhaps|guess|if|suppose|unless|not)\b",
                          re.IGNORECASE)
_CONCLUDING = re.compile(r"\b(?:answer|therefore|thus|hence)\b|boxed", re.IGNORECASE)


def stated_result(sentence: str) -> str | None:
    """What a sentence says comes out: boxed, "the answer is …", or behind its last `=` or "is".
    None for a question, a guess or a condition."""
    if _QUESTIONING.search(sentence):
        return None
    found = extract(sentence, thinking=False)
    if found.how in ("boxed", "stated"):
        return found.text
    match = _RESULT.search(sentence[-400:])
    return match[1].strip(" $*.") if match else None


def first_correct(sentences: Sequence[str], right: str, dataset: str | None, question: str
                  ) -> int | None:
    """The place of the first sentence whose stated result is right, other than by repeating a
    number of the question."""
    given = set(re.findall(r"\d+(?:\.\d+)?", question))
    for place, sentence in enumerate(sentences):
        result = stated_result(sentence)
        if result is not None and close_to(result, right, dataset) and (
                result.strip() not in given or _CONCLUDING.search(sentence)):
            return place
    return None


async def earliest_correct(checked: CheckedTrace, _: Dialogue) -> Result:
    """Keep the steps up to the first whose stated result is the correct answer, delete the rest.
    The correct answer is gold where it is known, the trace's own final answer elsewhere. A result
    that the question itself states does not count. Raises Rejection when no step states it."""
    trace, thinking, final = checked.trace, checked.thinking, checked.final
    if final is None:
        raise Rejection("trace", Reason.NO_ANSWER, "no final answer to look for")
    right, dataset = trace.answer if trace.answer is not None else final, trace.dataset
    steps = decompose_sentences(thinking).steps
    place = first_correct([s.text for s in steps], right, dataset, trace.question)
    if place is None:
        raise Rejection("revise", Reason.NO_ANSWER,
                        "no step of the thinking states the correct answer")
    step = steps[place]
    revisions = [Revision(action=Action.KEEP, steps=(s.index,)) for s in steps[: step.index]]
    rest = tuple(s.index for s in steps[step.index :])
    if rest:
        revisions.append(Revision(action=Action.DELETE, steps=rest))
    kept = thinking[: step.end]
    shown = final if "$" in final or "\\" not in final else f"${final}$"
    said = extract(kept[-400:], thinking=False)
    statement = f" The answer is {shown}."
    if len(thinking) - len(kept) > len(statement) and not (
            said.how in ("boxed", "stated") and said.text and close_to(said.text, final, dataset)):
        kept = kept.rstrip(" ,;:") + ("" if kept.rstrip()[-1:] in ".!?" else ".") + statement
    return Result(steps, tuple(revisions), kept, checked.answer)


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
    """The sentences of T, and the number of the one that must stay. That is the last that states
    the final answer, or simply the last."""
    steps = decompose_sentences(checked.thinking).steps
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
        if left - size / 2 < target:  # with this step R̂ is nearer to the ratio than without
            break
        left -= size
        dropped.add(index)
    return dropped


def without(checked: CheckedTrace, steps: tuple[Step, ...], dropped: set[int]) -> Result:
    """T without these steps, as KEEP and DELETE; what is left is joined as a teacher's would be."""
    revisions: list[Revision] = []
    for gone, group in groupby((step.index for step in steps), key=dropped.__contains__):
        run = tuple(group)
        revisions += [Revision(action=Action.DELETE, steps=run)] if gone else [
            Revision(action=Action.KEEP, steps=(index,)) for index in run]
    thinking = assemble(pieces(checked.thinking, steps, tuple(revisions)))
    return Result(steps, tuple(revisions), thinking, checked.answer)


def method(given: Given) -> Method:
    """Raises UserError for a ratio that is none."""
    if given.name != "random":
        prune_by = no_thinking if given.name == "no-thinking" else earliest_correct
        return Method(prune_by, Nobody())
    ratio = parse_ratio(given.argument)

    async def prune(checked: CheckedTrace, dialogue: Dialogue) -> Result:
        steps, stays = sentences(checked)
        order = [step.index for step in steps if step.index != stays]
        random.Random(checked.trace.id).shuffle(order)  # by the row, whatever stands around it
        return without(checked, steps, to_ratio(ratio, checked, steps, order, dialogue.count))

    return Method(prune, Nobody())


async def no_thinking(checked: CheckedTrace, dialogue: Dialogue) -> Result:
    """Delete every step."""
    steps, _ = sentences(checked)
    return without(checked, steps, {s.index for s in steps})._replace(kind="no_thinking")
