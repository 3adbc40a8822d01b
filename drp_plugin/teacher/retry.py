"""One loop of retries for every provider: what can be retried is, what cannot is not.

The providers' libraries have retries of their own. They are switched off here, because they
sleep unseen: the limiter must hear of every 429 at once, a reply that is half a JSON must be
asked again although its HTTP status was 200, and a spent quota (also 429) must stop the run
instead of being asked for again and again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from drp_plugin.errors import UserError
from drp_plugin.records import Reason
from drp_plugin.teacher.base import TeacherError
from drp_plugin.teacher.limiter import Limiter

T = TypeVar("T")


class Unusable(UserError):
    """No request of this run can succeed (wrong key, unknown model, spent quota): stop it."""


class Transient(Exception):
    """A request failed in a way that another attempt may mend. The text holds no key."""

    def __init__(self, text: str, *, after_s: float | None = None, throttled: bool = False,
                 unreachable: bool = False) -> None:
        super().__init__(text)
        self.after_s = after_s
        """How long the provider asks to wait, in seconds."""
        self.throttled = throttled
        self.unreachable = unreachable
        """There was no server to talk to."""


@dataclass
class Retries:
    """How often and how patiently."""

    attempts: int = 8
    """Attempts in all for one request, throttled ones not counted."""
    base_s: float = 1.0
    """The first wait; each further one doubles, with full jitter."""
    cap_s: float = 60.0
    patience_s: float = 3600.0
    """How long one request may be throttled in all before it is given up."""


class Persistent:
    """Runs attempts under a limiter until one succeeds or none can."""

    def __init__(self, limiter: Limiter, retries: Retries | None = None, *,
                 timeout_s: float = 600.0, where: str = "the teacher") -> None:
        self.limiter = limiter
        self.retries = retries or Retries()
        self.timeout_s = timeout_s
        self.where = where
        self.retried = 0
        """Attempts made again so far."""
        self._reached = False

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The first successful attempt's value.

        Raises TeacherError when the attempts are used up, Unusable when no server ever answered.
        """
        tried, throttled_s = 0, 0.0
        while True:
            await self.limiter.acquire()
            sent_at = self.limiter.now()
            try:
                # the clients' own timeouts count silence between bytes; this one counts it all
                async with asyncio.timeout(self.timeout_s):
                    value = await attempt()
                self._reached = True
                return value
            except TimeoutError:
                fault = Transient(f"no answer within {self.timeout_s:g} s")
            except Transient as caught:
                fault = caught
                if caught.throttled:
                    self.limiter.throttled(caught.after_s, sent_at)
            finally:
                self.limiter.release()
            if not fault.unreachable:
                self._reached = True
            wait = self._wait(tried, fault)
            if fault.throttled:
                throttled_s += wait
                if throttled_s > self.retries.patience_s:
                    raise TeacherError(f"throttled for {throttled_s:.0f} s: {fault}")
            else:
                tried += 1
                if tried >= 4 and not self._reached:
                    raise Unusable(f"no answer from {self.where}: {fault}",
                                   fix="Is the server running, and the address right?")
                if tried >= self.retries.attempts:
                    raise TeacherError(f"gave up after {tried} attempts: {fault}",
                                       Reason.REQUEST_FAILED)
            self.retried += 1
            await asyncio.sleep(wait)

    def _wait(self, tried: int, fault: Transient) -> float:
        grown = min(self.retries.cap_s, self.retries.base_s * 2 ** min(tried, 16))
        jitter = random.uniform(0.25, 1.0) * grown
        if fault.after_s is None:
            return jitter
        # all that were refused together must not come back in the same instant
        return fault.after_s + random.uniform(0, min(1.0, 0.1 * fault.after_s + 0.05))
