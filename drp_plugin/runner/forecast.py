"""`--forecast`: a pilot, and the projected cost of the whole run.

The pilot takes as many rows from each of some strata of equal row counts, by length. Totals are its
figures per character of trace times all characters (the ratio estimator), with 95 % intervals from
the rows' deviations, stratum by stratum. The pilot's replies stay in the ledger."""

import math
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger_client import LedgerClient
from drp_plugin.llm.prices import Price
from drp_plugin.progress import Display, duration
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.resources import filled
from drp_plugin.runner.job import Job, attempt_row, in_order
from drp_plugin.statistics import Estimate, student_t, wilson


@dataclass
class Stratum:
    """Rows of about the same length."""

    rows: int
    length: int  # Characters of all its rows
    picked: list[int]
    results: list[tuple[int, Pruned | Reject]] = field(default_factory=list)
    """The pilot's rows: their characters, and what became of them."""


@dataclass(frozen=True)
class Forecast:
    """What the whole run is expected to take."""

    rows: int
    pilot: int
    seconds: float
    requests: Estimate
    prompt_tokens: Estimate | None
    completion_tokens: Estimate | None  # None if the server does not count tokens
    cost_usd: Estimate | None
    batch_cost_usd: Estimate | None
    yields: dict[str, Estimate]  # Shares of rows: `pruned`, or a reject's reason
    tokens_saved: float | None
    spent_usd: float
    price: Price | None
    failed: int = 0  # The pilot's rows whose requests failed: they count in `yields` only
    cut: int = 0  # Rows that the budget kept out of the pilot


def strata(lengths: list[int], pilot: int, *, seed: int = 0) -> list[Stratum]:
    """Cut rows into strata by length and pick the pilot's rows, by their numbers from 0."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    count = max(1, min(5, pilot // 4, len(order)))
    generator, cut = random.Random(seed), []
    for k in range(count):
        part = order[len(order) * k // count:len(order) * (k + 1) // count]
        want = pilot * (k + 1) // count - pilot * k // count
        cut.append(Stratum(len(part), sum(lengths[i] for i in part),
                           sorted(generator.sample(part, min(len(part), want)))))
    return cut


async def make_forecast(job: Job, client: LedgerClient, *, rows: int, active: int,
                        display: Display) -> Forecast:
    """Run the pilot and project it. Writes nothing but the ledger."""
    lengths = [len(row.response) if isinstance(row, Trace) else 0 for row in job.rows()]
    parts = strata(lengths, min(rows, len(lengths)))
    where = {number: part for part in parts for number in part.picked}
    begun = time.monotonic()
    waits: list[float] = []

    async def work(item: tuple[int, Trace | Reject]) -> tuple[int, Pruned | Reject | None]:
        row_begun = time.monotonic()
        _, result, _ = await attempt_row(item[1], job, client)
        if result is not None:
            waits.append(time.monotonic() - row_begun)
        return item[0], result

    chosen = ((n, row) for n, row in enumerate(job.rows()) if n in where)
    async for number, result in in_order(chosen, work, active=active):
        display.advance()
        if result is not None:
            where[number].results.append((lengths[number], result))
    seconds = 0.0
    if waits:
        seconds = (time.monotonic() - begun) / len(waits) * len(lengths)
        if client.asked:
            # a short pilot keeps fewer requests in flight than the run will: if it is less, the
            # rows' mean time divided by the run's width is the better estimate
            seconds = min(seconds, sum(waits) / len(waits) * len(lengths) / active + max(waits))
    _check_measured([r for p in parts for _, r in p.results], client)
    return project(parts, price=client.price, spent_usd=client.spent_usd, seconds=seconds,
                   counted=not client.uncounted)


def _check_measured(results: list[Pruned | Reject], client: LedgerClient) -> None:
    """Raises UserError if the pilot says nothing about the teacher's usage."""
    failed = [r for r in results if isinstance(r, Reject) and _failed(r)]
    if any(r.usage.requests for r in results if not _failed(r)) or client.teacher.asks_nothing:
        return
    budget = client.budget
    if failed:
        why = f"{len(failed)} of its {len(results)} rows failed, the first with: {failed[0].detail}"
        fix = "Mend that, then forecast again"
    elif budget is not None and budget.exhausted:
        why = (f"--max-cost {budget.limit_usd:g} leaves no room for a request, which can cost "
               f"${budget.refused_usd or 0.0:.4f} (${budget.spent_usd:.4f} is spent)")
        fix = "Give a higher --max-cost or a lower --max-tokens"
    else:
        fates = ", ".join(f"{name} {n}" for name, n in Counter(map(_fate, results)).most_common())
        why = f"none of its {len(results)} rows came as far as a request ({fates})"
        fix = "Give a larger --pilot, or other traces"
    raise UserError(f"the pilot measured nothing: {why}", fix=fix)


