"""Completions graded and counted with and without the cutoff, from one generation. The cutoff
(§4.6, Appendix A, Table 5) clips tokens; an answer not complete by then is wrong."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from drp_plugin.errors import UserError
from drp_plugin.finish import ended as ended_by_itself
from drp_plugin.grading import Grade, How, Outcome, grade
from drp_plugin.grading.extract import answer_part
from drp_plugin.loops import loop_period
from drp_plugin.reading import read
from drp_plugin.records import Record, Reject
from drp_plugin.resources import table
from drp_plugin.seen import temporary
from drp_plugin.thinking import CLOSE
from drp_plugin.tokens import QWEN, TokenCount, TokenCounter

DEFAULT_CUTOFF = 12_000  # Tokens; "empirically covers 99% of correct responses" (§4.6)
_SQL = table("samples.yaml")


class Reading(Record):
    """A completion read up to a cutoff."""

    cutoff: int | None  # In tokens; None if nothing was cut
    outcome: Outcome | None  # None if the gold answer is not known
    correct: bool | None
    extracted: str | None
    extraction: How | None  # How the answer was found: boxed, stated or last_number
    tokens: int  # Tokens of the whole completion, clipped to the cutoff
    think_tokens: int  # Up to and including `</think>`, clipped; 0 without thinking and tag
    answer_tokens: int
    truncated: bool  # No `</think>`, more tokens than the cutoff, or stopped by a length limit


class Measured(Reading):
    """A completion under the protocol's cutoff, and `full` without any."""

    full: Reading
    loop: int | None  # The period, in characters, of a tail that repeats itself
    backend_tokens: int | None = None  # Ids by the backend's own count, a stop token included
    within: tuple[bool, ...] = Field(default=(), exclude=True)
    """Whether it is right when it is cut at each of the budgets that were asked about."""


def measure_many(completions: Sequence[str], golds: Sequence[str | None],
                 datasets: Sequence[str | None], counter: TokenCounter,
                 cutoff: int | None = DEFAULT_CUTOFF, *,
                 backend_tokens: Sequence[int | None] | None = None,
                 thinking: bool | Sequence[bool] = True,
                 ended: Sequence[bool | None] | None = None,
                 budgets: Sequence[int] = ()) -> list[Measured]:
    """Grade and count completions. Safe in threads.

    `ended=False` says that a length limit stopped one, True that the model ended it (without
    `</think>` it then has no answer, but was not truncated), None that this is not known. With
    `thinking=False` text without tags is all answer; it is one value for all, or one each."""
    ids = backend_tokens or [None] * len(completions)
    found = measure_at(completions, golds, datasets, counter, (cutoff, None, *budgets),
                       thinking=thinking, ended=ended)
    return [Measured(**dict(cut), full=full, loop=loop_period(text), backend_tokens=backend,
                     within=tuple(bool(reading.correct) for reading in at_budgets))
            for text, (cut, full, *at_budgets), backend
            in zip(completions, found, ids, strict=True)]


def score(rows: str | Path | Iterable[Any], *, cutoff: int | None = DEFAULT_CUTOFF,
          tokenizer: str = QWEN, thinking: bool = True) -> list[Measured]:
    """`measure_many` for what `read` takes. Raises UserError for a row that cannot be scored."""
    found = []
    for row in read(rows):
        if isinstance(row, Reject):
            raise UserError(f"{row.id} cannot be scored: {row.detail}")
        found.append(row)
    counter = TokenCounter.load(tokenizer, exact=False)
    return measure_many([row.response for row in found], [row.answer for row in found],
                        [row.dataset for row in found], counter, cutoff, thinking=thinking,
                        ended=[ended_by_itself(row.finish) for row in found])


