"""One loop of retries for every provider.

The libraries' own are off: they sleep unseen, accept half a JSON, ask on when a quota is spent."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from drp_plugin.errors import UserError
from drp_plugin.llm.limiter import LONGEST_WAIT_S, Limiter
from drp_plugin.llm.messages import TeacherError
from drp_plugin.records import Reason
from drp_plugin.redact import redact
from drp_plugin.terminal import phrase, say

T = TypeVar("T")

SILENT_ATTEMPTS = 4  # So many attempts at a server that has never given a reply
REFUSED_REQUESTS = 8  # So many requests that one server refused for good
_TELL_AFTER_S = 0.3


class Unusable(UserError):
    """No request of this run can succeed (wrong key, unknown model, spent quota): stop it."""

    def __init__(self, what: str, *, fix: str = "", runs: bool = False) -> None:
        super().__init__(what, fix=fix)
        self.runs = runs  # The run's fault, unless the server answers other requests of it


class Transient(Exception):
    """A request failed in a way that another attempt may mend; no key is in it. `after_s` is
    the wait that the provider asks for, in seconds; `unreachable` that there was no server, or one
    of another kind; `fix` what to do if it never gets better."""

    def __init__(self, text: str, *, after_s: float | None = None, throttled: bool = False,
                 unreachable: bool = False, fix: str = "") -> None:
        super().__init__(redact(text))
        self.after_s, self.throttled = after_s, throttled
        self.unreachable, self.fix = unreachable, fix


def stopping() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def finished(work: Coroutine[Any, Any, T], told: Callable[[], None] = lambda: None) -> T:
    """The result of `work`, which is paid for, even if the caller is cancelled meanwhile. `told` is
    called at the cancellation, which is deferred: the caller checks `stopping()` once the value is
    safe. A second cancellation drops the work at once."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        told()
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.add_done_callback(lambda t: t.cancelled() or t.exception())  # nobody waits for it
            task.cancel()
            raise
    return task.result()


def no_reply(text: str) -> Transient:
    """A body with status 200 that is not a model's reply, such as another server's page."""
    return Transient(f"the reply is not a model's: {text[:160]!r}",
                     unreachable=text.startswith("<"),
                     fix="Something other than a model's server answers there: check --base-url")


@dataclass
class Retries:
    """How often and how patiently."""

    attempts: int = 8  # Attempts in all for one request, throttled ones not counted
    base_s: float = 1.0  # The first wait; each further one doubles, with full jitter
    cap_s: float = 60.0
    patience_s: float = 3600.0  # How long one request may be throttled, by the clock


