"""`shortest-correct`: of a question's samples, the shortest that is right; no teacher.

`original` is the longest that is right, so that preference pairs are Sky-T1-Flash's. Samples are
rows with one question, wherever they stand in the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.pruning.dialogue import Dialogue, Rejection
from drp_plugin.pruning.values import CheckedTrace, Result
from drp_plugin.pruning.verify import check_trace, verify
from drp_plugin.records import Reason, Trace
from drp_plugin.seen import digest


@dataclass
class _Question:
    """The samples of a question that may be kept."""

    lengths: list[tuple[int, int, str]] = field(default_factory=list)
    """Tokens, place in the file, id."""
    longest: tuple[int, int] = (0, 0)
    """Where the text of the longest lies in the store of texts: its place and its size."""


class Samples:
    """What is known of all samples before one is kept: lengths and ids. Texts stay on disk."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._questions: dict[bytes, _Question] = {}
        self._texts = tempfile.TemporaryFile()  # noqa: SIM115 (it ends with the process)
        self._reading = asyncio.Lock()
        self._read = False

    async def of(self, question: str) -> list[str]:
        """Ids of the question's correct samples, the shortest first."""
        async with self._reading:
            if not self._read:
                for place, row in enumerate(self._given.rows()):
                    if isinstance(row, Trace):
                        self._add(place, row)
                    if place % 16 == 0:
                        await asyncio.sleep(0)  # the display lives on, and Ctrl-C is heard
                self._read = True
        found = self._questions.get(_key(question))
        return [name for _, _, name in sorted(found.lengths)] if found else []

    def longest(self, question: str) -> str:
        """The response of the question's longest correct sample."""
        place, size = self._questions[_key(question)].longest
        self._texts.seek(place)
        return self._texts.read(size).decode("utf-8", "surrogatepass")

    def _add(self, place: int, trace: Trace) -> None:
        """Take note of a sample that is right and would pass verification."""
        tokens = self._given.count(trace.response)
        with contextlib.suppress(Rejection):
            checked = check_trace(trace, self._given.options)
            verify(checked, whole(checked), (tokens, tokens), self._given.options)
            question = self._questions.setdefault(_key(trace.question), _Question())
            if tokens > max((t for t, _, _ in question.lengths), default=-1):
                text = trace.response.encode("utf-8", "surrogatepass")
                question.longest = (self._texts.seek(0, 2), len(text))
                self._texts.write(text)
            question.lengths.append((tokens, place, trace.id))


def _key(question: str) -> bytes:
    return digest(" ".join(question.split()))


def whole(checked: CheckedTrace) -> Result:
    """The trace as it is."""
    return Result((), (), checked.thinking, checked.answer, kind="sample")


def keep_one(given: Given, pick: Callable[[int], int]) -> Method:
    """The method that keeps one of a question's n correct samples: `pick(n)`, 0 is the shortest."""
    samples = Samples(given)

    async def prune(checked: CheckedTrace, _: Dialogue) -> Result:
        trace = checked.trace
        if trace.answer is None and not given.options.keep_wrong:
            raise Rejection("choose", Reason.NOT_CHOSEN, "no gold answer: nobody knows whether "
                            "this sample is right (--keep-wrong takes it as it is)")
        names = await samples.of(trace.question)
        if not names or trace.id != (kept := names[pick(len(names))]):
            raise Rejection("choose", Reason.NOT_CHOSEN,
                            f"{kept} is kept of this question's {len(names)} correct samples"
                            if names else "it would not pass verification")
        return whole(checked)._replace(original=samples.longest(trace.question))

    return Method(prune, Nobody())


def method(given: Given) -> Method:
    return keep_one(given, lambda count: 0)