def measure_at(completions: Sequence[str], golds: Sequence[str | None],
               datasets: Sequence[str | None], counter: TokenCounter,
               cutoffs: Sequence[int | None], *,
               thinking: bool | Sequence[bool] = True,
               ended: Sequence[bool | None] | None = None) -> list[list[Reading]]:
    """Each completion read at each of several cutoffs, tokenized once; see `measure_many`."""
    ends = ended or [None] * len(completions)
    thinks = [thinking] * len(completions) if isinstance(thinking, bool) else thinking
    counts = counter.split_counts(completions)
    results = []
    for text, gold, dataset, count, end, think in zip(completions, golds, datasets, counts, ends,
                                                      thinks, strict=True):
        # cut within its one thinking, a completion has no answer, wherever it is cut
        open_until = count.think if think and text.count(CLOSE) < 2 else 0
        short = sorted({c for c in cutoffs if c is not None and c < count.total})
        needed = [c for c in short if c >= open_until]
        clipped = dict.fromkeys(short, "") | dict(
            zip(needed, counter.clips(text, needed), strict=True))
        full = _read(text, gold, dataset, count, None, think, end)
        results.append([_read(clipped[c], gold, dataset, count, c, think, False) if c in clipped
                        else full.model_copy(update={"cutoff": c}) for c in cutoffs])
    return results


def _read(text: str, gold: str | None, dataset: str | None, count: TokenCount,
          cutoff: int | None, thinking: bool, ended: bool | None) -> Reading:
    """`text` is the completion already clipped; `count` is of the whole one."""
    result: Grade = grade(text, gold or "", dataset, thinking=thinking, ended=ended is not False)
    if ended and result.outcome == "truncated":
        result = result._replace(outcome="no_answer")
    limit = count.total if cutoff is None else cutoff
    tokens, think = min(count.total, limit), min(count.think, limit) if thinking else 0
    if count.think == count.total and answer_part(text, thinking) == text:
        think = 0
    known = gold is not None
    return Reading(cutoff=cutoff, outcome=result.outcome if known else None,
        correct=result.correct if known else None, extracted=result.extracted,
        extraction=result.how, tokens=tokens, think_tokens=think, answer_tokens=tokens - think,
        truncated=ended is False or result.outcome == "truncated")


class Summary(Record):
    """Figures of one method on one task under one cutoff."""

    cutoff: int | None
    n: int  # Problems
    samples: int  # Completions; more than `n` where problems have several
    graded: int  # Problems whose gold answer is known; accuracy is over these
    correct: int | float  # Problems solved; with several samples a problem, the sum of their shares
    accuracy: float | None  # Mean over problems of the share of correct samples
    tokens: float  # Mean tokens of a completion, over problems likewise
    think_tokens: float
    truncated: int  # Completions, as are all below
    no_answer: int
    boxed: int
    stated: int
    last_number: int


class Figures:
    """A summary in the making: rows wait on disk, as sums. Means are within problems first."""

    def __init__(self, cutoff: int | None) -> None:
        self._cutoff, self._base = cutoff, temporary(_SQL["tables"])
        self._counts = Counter(samples=0, truncated=0, no_answer=0, boxed=0, stated=0,
                               last_number=0)

    def add(self, readings: Sequence[Reading], problem: bytes | None = None) -> None:
        """Add the samples of a problem, or some of those of the one that `problem` stands for."""
        self._counts.update(samples=len(readings), truncated=sum(r.truncated for r in readings),
            no_answer=sum(r.extracted is None and not r.truncated for r in readings))
        self._counts.update(r.extraction for r in readings if r.extraction)
        self._base.execute(_SQL["add"], (problem, len(readings), readings[0].correct is not None,
            sum(bool(r.correct) for r in readings), sum(r.tokens for r in readings),
            sum(r.think_tokens for r in readings)))

    def summary(self) -> Summary:
        n, graded, shares, tokens, think = self._base.execute(_SQL["sums"]).fetchone()
        return Summary(cutoff=self._cutoff, **self._counts, n=n, graded=graded,
                       correct=int(shares) if self._counts["samples"] == n else shares,
                       accuracy=shares / graded if graded else None,
                       tokens=tokens / max(n, 1), think_tokens=think / max(n, 1))


def summarize(problems: Iterable[Reading | Sequence[Reading]], cutoff: int | None) -> Summary:
    """The figures of problems, each one reading or the readings of its samples."""
    figures = Figures(cutoff)
    for problem in problems:
        figures.add([problem] if isinstance(problem, Reading) else problem)
    return figures.summary()