class Persistent:
    """Runs attempts under a limiter until one succeeds or none can."""

    def __init__(self, limiter: Limiter, retries: Retries | None = None, *,
                 timeout_s: float = 600.0, where: str = "the teacher") -> None:
        self.limiter, self.retries = limiter, retries or Retries()
        self.timeout_s, self.where = timeout_s, where
        self.answered_before = False  # Whether an earlier process had replies from this server
        self.fault = ""  # What went wrong last, while nothing has gone right since
        # whether another server can be asked at once if this one is gone
        self.elsewhere: Callable[[], bool] = lambda: False
        self.gone = 0  # Failed connections in a row
        self.running = 0  # Requests in flight or waiting here
        self._away_until = self._gone_at = 0.0
        self._reached = self._told = False
        self._refused = self._unusable = 0

    async def run(self, attempt: Callable[[], Awaitable[T]], *, keep: bool = False) -> T:
        """The first successful attempt's value. With `keep` an attempt that is out is not dropped
        when the task is cancelled (see `finished`); nothing new is sent then. Raises TeacherError
        when the attempts are used up, Unusable when no server of the right kind ever answered."""
        async def timed() -> T:
            # the clients' own timeouts count silence between bytes; this one counts it all
            async with asyncio.timeout(self.timeout_s):
                return await attempt()

        self.running += 1
        try:
            return await self._run(timed, keep)
        finally:
            self.running -= 1

    @property
    def away(self) -> bool:
        """Whether it is gone, and it is too soon to try again."""
        return self.limiter.now() < self._away_until

    def stay_away(self, wait_s: float) -> None:
        self._away_until = self.limiter.now() + wait_s

    async def _run(self, attempt: Callable[[], Coroutine[Any, Any, T]], keep: bool) -> T:
        tried = throttles = refusals = 0
        throttled_since: float | None = None
        while True:
            await self.limiter.acquire()
            sent_at = self.limiter.now()
            try:
                value = await (finished(attempt(), self._tell) if keep else attempt())
                self._reached, self._unusable, self.fault = True, 0, ""
                self.gone, self._away_until = 0, 0.0
                return value
            except TimeoutError:
                fault = Transient(f"no answer within {self.timeout_s:g} s",
                                  fix="Give a higher --timeout, or look at the server's log")
            except Transient as caught:
                fault = caught
                if caught.throttled:
                    self.limiter.throttled(caught.after_s, sent_at)
            except TeacherError as error:
                raise self._one_of_all(error) from None
            except Unusable as error:
                refusals += 1
                self._unusable += refusals == 1  # one request says little, however often it is sent
                if not error.runs or not self._known or self._unusable >= SILENT_ATTEMPTS:
                    raise
                fault = Transient(str(error))
            finally:
                self.limiter.release()
            self.fault = str(fault)
            if keep and stopping():
                raise asyncio.CancelledError
            if fault.unreachable and self._left(fault, sent_at):
                raise TeacherError(str(fault))
            if fault.throttled:
                throttles += 1
                throttled_since = sent_at if throttled_since is None else throttled_since
                waited = self.limiter.now() - throttled_since
                if waited > self.retries.patience_s:
                    fault = Transient(f"throttled for {waited:.0f} s: {fault}", fix=fault.fix)
                    raise self._never(fault) if self._silent(fault) else TeacherError(str(fault))
            else:
                tried += 1
                if tried >= SILENT_ATTEMPTS and self._silent(fault):
                    raise self._never(fault)
                if tried >= self.retries.attempts:
                    raise TeacherError(f"gave up after {phrase('attempts', tried)}: {fault}",
                                       Reason.REQUEST_FAILED)
            await asyncio.sleep(self._wait(tried + throttles - 1, fault))

    def _left(self, fault: Exception, sent_at: float) -> bool:
        """Whether a server that is gone is left alone because another one is there."""
        if not self.gone or sent_at >= self._gone_at:  # sent together, lost together
            self.gone, self._gone_at = self.gone + 1, self.limiter.now()
            self.stay_away(min(self.retries.cap_s, self.retries.base_s * 2 ** min(self.gone, 16)))
            if self.gone == 1 and self.elsewhere():
                say(f"{self.where} has failed ({fault}): the other servers continue")
        return self.elsewhere()

    def gives_way(self, error: TeacherError | Unusable) -> bool:
        """Whether another server is asked instead; this one is gone if it may fail at anything."""
        if isinstance(error, TeacherError) and error.reason is not Reason.REQUEST_FAILED:
            return False
        if self.away or not getattr(error, "understood", True):  # perhaps the request's fault
            return self.elsewhere()
        return self._left(error, self.limiter.now())

    def _one_of_all(self, error: TeacherError) -> Exception:
        """A refusal of one request, or, where a server never took any, of them all."""
        self._refused += not error.understood
        if self._refused < REFUSED_REQUESTS or self._known:
            return error
        return Unusable(f"{self.where} refuses every request: {error}",
                        fix="Check the model's name, --base-url and the sampling options")

    @property
    def _known(self) -> bool:
        """Whether it has answered requests of this run, also those of earlier processes."""
        return self._reached or self.answered_before

    def _silent(self, fault: Transient) -> bool:
        """It never gave a reply (if gone, none to this process): not the request's fault."""
        return not self._reached and (fault.unreachable or not self.answered_before)

    def _never(self, fault: Transient) -> Unusable:
        return Unusable(f"no answer from {self.where}: {fault}", fix=fault.fix or (
            "Is the server running, and the address right?" if fault.unreachable else
            "Look at the server's log, or try again later"))

    def status(self) -> str:
        """What is out, and what is waited for, in a few words; empty where nothing is."""
        out, paused = self.limiter.in_flight, self.limiter.paused_s()
        parts = [f"{out} in flight"] if out else []
        if self.fault:
            pause = f", none goes out for {paused:.0f} s" if paused >= 1 else ""
            cut = "…" * (len(self.fault) > 240)
            parts.append(f"{self.running - out} waiting{pause}; the last fault: "
                         f"{self.fault[:120]}{cut}{self.fault[120:][-120:]}")
        return ", ".join(parts)

    def _tell(self) -> None:
        """Say once what is awaited, unless it comes in an instant."""
        def tell() -> None:
            if out := self.limiter.in_flight:
                say(phrase("waiting", out))

        if not self._told:
            self._told = True
            asyncio.get_running_loop().call_later(_TELL_AFTER_S, tell)

    def _wait(self, tried: int, fault: Transient) -> float:
        """How long to wait before the next attempt, after `tried` earlier ones, in seconds: growing
        also when the provider asks for a wait, since it may say "at once" for ever."""
        base, asked = self.retries.base_s, 0.0
        if fault.after_s is not None:
            base, asked = base / 20, min(fault.after_s, LONGEST_WAIT_S)
        return asked + random.uniform(0.25, 1.0) * min(self.retries.cap_s,
                                                       base * 2 ** min(tried, 16))
