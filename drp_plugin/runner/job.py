"""What is run: rows, a flow for one row, where its results go, and how."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.reading.places import files, is_address
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.redact import redact

R = TypeVar("R")
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


class Shard(NamedTuple):
    """One part of a run over several machines: of so many `parts`, that at this `place`, from 1."""

    place: int
    parts: int

    def __str__(self) -> str:
        return f"{self.place}/{self.parts}"


def part(rows: Iterable[R], limit: int | None, shard: Shard | None) -> Iterator[R]:
    """The first `limit` rows; of those, every `parts`-th from the `place`-th on. It goes by the
    rows' places in the whole input: ids and duplicates are the same in every shard."""
    return islice(islice(rows, limit), *(shard.place - 1, None, shard.parts) if shard else (None,))


def said(paths: Sequence[str]) -> str | list[str]:
    """The input for the run's settings."""
    return paths[0] if len(paths) == 1 else list(paths)


def check_input(paths: Sequence[str]) -> None:
    """Raises UserError where there is no such file, before anything is made for the run."""
    for path in paths:
        found = files(path)[0]
        if path == "-" or is_address(path):
            continue
        if not Path(found).exists():
            raise UserError("no such file", file=path, fix="Check the path")
        if Path(found).is_dir():
            raise UserError("is a folder, not a file of rows", file=path,
                            fix=f"Name its files by a pattern, as '{path}/*.jsonl'")
    if sum(not _rereadable(path) for path in paths) > 1:
        raise UserError("two of the inputs can be read once only", fix="Give one of them")


def _rereadable(path: str) -> bool:
    return path != "-" and (is_address(path) or Path(files(path)[0]).is_file())


def rereadable(paths: Sequence[str], run_dir: Path) -> list[str]:
    """The inputs' paths; what can be read once only is copied into the run directory first."""
    return [path if _rereadable(path) else _copied(path, run_dir) for path in paths]


def _copied(path: str, run_dir: Path) -> str:
    copy = run_dir / "stdin.jsonl"
    # its bytes: a row that is no text is a row to be rejected, not the end of all
    with jsonl.opened(path) as given, jsonl.replacing(copy, private=True) as file, \
            open(file.fileno(), "wb", closefd=False) as raw:
        raw.writelines(jsonl.chunks(given, path))
    return str(copy)
