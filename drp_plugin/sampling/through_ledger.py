"""Sampling through a ledger: nothing is drawn twice, now, later or by another process."""

import contextlib
import itertools
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.llm.messages import Message
from drp_plugin.sampling.completions import Completion, Failed, Outcome, Sampler, SampleRequest
from drp_plugin.seen import Kept
from drp_plugin.terminal import say
from drp_plugin.thinking import CLOSE

T = TypeVar("T")
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

    A completion is stored, durably, as soon as it is finished. Equal requests are drawn once; those
    of another process are waited for. Failed ones are not stored: the next run tries them again.
    After Ctrl-C or SIGTERM what is in flight may finish; a second signal ends at once."""
    failed: dict[str, Failed] = {}
    todo: Sequence[int] = range(len(requests))
    waiting = False
    while todo:
        claims = _Claims(sampler, requests, ledger, todo, failed, report)
        asked = iter(claims)
        with contextlib.closing(claims), _interruptible(sampler):
            one = list(itertools.islice(asked, 1))  # do not start an engine for nothing
            for number, outcome in sampler.sample(itertools.chain(one, asked)) if one else ():
                key = claims.open[number]
                if isinstance(outcome, Completion):
                    ledger.put(Entry(key, outcome.model_dump(mode="json"), "completion"))
                else:
                    failed[key] = outcome
                claims.release(number)
                report(1, outcome)
            for key in claims.open.values():
                failed[key] = Failed(error="the engine gave no completion")
                report(1, failed[key])
        todo = claims.others
        if todo and not claims.taken:
            if not waiting:
                holder = ledger.holder(requests[todo[0]].key(sampler.identity))
                say(f"waiting for {holder}, which draws the other {len(todo)}")
            waiting = True
            time.sleep(_POLL_S)
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
    the model goes on with its answer; closed thinking continues unchanged. An engine with a budget
    of its own does this by itself."""
    if sampler.ends_thinking():
        own = [r.model_copy(update={"thinking_budget": budget}) for r in requests]
        return complete(sampler, own, ledger, report)
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


def _blocks(values: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(values)
    while some := list(itertools.islice(rest, _BLOCK)):
        yield some


class _Claims:
    """Requests that this process draws, claimed as the sampler takes them."""

    def __init__(self, sampler: Sampler, requests: Sequence[SampleRequest], ledger: Ledger,
                 places: Iterable[int], failed: dict[str, Failed], report: Report) -> None:
        self.identity, self.requests, self.ledger = sampler.identity, requests, ledger
        self.places, self.failed, self.report = places, failed, report
        self.taken = 0
        self.open: dict[int, str] = {}  # Keys without an outcome, by their turn at the sampler
        self._drawing = set[str]()  # The same keys
        self.others = Kept[int]()  # What is drawn already, here or elsewhere, or was just stored

    def __iter__(self) -> Iterator[SampleRequest]:
        for some in _blocks(self.places):
            requests = [self.requests[place] for place in some]
            keys = [request.key(self.identity) for request in requests]
            known = self.ledger.get_many(keys)
            self.report(sum(key in known for key in keys), None)
            for place, request, key in zip(some, requests, keys, strict=True):
                if key in known:
                    continue
                if key in self.failed:  # as an equal request
                    self.report(1, self.failed[key])
                elif self._claim(key):
                    self.taken += 1
                    yield request
                else:
                    self.others.append(place)

    def _claim(self, key: str) -> bool:
        if key in self._drawing or not self.ledger.claim(key):
            return False
        if self.ledger.get(key) is not None:
            self.ledger.release(key)
            return False
        self.open[self.taken] = key
        self._drawing.add(key)
        return True

    def release(self, number: int) -> None:
        self._drawing.remove(key := self.open.pop(number))
        self.ledger.release(key)

    def close(self) -> None:
        for number in list(self.open):
            self.release(number)


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