def project(parts: list[Stratum], *, price: Price | None, spent_usd: float = 0.0,
            seconds: float = 0.0, counted: bool = True) -> Forecast:
    """From the pilot's results to the whole; `counted` says whether all replies have usage."""
    rows = sum(p.rows for p in parts)
    results = [r for p in parts for _, r in p.results]
    # a row whose request failed has not cost what it will when it is asked again
    measured = [replace(p, results=[x for x in p.results if not _failed(x[1])]) for p in parts]

    def total(of: str) -> Estimate:
        return _ratio(measured, lambda r: float(getattr(r.usage, of)))

    cost = batch = None
    if price is not None and (counted or not price.paid):
        cost = _ratio(measured, lambda r: price.cost(r.usage))
        batch = Estimate(*(x * price.batch for x in (cost.value, cost.low, cost.high)))
    names = sorted({_fate(r) for r in results} | {"pruned"}, key=lambda n: (n != "pruned", n))
    pruned = [r for r in results if isinstance(r, Pruned)]
    before = sum(r.tokens_before for r in pruned)
    return Forecast(rows=rows, pilot=len(results), requests=total("requests"),
        prompt_tokens=total("prompt_tokens") if counted else None,
        completion_tokens=total("completion_tokens") if counted else None,
        cost_usd=cost, batch_cost_usd=batch, failed=sum(map(_failed, results)),
        cut=sum(len(p.picked) for p in parts) - len(results), seconds=seconds, price=price,
        spent_usd=spent_usd, yields={
            n: wilson(sum(_fate(r) == n for r in results), len(results)) for n in names},
        tokens_saved=1 - sum(r.tokens_after for r in pruned) / before if before else None)


def _fate(result: Pruned | Reject) -> str:
    return result.reason.value if isinstance(result, Reject) else "pruned"


def _failed(result: Pruned | Reject) -> bool:
    return _fate(result) in (Reason.REQUEST_FAILED, Reason.INTERNAL_ERROR)


def _ratio(parts: list[Stratum], figure: Callable[[Pruned | Reject], float]) -> Estimate:
    """The total of a figure over all rows, by the combined ratio estimator."""
    done = [p for p in parts if p.results]
    # one more character per row: an empty row costs something too
    weights = [p.rows / len(p.results) for p in done]
    x = sum(w * figure(r) for w, p in zip(weights, done, strict=True) for _, r in p.results)
    size = sum(w * (n + 1) for w, p in zip(weights, done, strict=True) for n, _ in p.results)
    rate = x / size if done else 0.0
    value = rate * sum(p.length + p.rows for p in parts)
    variance, freedom = 0.0, 0
    for part in done:
        rest = [figure(r) - rate * (n + 1) for n, r in part.results]
        n, mean = len(rest), sum(rest) / len(rest)
        if n > 1:
            spread = sum((e - mean) ** 2 for e in rest) / (n - 1)
            # rows of the pilot itself have no uncertainty
            variance += part.rows ** 2 * spread / n * max(0.0, 1 - n / part.rows)
            freedom += n - 1
    if done and not freedom and any(p.rows > len(p.results) for p in parts):
        return Estimate(value, 0.0, math.inf)  # one row says nothing about deviations
    half = student_t(max(1, freedom)) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - half), value + half)


def described(forecast: Forecast) -> str:
    return filled("forecast.txt.jinja", f=forecast, infinite=math.inf, duration=duration).rstrip()
