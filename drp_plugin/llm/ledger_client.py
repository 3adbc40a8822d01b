"""Asking a teacher through the ledger: nothing asked twice, nothing used before it is stored."""

import asyncio
from typing import Any

from drp_plugin.jsonl import encodable
from drp_plugin.llm.ledger import Entry, Ledger, aside, request_key
from drp_plugin.llm.ledger_disk import SAY_AFTER_S
from drp_plugin.llm.messages import Ask, Reply, Request, Teacher, TeacherError
from drp_plugin.llm.prices import Budget, Price, counted
from drp_plugin.llm.retry import SILENT_ATTEMPTS, Unusable, finished, stopping
from drp_plugin.records import Usage
from drp_plugin.terminal import say

_POLL_S = 0.05
_CHUNK = 500  # Replies of a batch that are stored together
EMPTY_ATTEMPTS = 3  # After so many replies without text a request is given up for this run


class Pending(BaseException):
    """The answer is not there yet (see `LedgerClient.pending`). Raised into a row's flow in
    replay, and ends it for now; not an Exception, so that no stage takes it for a failure."""


def key_of(identity: dict[str, Any], request: Request) -> str:
    """The ledger's key of a request to the teacher of this `Teacher.identity`."""
    sampling = request.sampling
    payload = {"teacher": identity, "messages": [[m.role, m.content] for m in request.messages],
        **sampling.model_dump(exclude={"extra"}), "extra": sampling.extra or None,
        "schema": request.json_schema}
    return request_key({k: v for k, v in payload.items() if v is not None})


