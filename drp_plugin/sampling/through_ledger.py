"""Sampling through a ledger: what is stored is never drawn again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.sampling.completions import (
    Completion,
    Failed,
    Outcome,
    Sampler,
    SampleRequest,
    ledger_key,
)

Report = Callable[[int, Outcome], None]
"""Called with a request's index and its outcome, stored ones first."""


def complete(sampler: Sampler, requests: Sequence[SampleRequest], *, ledger: Ledger | None = None,
             report: Report | None = None) -> list[Outcome]:
    """An outcome for every request, in order.

    Stored completions are taken from the ledger; every other one is stored, durably, as soon as
    it is finished, before anything uses it. Equal requests are drawn once. Failed requests are
    not stored, so that the next run tries them again.
    """
    keys = [ledger_key(sampler.identity, request) for request in requests]
    places: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        places.setdefault(key, []).append(index)
    outcomes: list[Outcome | None] = [None] * len(requests)

    def settle(key: str, outcome: Outcome) -> None:
        for index in places[key]:
            outcomes[index] = outcome
            if report is not None:
                report(index, outcome)

    known = ledger.get_many(places) if ledger is not None else {}
    for key, value in known.items():
        settle(key, Completion.model_validate(value))
    wanted = [key for key in places if key not in known]
    todo = [requests[places[key][0]] for key in wanted]
    for index, outcome in (sampler.sample(todo) if todo else ()):
        key = wanted[index]
        if ledger is not None and isinstance(outcome, Completion):
            ledger.put_many([Entry(key, outcome.model_dump(mode="json"), "completion")])
        settle(key, outcome)
    return [o if o is not None else Failed(error="the engine gave no completion") for o in outcomes]
