"""One command's run, from its settings to the last line on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from drp_plugin.ledger import Ledger
from drp_plugin.runner.job import Job
from drp_plugin.runner.live import run_live
from drp_plugin.runner.outputs import LEDGER
from drp_plugin.runner.progress import Display
from drp_plugin.runner.settings import settle
from drp_plugin.runner.tally import Tally
from drp_plugin.teacher.asking import Asker
from drp_plugin.teacher.base import Teacher

if TYPE_CHECKING:
    from drp_plugin.cli._teacher import TeacherSettings


def say(text: str) -> None:
    """One line of status on stderr."""
    print(f"drp: {text}", file=sys.stderr, flush=True)


async def run_session(job: Job, teacher: Teacher, settings: TeacherSettings, *,
                      anew: bool = False) -> Tally:
    """Run a job to its end; returns its figures. Raises UserError."""
    changes = settle(job.run_dir, job.settings, anew=anew)
    if changes:
        say(f"{job.run_dir}: going on with changed settings: {'; '.join(changes)}")
    price = settings.find_price(teacher.name)
    with Ledger(job.run_dir / LEDGER) as ledger:
        asker = Asker(teacher, ledger, price=price)
        try:
            with Display(str(job.settings["command"]), job.total,
                         status=lambda: _status(asker)) as display:
                tally = await run_live(job, asker, ledger, active=settings.concurrency,
                                       display=display)
        finally:
            close = getattr(teacher, "close", None)
            if close is not None:
                await close()
    report(job, tally)
    return tally


def _status(asker: Asker) -> str:
    parts = [f"{asker.asked} asked"]
    if asker.found:
        parts.append(f"{asker.found} from the ledger")
    if asker.price is not None and asker.spent_usd:
        parts.append(f"${asker.spent_usd:.2f}")
    limiter = getattr(getattr(asker.teacher, "persistent", None), "limiter", None)
    if limiter is not None:
        parts.append(f"{limiter.in_flight} in flight")
    return ", ".join(parts)


def report(job: Job, tally: Tally) -> None:
    """The run's last words. Raises RuntimeError when a row was lost, which must never be."""
    say(f"{job.run_dir}: {tally.line()}")
    if not tally.balanced:
        raise RuntimeError(f"{tally.rows} rows came in, but {tally.pruned} pruned and "
                           f"{tally.rejected} rejected came out: please report it")
    if tally.reasons.get("internal_error"):
        say(f"{tally.reasons['internal_error']} rows met a fault of this program: "
            f"please report what rejects.jsonl says of them")
    if tally.reasons.get("request_failed"):
        say("run the same command again to ask what failed once more")
