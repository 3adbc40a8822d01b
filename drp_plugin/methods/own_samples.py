"""One of a question's own samples, by its length: no teacher (docs/methods.md).

The samples between CoT-Valve's longest, 4, and shortest, 0, lie evenly; where there are fewer than
five, neighbours share one, so that every solution has every question."""

import asyncio
import contextlib
import tempfile

from drp_plugin.errors import UserError
from drp_plugin.methods import Given, Method, Nobody
from drp_plugin.pruning.dialogue import CheckedTrace, Dialogue, Rejection, Result, whole
from drp_plugin.pruning.flow import check_trace, verify
from drp_plugin.records import Reason, Trace
from drp_plugin.seen import digest


class Samples:
    """The samples of each question that are right and would pass verification. Lengths and ids are
    in memory; the text of the longest so far waits on disk."""

    def __init__(self, given: Given) -> None:
        self._given, self._reading, self._rows = given, asyncio.Lock(), enumerate(given.rows())
        self._lengths: dict[bytes, list[tuple[int, int, str]]] = {}
        """Of each question's samples: tokens, place in the file, id."""
        self._longest: dict[bytes, tuple[int, int]] = {}  # Its longest one's place, size
        self._texts = tempfile.TemporaryFile()  # noqa: SIM115 (it ends with the process)

    async def of(self, question: str) -> list[str]:
        """The ids of a question's samples, the shortest first, after all have been read."""
        async with self._reading:
            for place, row in self._rows:  # none on a second call
                if isinstance(row, Trace):
                    self._add(place, row)
                if place % 16 == 0:
                    await asyncio.sleep(0)  # the display lives on, and Ctrl-C is heard
        return [name for _, _, name in sorted(self._lengths.get(_key(question), []))]

    def longest(self, question: str) -> str:
        place, size = self._longest[_key(question)]
        self._texts.seek(place)
        return self._texts.read(size).decode("utf-8", "surrogatepass")

    def _add(self, place: int, trace: Trace) -> None:
        tokens, key = self._given.count(trace.response), _key(trace.question)
        with contextlib.suppress(Rejection):
            checked = check_trace(trace, self._given.options)
            verify(checked, whole(checked), (tokens, tokens), self._given.options)
            lengths = self._lengths.setdefault(key, [])
            if all(tokens > length for length, _, _ in lengths):
                text = trace.response.encode("utf-8", "surrogatepass")
                self._longest[key] = (self._texts.seek(0, 2), len(text))
                self._texts.write(text)
            lengths.append((tokens, place, trace.id))


def _key(question: str) -> bytes:
    return digest(" ".join(question.split()))


def method(given: Given) -> Method:
    """Raises UserError for a solution that does not exist."""
    solution = given.argument or "0"
    if solution not in list("01234"):
        raise UserError(f"mixchain:{solution}: no such solution",
                        fix="Give 4 (the longest sample) to 0 (the shortest)")
    samples = Samples(given)

    async def prune(checked: CheckedTrace, _: Dialogue) -> Result:
        trace = checked.trace
        if trace.answer is None and not given.options.keep_wrong:
            raise Rejection("choose", Reason.NOT_CHOSEN, "no gold answer: nobody knows whether "
                            "this sample is right (--keep-wrong takes it as it is)")
        names = await samples.of(trace.question)
        kept = names[round(int(solution) / 4 * (len(names) - 1))] if names else "none"
        if trace.id != kept:
            raise Rejection("choose", Reason.NOT_CHOSEN, f"{kept} is kept of the {len(names)} "
                            "samples of this question that are right and pass verification")
        return whole(checked)._replace(original=samples.longest(trace.question))

    return Method(prune, Nobody())
