"""The student's own traces (§3.1): a request for each sample of each question, and their file."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.grading import grade
from drp_plugin.llm.messages import Message
from drp_plugin.progress import Display
from drp_plugin.prompts import Prompts
from drp_plugin.reading.reader import Seen
from drp_plugin.records import Question
from drp_plugin.resources import phrase
from drp_plugin.sampling.completions import Completion, Failed, Outcome, Sampler, SampleRequest
from drp_plugin.sampling.pretrained import derived_seed
from drp_plugin.sampling.through_ledger import Report, draw, opened, outcomes

_LOOKED_AT = 200  # Traces that are graded to see whether any is right
_NAMED = 5  # Failed rows whose ids are shown for each reason


class TraceRequests(Sequence[SampleRequest]):
    """Requests in the order of the questions, each made when it is looked at; `settings` are
    those of `SampleRequest`. Raises UserError for a prompt that does not render."""

    def __init__(self, questions: Sequence[Question], prompts: Prompts, prompt: str, *,
                 samples: int = 1, seed: int = 0, **settings: Any) -> None:
        self.questions, self.samples, self.seed = questions, samples, seed
        self._prompts, self._prompt, self._settings = prompts, prompt, settings
        self.prompt = prompts.origin(prompt)
        self[0]  # a faulty prompt is reported before a model is loaded

    def __len__(self) -> int:
        return len(self.questions) * self.samples

    def __getitem__(self, index: Any) -> Any:
        place, sample = divmod(index, self.samples)
        if place >= len(self.questions):
            raise IndexError(index)
        text = self._prompts.render(self._prompt, question=self.questions[place].question)
        return SampleRequest(messages=(Message(role="user", content=text),), **self._settings,
                             seed=derived_seed(self.seed, text, sample))

    def id(self, index: int) -> str:
        """The id of a trace: the question's, and the number of the sample where there are more."""
        place, sample = divmod(index, self.samples)
        return self.questions[place].id + (f"#{sample}" if self.samples > 1 else "")


class Sampled:
    """The state of sampling so far."""

    def __init__(self) -> None:
        self.traces = self.tokens = self.cut = 0  # cut: traces that did not end by themselves
        self.failed: dict[str, list[str]] = {}  # Ids of rows without a trace, by reason
        self._seen = Seen()
        self._drawn = self._failures = self._graded = self._right = 0
        self._started = time.monotonic()

    @contextlib.contextmanager
    def shown(self, what: str, total: int, sampler: Sampler, show: bool = True) -> Iterator[Report]:
        """The progress on stderr; the yielded function takes each outcome."""
        def status() -> str:
            rate = self._drawn / max(time.monotonic() - self._started, 1e-3)
            failed = f"{self._failures} failed" if self._failures else ""
            return ", ".join(filter(None, (f"{rate:,.0f} tokens/s", failed, sampler.status())))

        def report(rows: int, outcome: Outcome | None) -> None:
            self._drawn += outcome.tokens if isinstance(outcome, Completion) else 0
            self._failures += rows * isinstance(outcome, Failed)
            display.advance(rows)

        with Display(what, total, status=status, show=show) as display:
            display.say(display.line())
            yield report
            display.say(display.line())

    def look(self, row: Question, completion: Completion) -> None:
        self.traces += 1
        self.tokens += completion.tokens
        self.cut += completion.finish != "stop"
        if self.traces <= _LOOKED_AT:
            self._seen.add(row.answer, [completion])
            if row.answer is not None:
                self._graded += 1
                self._right += grade(completion.text, row.answer, row.dataset).correct

    def doubt(self) -> str | None:
        """Why the traces may be useless, judged by the first of them; None without doubt."""
        return self._seen.doubt(self._graded, self._right)

    def failures(self) -> Iterator[str]:
        for error, ids in self.failed.items():
            more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
            of = phrase("completions", self.traces + sum(map(len, self.failed.values())))
            yield phrase("failed_completions", len(ids), of=of, error=error,
                         names=", ".join(ids[:_NAMED]) + more)


def generate(sampler: Sampler, requests: TraceRequests, output: str, *, model: str,
             ledger: Path | None = None) -> Sampled:
    """Sample, and write the traces in the order of the questions, by way of the ledger (else a
    temporary one). Raises UserError, and leaves the file alone, if there was no completion."""
    tally = Sampled()
    with opened(ledger) as store:
        with tally.shown("completions", len(requests), sampler) as report:
            failed = draw(sampler, requests, store, report)
        if failed and not any(isinstance(o, Completion)
                              for o in outcomes(sampler, requests, store, failed)):
            raise UserError(f"none of {phrase('completions', len(requests))} succeeded: "
                            f"{next(iter(failed.values())).error}", fix=f"{output} is unchanged")
        found = outcomes(sampler, requests, store, failed)
        jsonl.write(output, _rows(requests, found, model, tally))
    return tally


def _rows(requests: TraceRequests, found: Iterator[Outcome], model: str,
          tally: Sampled) -> Iterator[dict[str, Any]]:
    for index, outcome in enumerate(found):
        name = requests.id(index)
        if isinstance(outcome, Failed):
            tally.failed.setdefault(outcome.error, []).append(name)
            continue
        row = requests.questions[index // requests.samples]
        tally.look(row, outcome)
        yield {**row.model_dump(exclude={"id"}), "id": name, "response": outcome.text,
               "model": model, "prompt": requests.prompt, "tokens": outcome.tokens,
               "finish": outcome.finish}
