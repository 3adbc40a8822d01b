"""A run that asks the teacher request by request."""

from __future__ import annotations

from drp_plugin.ledger import Ledger
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.runner.job import Job, run_row
from drp_plugin.runner.order import in_order
from drp_plugin.runner.outputs import outputs
from drp_plugin.runner.progress import Display
from drp_plugin.runner.tally import Tally
from drp_plugin.teacher.asking import Asker, Pending
from drp_plugin.teacher.budget import OverBudget


def window_for(active: int) -> int:
    """Rows that may wait for a slow one before them: enough that it does not stop the rest."""
    return max(256, 8 * active)


async def run_live(job: Job, asker: Asker, ledger: Ledger, *, active: int,
                   display: Display) -> Tally:
    """Run every row and write the run directory; returns its figures.

    A row that was stopped by the budget (or is pending, in replay) is counted as not reached.
    """
    async def work(row: Trace | Reject) -> Pruned | Reject | None:
        try:
            return await run_row(row, job.flow, asker)
        except (OverBudget, Pending):
            return None

    with outputs(job.run_dir, ledger, job.settings) as written:
        async for result in in_order(job.rows(), work, active=active,
                                     window=window_for(active)):
            written.add(result)
            display.advance()
    return written.tally
