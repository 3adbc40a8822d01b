"""Concurrency that finds the provider's limit by itself.

Additive increase, multiplicative decrease, as in TCP: every answer raises the number of requests
in flight a little (doubling until the first refusal), a 429 halves it once and stops new ones for
as long as the provider asks. Rate-limit headers hold requests back before they are refused."""

import asyncio
import math
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_WAIT_S = 300.0  # Whatever a header says: after so long it tries again
_FIRST_PAUSE_S = 0.05


def seconds(text: str | None, date: str | None = None) -> float | None:
    """A header's duration (`20ms`, `1m30s`, `0.5`) or HTTP date in seconds from now, or None. It is
    now what the server's own `date` says, if it sent one: the clock here may be wrong."""
    text = (text or "")[:100]
    try:
        found = float(text)
        return max(0.0, found) if math.isfinite(found) else None
    except ValueError:
        parts = _DURATION.findall(text)
    if parts and _DURATION.sub("", text).strip() == "":
        return sum(float(n) * _UNIT_S[unit] for n, unit in parts)
    try:
        now = parsedate_to_datetime(date).timestamp() if date else time.time()
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


class Limiter:
    """Hands out the right to send a request: `limit` at the moment, `ceiling` at most."""

    def __init__(self, ceiling: int, *, start: int = 8,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.ceiling = max(1, ceiling)
        self.limit = float(min(start, self.ceiling))
        self.in_flight = 0
        self.now = clock  # In seconds
        self._probing = True
        self._paused_until = self._last_cut = self._permits_until = self._mean_tokens = 0.0
        self._refused = 0  # Number of 429s since the last answer
        self._permits: float | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def acquire(self) -> None:
        """Wait for the right to send one request; give it back with `release`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()  # the right had just been given
            raise

    def release(self) -> None:
        self.in_flight -= 1
        self._wake()

    def answered(self, headers: Mapping[str, str] | None = None, tokens: int = 0) -> None:
        """A request was answered: allow a little more, within what the headers permit."""
        self._refused = 0
        if self.limit < self.ceiling:
            self.limit = min(self.ceiling, self.limit + (1 if self._probing else 1 / self.limit))
        if tokens:
            self._mean_tokens += 0.1 * (tokens - self._mean_tokens) if self._mean_tokens else tokens
        if headers and "x-ratelimit-remaining-requests" in headers:
            self._read(headers)
        self._wake()

    def throttled(self, after_s: float | None, sent_at: float) -> None:
        """The provider said 429, with or without a wait, to a request sent at `sent_at`."""
        now = self.now()
        self._probing = False
        # requests that were in flight together are refused together: that is one signal
        if sent_at >= self._last_cut:
            self.limit = max(1.0, min(self.limit, self.in_flight) / 2)
            self._last_cut = now
            self._refused += 1
        # "again at once" is not believed for ever
        wait = max(1.0 if after_s is None else after_s,
                   _FIRST_PAUSE_S * 2 ** min(self._refused, 16))
        self._paused_until = max(self._paused_until, now + min(wait, LONGEST_WAIT_S))

    def paused_s(self) -> float:
        """How long no request goes out, as the provider asked, in seconds."""
        return max(0.0, self._paused_until - self.now())

    def _read(self, headers: Mapping[str, str]) -> None:
        """How many more requests the headers allow before they renew."""
        now = self.now()
        allowed = []
        for what, each in (("requests", 1.0), ("tokens", max(1.0, self._mean_tokens))):
            left = seconds(headers.get(f"x-ratelimit-remaining-{what}"))
            renew = seconds(headers.get(f"x-ratelimit-reset-{what}"), headers.get("date"))
            if left is not None and renew is not None:
                allowed.append((left / each, min(renew, LONGEST_WAIT_S)))
        left, renew = min(allowed, default=(0.0, -1.0))
        if left > self.ceiling:
            self._permits = None
        elif renew >= 0:
            # the quota refills little by little: one request only has to wait for its share
            share = renew / max(1.0, self.ceiling - left)
            self._permits, self._permits_until = left, now + min(renew, max(share, 0.01))

    def _may_start(self) -> bool:
        if self.in_flight >= int(self.limit) or self.now() < self._paused_until:
            return False
        if self._permits is not None and self.now() >= self._permits_until:
            self._permits = None
        return self._permits is None or self._permits >= 1

    def _wake(self) -> None:
        while self._waiting and self._may_start():
            turn = self._waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                self._permits = None if self._permits is None else self._permits - 1
                turn.set_result(None)
        if self._waiting and self.in_flight < int(self.limit) and self._timer is None:
            until = max(self._paused_until, 0.0 if self._permits is None else self._permits_until)
            delay = max(0.001, until - self.now())
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()
