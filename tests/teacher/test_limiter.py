"""Adaptive concurrency, with a clock of our own."""

from __future__ import annotations

import asyncio

import pytest

from drp_plugin.llm.limiter import Limiter, seconds


@pytest.mark.parametrize(("text", "value"), [
    ("20ms", 0.02), ("1s", 1.0), ("1m30s", 90.0), ("6m0s", 360.0), ("2h", 7200.0), ("12", 12.0),
    ("0.5", 0.5), ("-3", 0.0), ("34.07s", 34.07), ("", None), (None, None), ("soon", None),
])
def test_durations(text, value):
    assert seconds(text) == (value if value is None else pytest.approx(value))


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def started(limiter: Limiter) -> bool:
    """Whether a request may start at once."""
    async def main() -> bool:
        try:
            await asyncio.wait_for(limiter.acquire(), 0.01)
        except TimeoutError:
            return False
        return True

    return asyncio.run(main())


def test_it_grows_to_the_ceiling_and_no_further():
    limiter = Limiter(10, start=2)
    assert started(limiter) and started(limiter) and not started(limiter)
    for _ in range(30):
        limiter.answered()
    assert limiter.limit == 10


def test_a_429_halves_once_for_requests_that_were_out_together():
    clock = Clock()
    limiter = Limiter(16, start=16, clock=clock)
    sent = [clock.now for _ in range(16) if started(limiter)]
    clock.now += 1
    for at in sent:
        limiter.throttled(0.5, at)
    assert limiter.limit == 8
    assert not started(limiter), "nothing starts before the wait is over"
    for _ in range(16):
        limiter.in_flight -= 1
    clock.now += 0.6
    assert started(limiter)
    limiter.throttled(None, clock.now)
    assert limiter.limit < 8


def test_growth_is_slow_after_a_429():
    clock = Clock()
    limiter = Limiter(100, start=20, clock=clock)
    limiter.in_flight = 20
    limiter.throttled(0.0, clock.now)
    for _ in range(10):
        limiter.answered()
    assert 10 < limiter.limit <= 11, "one more for a round of answers, not for each"


def test_headers_hold_back_until_they_renew():
    clock = Clock()
    limiter = Limiter(8, start=8, clock=clock)
    limiter.answered({"x-ratelimit-remaining-requests": "2", "x-ratelimit-reset-requests": "6s"})
    assert started(limiter) and started(limiter) and not started(limiter)
    clock.now += 10
    assert started(limiter)


def test_remaining_tokens_count_by_the_mean_request():
    clock = Clock()
    limiter = Limiter(8, start=8, clock=clock)
    headers = {"x-ratelimit-remaining-requests": "5000", "x-ratelimit-reset-requests": "1ms",
               "x-ratelimit-remaining-tokens": "3500", "x-ratelimit-reset-tokens": "8s"}
    limiter.answered(headers, tokens=1000)
    assert [started(limiter) for _ in range(5)] == [True, True, True, False, False]


def test_waiters_go_in_turn_and_a_cancelled_one_costs_no_place():
    async def main() -> list[int]:
        limiter, order = Limiter(1, start=1), []

        async def one(n: int) -> None:
            await limiter.acquire()
            order.append(n)
            await asyncio.sleep(0)
            limiter.release()

        await limiter.acquire()
        tasks = [asyncio.create_task(one(n)) for n in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        limiter.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.in_flight == 0
        return order

    assert asyncio.run(main()) == [0, 2, 3]
