"""What is run: rows, a flow for one row, where its results go, and how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.redact import redact

Row = Trace | Reject  # A row of the input; one that cannot be used is a reject
Rows = Callable[[], Iterator[Row]]
"""Reads the input anew each time it is called: every row, unusable ones as rejects."""
Flow = Callable[[Trace, RowClient], Awaitable[Pruned | Reject]]
"""All stages for one row. With equal replies it gives equal results."""


@dataclass(frozen=True)
class Job:
    """One run."""

    rows: Rows
    flow: Flow
    run_dir: Path
    settings: dict[str, Any]  # Everything that shapes the results; a resumed run must have the same
    total: int | None = None  # How many rows there are; None where it is not known


@dataclass(frozen=True)
class RunOptions:
    """How a run is to be run, apart from what it computes."""

    anew: bool = False
    batch: bool = False
    poll_s: float = 30.0
    batch_size: int | None = None
    max_cost_usd: float | None = None
    pilot: int | None = None  # Only forecast, from this many rows


async def run_row(row: Row, flow: Flow, client: RowClient) -> Pruned | Reject:
    """A row's result. A fault of our own code rejects the row, and does not end the run."""
    if isinstance(row, Reject):
        return row
    try:
        return await flow(row, client)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError,
            TypeError, ValueError) as error:
        return Reject(id=row.id, stage="flow", reason=Reason.INTERNAL_ERROR,
                      detail=f"a fault of this program, please report it: "
                             f"{type(error).__name__}: {redact(str(error))[:300]}",
                      row=row.model_dump(mode="json", exclude_none=True), usage=client.usage)


def check_input(path: str) -> None:
    """Raises UserError where there is no such file, before anything is made for the run."""
    if path != "-" and not Path(path).exists():
        raise UserError("no such file", file=path, fix="Check the path")
    if Path(path).is_dir():
        raise UserError("is a folder, not a file of rows", file=path)


def rereadable(path: str, run_dir: Path) -> str:
    """The input's path; what can be read once only is copied into the run directory first."""
    if path != "-" and Path(path).is_file():
        return path
    copy = run_dir / "stdin.jsonl"
    # its bytes: a row that is no text is a row to be rejected, not the end of all
    with jsonl.opened(path) as given, jsonl.replacing(copy, private=True) as file, \
            open(file.fileno(), "wb", closefd=False) as raw:
        raw.writelines(jsonl.chunks(given, path))
    return str(copy)
