"""Many rows at once, in the order of the input, and the run that asks request by request."""

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient, Pending, RowClient
from drp_plugin.llm.prices import OverBudget
from drp_plugin.progress import Display
from drp_plugin.records import Pruned, Reject
from drp_plugin.runner.job import Job, Row, run_row
from drp_plugin.runner.outputs import Tally, outputs

T = TypeVar("T")
R = TypeVar("R")


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], *, active: int,
                   window: int | None = None) -> AsyncGenerator[R, None]:
    """Yield `work(item)` for each item, in their order.

    At most `active` items are worked on at once, and at most `window` are read and not yet
    yielded, which bounds the memory: enough that a slow one does not stop the rest. An exception
    of any work ends it all and is raised once the others, which are cancelled and may have an
    answer to store first, have come to an end.
    """
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
                raise failure  # without waiting for the rows before it: the run is over
    finally:
        for task in queue:
            task.cancel()
        await asyncio.gather(*queue, return_exceptions=True)


async def attempt_row(row: Row, job: Job, client: LedgerClient) \
        -> tuple[Row, Pruned | Reject | None, RowClient]:
    """A row, its result (None where it is not reached), and what it asked."""
    used = RowClient(client)
    try:
        return row, await run_row(row, job.flow, used), used
    except (OverBudget, Pending):
        return row, None, used


async def run_live(job: Job, client: LedgerClient, ledger: Ledger, *, active: int,
                   display: Display) -> Tally:
    """Run every row and write the run directory; returns its figures."""
    results = in_order(job.rows(), lambda row: attempt_row(row, job, client), active=active)
    with outputs(job.run_dir, ledger, job.settings) as written:
        async with contextlib.aclosing(results):
            async for row, result, used in results:
                written.add(row, result, used.replies)
                display.advance()
    return written.tally


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, which cluster schedulers send, ends what runs in the block (in the main task) as
    Ctrl-C does."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    told = False

    def stop() -> None:
        nonlocal told
        told = True
        task.cancel()

    try:
        loop.add_signal_handler(signal.SIGTERM, stop)
    except (NotImplementedError, RuntimeError, ValueError):  # signals go to the main thread alone
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
