"""`earliest-correct`: the shortest prefix of steps whose stated result is the correct answer.

The zero-cost baseline that every paid teacher must beat (STOP's earliest correct node)."""

import re
from collections.abc import Sequence

from drp_plugin.grading import extract
from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.methods.dropping import close_to, stated_result, without
from drp_plugin.pruning.decompose import decompose_sentences
from drp_plugin.pruning.dialogue import CheckedTrace, Dialogue, Rejection, Result
from drp_plugin.records import Reason

_CONCLUDING = re.compile(r"\b(?:answer|therefore|thus|hence)\b|boxed", re.IGNORECASE)


def first_correct(sentences: Sequence[str], right: str, dataset: str | None, question: str
                  ) -> int | None:
    """The place of the first sentence whose result is right and no number of the question."""
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
    steps = decompose_sentences(thinking)
    place = first_correct([s.text for s in steps], right, dataset, trace.question)
    if place is None:
        raise Rejection("revise", Reason.NO_ANSWER,
                        "no step of the thinking states the correct answer")
    kept = thinking[: steps[place].end]
    shown = final if "$" in final or "\\" not in final else f"${final}$"
    said = extract(kept[-400:], thinking=False)
    statement = f" The answer is {shown}."
    if len(thinking) - len(kept) > len(statement) and not (
            said.how in ("boxed", "stated") and said.text and close_to(said.text, final, dataset)):
        kept = kept.rstrip(" ,;:") + ("" if kept.rstrip()[-1:] in ".!?" else ".") + statement
    return without(checked, steps, set(range(place + 2, len(steps) + 1)))._replace(thinking=kept)


def method(given: Given) -> Method:
    return Method(earliest_correct, Nobody())