def to_value(reply: Reply, price: Price | None, request: Request | None = None, *,
             batch: bool = False) -> dict[str, Any]:
    """What the ledger keeps of a reply: the request (a batch's is in its files) and the cost."""
    asked = {} if request is None else {
        "tag": request.tag, "messages": [[m.role, m.content] for m in request.messages]}
    value: dict[str, Any] = asked | {"text": reply.text, "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens}
    cost = None if price is None else price.bill(reply.usage, batch=batch)
    if cost is not None:
        value["cost_usd"] = cost
    return value


def charge(value: dict[str, Any], most: float) -> float:
    """What a budget is charged for a reply: its cost, or else the most that it can be."""
    if value.get("cost_usd") is not None:
        return float(value["cost_usd"])
    value["most_usd"] = most
    return most


def from_value(value: dict[str, Any], key: str = "") -> Reply:
    usage = Usage(requests=1, prompt_tokens=value["prompt_tokens"],
                  completion_tokens=value["completion_tokens"], cost_usd=value.get("cost_usd"))
    return Reply(key=key, text=encodable(value["text"]), finish_reason=value["finish_reason"],
                 usage=usage)


def usable(value: dict[str, Any]) -> bool:
    """Whether it is an answer: it needs text and (from earlier releases) an end."""
    return value["finish_reason"] in ("length", "refusal") or (
        value["finish_reason"] == "stop" and bool(value["text"].strip()))


class LedgerClient:
    """The `Ask` of a run: the ledger first, the teacher for what is not in it.

    Equal requests of several rows and processes are asked once. With `replay` nothing is asked: a
    request that is not in the ledger raises Pending. A row that is cancelled while its request is
    out ends when the answer is stored; cancelled twice, at once."""

    def __init__(self, teacher: Teacher, ledger: Ledger, *, price: Price | None = None,
                 budget: Budget | None = None, replay: bool = False) -> None:
        self.teacher, self.ledger, self.price, self.budget = teacher, ledger, price, budget
        self.asked = 0  # Requests that this process sent and had answered
        self.found = 0  # Requests that the ledger answered
        self.uncounted = 0  # Replies, asked or found, whose tokens the provider did not count
        self.spent_usd = 0.0
        self.pending: dict[str, Request] = {}  # In replay: the requests without an answer, by key
        self.failed: dict[str, TeacherError] = {}  # In replay: why these cannot be had, by key
        self.waits_for = ""  # The process whose answer is awaited, if that takes long
        self.replay = replay
        self._empty = 0  # Replies, of those asked, without text
        self._asking: dict[str, asyncio.Event] = {}
        self._kept: list[Entry] = []  # Of a batch, and not stored yet

    def status(self) -> str:
        """What it has done and what it waits for, in a few words."""
        return ", ".join(filter(None, (
            f"{self.asked} asked", f"{self.found} from the ledger" if self.found else "",
            f"${self.spent_usd:.2f}" if self.spent_usd else "",
            f"waiting for {self.waits_for}" if self.waits_for else "",
            *(connection.status() for connection in self.teacher.connections))))

    async def __call__(self, request: Request) -> Reply:
        """The reply. Raises what `Teacher.ask` raises; OverBudget; in replay, Pending."""
        key = key_of(self.teacher.identity, request)
        if self.replay:
            if (stored := self._look(key)) is not None:
                return self._stored(key, stored)
            if key in self.failed:
                raise self.failed[key]
            self.pending[key] = request
            raise Pending
        while other := self._asking.get(key):  # another row asks the very same thing
            await other.wait()
        self._asking[key] = mine = asyncio.Event()
        try:
            return await self._claimed(key, request)
        finally:
            del self._asking[key]
            mine.set()

    async def _claimed(self, key: str, request: Request) -> Reply:
        waited = 0.0
        while not self.ledger.claim(key):
            stored = self.ledger.get(key)
            if stored is not None and usable(stored):
                return self._stored(key, stored)
            await asyncio.sleep(_POLL_S)  # another process asks: its answer will be ours
            waited += _POLL_S
            if waited >= SAY_AFTER_S and waited % SAY_AFTER_S < _POLL_S:
                before, self.waits_for = self.waits_for, self.ledger.holder(key)
                if self.waits_for != before:
                    say(f"waiting for {self.waits_for}: it is sending the request needed here")
        try:
            stored = self._look(key)
            return await self._ask(key, request) if stored is None else self._stored(key, stored)
        finally:
            self.waits_for = ""
            self.ledger.release(key)

    def _look(self, key: str) -> dict[str, Any] | None:
        """The stored answer; a stored reply that is none is set aside."""
        stored = self.ledger.get(key)
        if stored is None or usable(stored):
            return stored
        self.ledger.set_aside(key)
        return None

    async def _ask(self, key: str, request: Request) -> Reply:
        for _ in range(EMPTY_ATTEMPTS):
            if stopping():  # a flow may go on after a request that failed while the run ended
                raise asyncio.CancelledError
            value = await self._paid(key, request)
            self.count(value)
            if stopping():
                raise asyncio.CancelledError
            if usable(value):
                break
        self.check_texts()
        return from_value(value, key)

    def check_texts(self) -> None:
        """Raises Unusable if no reply ever had text: each further one would be paid for too."""
        if self.asked == self._empty >= EMPTY_ATTEMPTS * SILENT_ATTEMPTS and not self.found:
            raise Unusable(f"{self.teacher.name} sends only replies without text",
                           fix="Its thinking may take the whole output: give a higher --max-tokens,"
                               " let it think less (--extra …), or choose another teacher")

    async def _paid(self, key: str, request: Request) -> dict[str, Any]:
        reserved = 0.0 if self.budget is None else await self.budget.reserve(request)
        cost = 0.0
        try:
            value = to_value(await self.teacher.ask(request), self.price, request)
            if self.budget is not None:
                cost = charge(value, reserved)
            # a paid answer is stored even when the run is being stopped around it, and before
            # the claim on it ends
            await finished(self.ledger.aput(Entry(key if usable(value) else aside(key), value,
                                                  request.tag, value.get("cost_usd"))))
        finally:
            if self.budget is not None:
                self.budget.settle(reserved, cost)
        return value

    def _stored(self, key: str, value: dict[str, Any]) -> Reply:
        reply = from_value(value, key)
        self.found += 1
        for connection in self.teacher.connections:
            connection.answered_before = True
        self.uncounted += not counted(reply.usage)
        return reply

    def keep(self, name: str = "", value: dict[str, Any] | None = None, most: float = 0) -> None:
        """Charge, count and soon store a reply of a batch; without one, store all of them now."""
        if value is not None:
            if self.budget is not None:
                self.budget.spent_usd += charge(value, most)
            self._kept.append(Entry(name, value, "batch", value.get("cost_usd")))
            self.count(value)
        if value is None or len(self._kept) >= _CHUNK:
            self.ledger.put(*self._kept)
            self._kept.clear()

    def count(self, value: dict[str, Any]) -> None:
        self.asked += 1
        self._empty += not usable(value)
        self.uncounted += not counted(from_value(value).usage)
        self.spent_usd += value.get("cost_usd") or 0.0


class RowClient:
    """One row's `Ask`: keeps account of its use, whatever becomes of the row."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.replies: list[Reply] = []

    @property
    def usage(self) -> Usage:
        keys = tuple(reply.key for reply in self.replies if reply.key)
        return sum((r.usage for r in self.replies), Usage()).model_copy(update={"keys": keys})

    async def __call__(self, request: Request) -> Reply:
        reply = await self._ask(request)
        if not reply.usage.requests:
            usage = reply.usage.model_copy(update={"requests": 1})
            reply = reply.model_copy(update={"usage": usage})
        self.replies.append(reply)
        return reply
