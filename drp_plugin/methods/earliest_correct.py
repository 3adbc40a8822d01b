"""`earliest-correct`: the shortest prefix of steps whose stated result is the correct answer.

No teacher. The zero-cost baseline that every paid teacher must beat (STOP's earliest correct node).
"""

import re
from collections.abc import Sequence

from drp_plugin.grading import equal, extract
from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.pruning.decompose import decompose_sentences
from drp_plugin.pruning.dialogue import Dialogue, Rejection
from drp_plugin.pruning.values import CheckedTrace, Result
from drp_plugin.records import Action, Reason, Revision

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


def method(given: Given) -> Method:
    return Method(earliest_correct, Nobody())
