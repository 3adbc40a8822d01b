"""Sampling through a ledger: what is stored is never drawn again, and no two processes draw the
same."""

import contextlib
import itertools
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.llm.messages import Message
from drp_plugin.sampling.completions import Completion, Failed, Outcome, Sampler, SampleRequest
from drp_plugin.terminal import say
from drp_plugin.thinking import CLOSE

Report = Callable[[int, Outcome | None], None]
"""Called with a number of requests that are settled and their outcome; None where it was stored."""
_BLOCK = 256
_POLL_S = 0.2


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[Ledger]:
    """The ledger at `path`; without one, a ledger that lasts as long as the block."""
    with contextlib.ExitStack() as stack:
        path = path or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "ledger.sqlite"
        yield stack.enter_context(Ledger(path))


def draw(sampler: Sampler, requests: Sequence[SampleRequest], ledger: Ledger,
         report: Report = lambda n, outcome: None) -> dict[str, Failed]:
    """Have the ledger hold a completion of every request; returns the failures, by ledger key.

    A completion is stored, durably, as soon as it is finished, and not held in memory. Equal
    requests are drawn once; those of another process are waited for. Failed requests are not
    stored, so that the next run tries them again. After Ctrl-C or SIGTERM a sampler may finish and
    store what is in flight before KeyboardInterrupt is raised; a second signal raises it at once.
    """
    first: dict[str, int] = {}
    times: Counter[str] = Counter()
    for index, request in enumerate(requests):
        times[key := request.key(sampler.identity)] += 1
        first.setdefault(key, index)
    failed: dict[str, Failed] = {}
    todo, waiting = list(first), False
    while todo:
        known = {key for some in _blocks(todo) for key in ledger.get_many(some)}
        report(sum(times[key] for key in known), None)
        todo = [key for key in todo if key not in known]
        claims = _Claims(ledger, todo)
        asked = (requests[first[key]] for key in claims)
        with contextlib.closing(claims), _interruptible(sampler):
            one = list(itertools.islice(asked, 1))  # do not start an engine for nothing
            for place, outcome in sampler.sample(itertools.chain(one, asked)) if one else ():
                key = claims.taken[place]
                if isinstance(outcome, Completion):
                    ledger.put(Entry(key, outcome.model_dump(mode="json"), "completion"))
                else:
                    failed[key] = outcome
                claims.release(key)
                report(times[key], outcome)
            for key in claims.open:
                failed[key] = Failed(error="the engine gave no completion")
                report(times[key], failed[key])
        if todo and claims.others == todo:
            if not waiting:
                say(f"waiting for {ledger.holder(todo[0])}, which draws the other {len(todo)}")
            waiting = True
            time.sleep(_POLL_S)
        todo = claims.others
    return failed


def complete(sampler: Sampler, requests: Sequence[SampleRequest], ledger: Ledger,
             report: Report = lambda n, outcome: None) -> list[Outcome]:
    """An outcome for every request, in order; see `draw`."""
    return list(outcomes(sampler, requests, ledger, draw(sampler, requests, ledger, report)))


def outcomes(sampler: Sampler, requests: Iterable[SampleRequest], ledger: Ledger,
             failed: dict[str, Failed]) -> Iterator[Outcome]:
    """The results of `draw`, in the ledger and returned, in the order of the requests."""
    for some in _blocks(request.key(sampler.identity) for request in requests):
        stored = ledger.get_many(some)
        for key in some:
            yield Completion.model_validate(stored[key]) if key in stored else failed[key]


def within_budget(sampler: Sampler, requests: Sequence[SampleRequest], budget: int,
                  ledger: Ledger, report: Report = lambda n, outcome: None) -> list[Outcome]:
    """Completions whose thinking is no longer than `budget` tokens, in order; see `complete`.
    Thinking that is still open after so many tokens is closed there (the tag is not counted), and
    the model goes on with its answer; closed thinking continues unchanged."""
    first = complete(sampler, [r.model_copy(update={"max_new_tokens": min(budget, r.limit)})
                               for r in requests], ledger, report)
    begun: dict[int, Completion] = {}
    more = []
    for index, (request, said) in enumerate(zip(requests, first, strict=True)):
        if not isinstance(said, Completion) or said.finish != "length" \
                or said.tokens < budget or said.tokens >= request.limit:
            continue
        text = said.text + ("" if CLOSE in said.text else f"\n{CLOSE}\n\n")
        begun[index] = said.model_copy(update={"text": text})
        more.append(request.model_copy(update={
            "messages": (*request.messages, Message(role="assistant", content=text)),
            "max_new_tokens": request.max_new_tokens - said.tokens,
            "cutoff": None if request.cutoff is None else request.cutoff - said.tokens}))
    # the rows were reported when they were first drawn
    rest = complete(sampler, more, ledger, lambda n, outcome: report(0, outcome))
    for (index, said), end in zip(begun.items(), rest, strict=True):
        first[index] = end if not isinstance(end, Completion) else end.model_copy(update={
            "text": said.text + end.text, "tokens": said.tokens + end.tokens,
            "prompt_tokens": said.prompt_tokens})
    return first


def _blocks(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while some := list(itertools.islice(rest, _BLOCK)):
        yield some


class _Claims:
    """Keys that this process draws, claimed as the sampler takes them."""

    def __init__(self, ledger: Ledger, keys: Sequence[str]) -> None:
        self.ledger, self.keys = ledger, keys
        self.taken: list[str] = []  # In the order in which the sampler took them
        self.open: dict[str, None] = {}  # Those without an outcome
        self.others: list[str] = []  # Keys that another process draws, or has just stored

    def __iter__(self) -> Iterator[str]:
        for key in self.keys:
            if not self.ledger.claim(key):
                self.others.append(key)
            elif self.ledger.get(key) is not None:
                self.ledger.release(key)
                self.others.append(key)
            else:
                self.taken.append(key)
                self.open[key] = None
                yield key

    def release(self, key: str) -> None:
        del self.open[key]
        self.ledger.release(key)

    def close(self) -> None:
        for key in list(self.open):
            self.release(key)


@contextlib.contextmanager
def _interruptible(sampler: Sampler) -> Iterator[None]:
    told = False

    def handle(*_: Any) -> None:
        nonlocal told
        if told or not sampler.stop():
            raise KeyboardInterrupt
        told = True

    main = threading.current_thread() is threading.main_thread()
    before = {s: signal.signal(s, handle) for s in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:
        raise KeyboardInterrupt
