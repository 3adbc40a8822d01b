"""A run that asks the teacher request by request."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from drp_plugin.llm.budget import OverBudget
from drp_plugin.llm.ledger import Ledger
from drp_plugin.llm.ledger_client import LedgerClient, Pending, RowClient
from drp_plugin.progress import Display
from drp_plugin.records import Pruned, Reject
from drp_plugin.runner.job import Job, Row, run_row
from drp_plugin.runner.order import in_order
from drp_plugin.runner.outputs import outputs
from drp_plugin.runner.tally import Tally


def window_for(active: int) -> int:
    """Rows that may wait for a slow one before them: enough that it does not stop the rest."""
    return max(256, 8 * active)


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
    results = in_order(job.rows(), lambda row: attempt_row(row, job, client), active=active,
                       window=window_for(active))
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
