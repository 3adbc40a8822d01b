"""A run: its rows, the flow for one row, where results go; many rows at once, without batches."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import filterfalse, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.llm.ledger_client import LedgerClient, Pending, RowClient
from drp_plugin.llm.prices import OverBudget
from drp_plugin.progress import Display
from drp_plugin.reading.containers import files, is_address
from drp_plugin.records import Pruned, Reason, Reject, Trace
from drp_plugin.redact import redact
from drp_plugin.runner.outputs import Tally, outputs, prepare

T = TypeVar("T")
R = TypeVar("R")
Row = Trace | Reject  # A row of the input; an unusable one is a reject
Rows = Callable[[], Iterator[Row]]  # Reads the input anew: every row, unusable ones as rejects
Flow = Callable[[Trace, RowClient], Awaitable[Pruned | Reject]]  # All stages for one row


@dataclass(frozen=True)
class Job:
    """One run."""

    rows: Rows
    flow: Flow
    run_dir: Path
    settings: dict[str, Any]  # Everything that shapes the results; a resumed run must have the same
    total: int | None = None  # Number of rows; None if not known


@dataclass(frozen=True)
class RunOptions:
    """How a run is to be run, apart from what it computes."""

    anew: bool = False
    batch: bool = False
    poll_s: float = 30.0
    batch_size: int | None = None
    max_cost_usd: float | None = None
    pilot: int | None = None  # Only forecast, from this many rows


async def attempt_row(row: Row, job: Job, client: LedgerClient) \
        -> tuple[Row, Pruned | Reject | None, RowClient]:
    """A row, its result (None if not reached), its requests. A fault of ours rejects the row."""
    used = RowClient(client)
    try:
        return row, row if isinstance(row, Reject) else await job.flow(row, used), used
    except (OverBudget, Pending):
        return row, None, used
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError,
            TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {redact(str(error))[:300]}"
        return row, Reject(id=row.id, stage="flow", reason=Reason.INTERNAL_ERROR, usage=used.usage,
                           detail=f"a fault of this program, please report it: {said}",
                           row=row.model_dump(mode="json", exclude_none=True)), used


class Shard(NamedTuple):
    """One part of a run over several machines: part `place` (from 1) of `parts`."""

    place: int
    parts: int

    def __str__(self) -> str:
        return f"{self.place}/{self.parts}"


def part(rows: Iterable[R], limit: int | None, shard: Shard | None) -> Iterator[R]:
    """The first `limit` rows; of those, every `parts`-th from the `place`-th on. Places are those
    in the whole input: ids and duplicates are the same in every shard."""
    return islice(islice(rows, limit), *(shard.place - 1, None, shard.parts) if shard else (None,))


def said(paths: Sequence[str]) -> str | list[str]:
    """The input for the run's settings."""
    return paths[0] if len(paths) == 1 else list(paths)


def check_input(paths: Sequence[str]) -> None:
    """Raises UserError if there is no such file, before anything is made for the run."""
    for path in paths:
        found = files(path)[0]
        if path == "-" or is_address(path):
            continue
        if not Path(found).exists():
            raise UserError("no such file", file=path, fix="Check the path")
        jsonl.check_file(found)
        if Path(found).is_dir():
            raise UserError("is a folder, not a file of rows", file=path,
                            fix=f"Name its files by a pattern, as '{path}/*.jsonl'")
    if sum(not _rereadable(path) for path in paths) > 1:
        raise UserError("two of the inputs can be read only once", fix="Give one of them")


def _rereadable(path: str) -> bool:
    return path != "-" and (is_address(path) or Path(files(path)[0]).is_file())


def rereadable(paths: Sequence[str], run_dir: Path) -> list[str]:
    """The inputs' paths; one that can be read only once is copied into the run directory."""
    copy = run_dir / "stdin.jsonl"
    for path in filterfalse(_rereadable, paths):
        prepare(run_dir)
        # as bytes: a row that is not text is rejected and does not end the run
        with jsonl.opened(path) as given, jsonl.replacing(copy) as file, \
                open(file.fileno(), "wb", closefd=False) as raw:
            raw.writelines(jsonl.chunks(given, path))
    return [path if _rereadable(path) else str(copy) for path in paths]


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], *, active: int,
                   window: int | None = None) -> AsyncGenerator[R, None]:
    """Yield `work(item)` for each item, in their order; at most `active` at once, and at most
    `window` read and not yet yielded (memory; a slow one stops no other). An exception cancels the
    others, which may store an answer first, and is raised then."""
    source = ((item,) for item in items)
    queue: deque[asyncio.Task[R]] = deque()
    window = window or max(256, 8 * active)
    changed = asyncio.Event()
    running = 0
    failure: BaseException | None = None

    def done(task: asyncio.Task[R]) -> None:
        nonlocal running, failure
        running -= 1
        if not task.cancelled() and failure is None:
            failure = task.exception()
        changed.set()

    try:
        while True:
            while running < active and len(queue) < window and (following := next(source, None)):
                task = asyncio.ensure_future(work(*following))
                task.add_done_callback(done)
                running += 1
                queue.append(task)
            if not queue:
                return
            if queue[0].done():
                yield queue.popleft().result()
                continue
            changed.clear()
            await changed.wait()
            if failure is not None:
                raise failure  # without waiting for earlier rows: the run is over
    finally:
        for task in queue:
            task.cancel()
        await asyncio.gather(*queue, return_exceptions=True)


async def run_live(job: Job, client: LedgerClient, *, active: int, display: Display) -> Tally:
    """Run every row and write the run directory; returns its figures."""
    results = in_order(job.rows(), lambda row: attempt_row(row, job, client), active=active)
    with outputs(job.run_dir, client.ledger, job.settings) as written:
        async with contextlib.aclosing(results):
            async for row, result, used in results:
                written.add(row, result, used.replies)
                display.advance()
    return written


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, which cluster schedulers send, ends the block (in the main task) as Ctrl-C does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        task.cancel()

    try:
        loop.add_signal_handler(signal.SIGTERM, stop)
    except (NotImplementedError, RuntimeError, ValueError):  # signals go to the main thread only
        yield
        return
    try:
        yield
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
