"""A run that asks through the provider's batch API.

A row's flow is run against the ledger alone. At its first request without an answer it stops
(`Pending`); the requests so found in all rows go out as batches, their answers come back into
the ledger, and the rows are run again, until none is pending. So the flow is written once, live
and batch answer for each other, and a restart goes on from what the ledger holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drp_plugin.errors import UserError
from drp_plugin.llm.batch_api import BatchApi, Fault, Limits, Refused
from drp_plugin.llm.budget import OverBudget
from drp_plugin.llm.ledger import Entry, Ledger
from drp_plugin.llm.ledger_client import LedgerClient, Pending, RowClient, charge, to_value
from drp_plugin.llm.messages import Reply, TeacherError
from drp_plugin.progress import Display
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.runner.batch_files import BatchFiles, Sent
from drp_plugin.runner.job import Job, run_row
from drp_plugin.runner.live import window_for
from drp_plugin.runner.order import in_order
from drp_plugin.runner.outputs import outputs
from drp_plugin.runner.tally import Tally

ATTEMPTS = 3
_ACTIVE = 8
_CHUNK = 500


class _NotYet(Exception):
    """This pass left requests open: its outputs are not final."""


class BatchRun:
    """One run through a batch API."""

    def __init__(self, job: Job, client: LedgerClient, ledger: Ledger, api: BatchApi, *,
                 display: Display, poll_s: float = 30.0, batch_size: int | None = None,
                 say: Callable[[str], None] | None = None) -> None:
        self.job, self.client, self.ledger, self.api = job, client, ledger, api
        self.display, self.poll_s = display, poll_s
        self.say = say or display.say
        size = min(api.limits.requests, batch_size or api.limits.requests)
        self.limits = Limits(size, api.limits.bytes)
        self.files = BatchFiles(job.run_dir, ledger)
        self._faults: dict[str, int] = {}

    async def run(self) -> Tally:
        """Run to the end; returns the run's figures. Raises UserError."""
        if not self.ledger.claim("batch-runner"):
            raise UserError("another process runs the batches of this run", file=self.job.run_dir,
                            fix="Let it finish, or stop it first")
        try:
            self.files.sweep()
            while True:
                await self._settle_open()
                try:
                    return await self._pass()
                except _NotYet:
                    await self._submit()
        except TeacherError as error:
            raise UserError(f"the batch API of {self.client.teacher.name} fails: {error}",
                            fix="Run the same command again to go on") from None
        finally:
            self.ledger.release("batch-runner")

    # -- running the rows against the ledger ----------------------------------------------

    async def _pass(self) -> Tally:
        """Replay all rows; write the outputs if nothing is pending, else raise _NotYet."""
        budget = self.client.budget
        if budget is not None:
            budget.reserved_usd = 0.0
            budget.exhausted, budget.refused_usd = False, None
        self.client.pending.clear()
        with self.files.collecting(self.limits, self.api.line) as collect:
            def take(pending: Pending) -> None:
                if pending.key in collect.keys:
                    return
                if budget is not None and not budget.afford(pending.request):
                    return
                collect.add(pending.key, pending.request)

            async def work(row: Trace | Reject) -> tuple[Pruned | Reject | None, RowClient]:
                row_client = RowClient(self.client)
                try:
                    return await run_row(row, self.job.flow, row_client), row_client
                except (Pending, OverBudget):
                    # a flow that asks several things at once leaves several of them
                    for key, request in list(self.client.pending.items()):
                        take(Pending(key, request))
                    self.client.pending.clear()
                    return None, row_client

            try:
                with outputs(self.job.run_dir, self.ledger, self.job.settings) as written:
                    self.display.done = 0
                    async for result, used in in_order(self.job.rows(), work, active=_ACTIVE,
                                                        window=window_for(_ACTIVE)):
                        written.add(result, used.replies)
                        if result is not None:
                            self.display.advance()
                    if collect.keys:
                        raise _NotYet
            except _NotYet:
                collect.keep = True
                raise
        return written.tally

    # -- batches ---------------------------------------------------------------------------

    async def _submit(self) -> None:
        try:
            for sent in self.files.ready():
                await self._begin(sent)
        except Refused as error:
            if self.files.open():
                self.say(f"{error}. Batches are out before that: they are waited for")
                await self._settle_open()
            raise
        finally:
            self.files.sweep()

    async def _begin(self, sent: Sent) -> None:
        try:
            uploaded = await self.api.upload(sent.file, sent.label)
        except TeacherError as error:
            raise Refused(f"{self.client.teacher.name} does not take a batch's file: {error}",
                          fix="Run without --batch, or try again later") from None
        self.files.note(sent)  # before anything can cost money
        try:
            batch_id = await self.api.create(uploaded, sent.label)
        except Refused:
            self.files.forget(sent)
            raise
        self.files.note(sent._replace(id=batch_id))
        self.say(f"submitted a batch of {sent.size} requests ({batch_id})")

    async def _settle_open(self) -> None:
        """Wait for every batch that is out and store its answers.

        Raises UserError where the provider refused one, but not before the others are in: what
        is out would keep a run without --batch from going on.
        """
        waiting, refused = [], []
        for sent in self.files.open():
            if sent.id is None:
                # the process died while submitting: did the provider get it?
                found = await self.api.find(sent.label)
                if found is None:
                    self.files.forget(sent)
                    continue
                sent = sent._replace(id=found)
                self.files.note(sent)
                self.say(f"found batch {found} again")
            waiting.append(sent)
        wait_s = min(1.0, self.poll_s)
        while waiting:
            still, done = [], 0
            for sent in waiting:
                assert sent.id is not None
                status = await self.api.status(sent.id)
                done += status.done
                if status.state == "running":
                    still.append(sent)
                elif status.state == "ended":
                    await self._harvest(sent, status.detail)
                elif status.state == "too_large" and sent.size > 1:
                    self._shrink(sent)
                else:
                    self.files.forget(sent)
                    refused.append(f"batch {sent.id} was refused: {status.detail}")
                    if len(waiting) > 1:
                        self.say(f"{refused[-1]}; the others are waited for")
            if still:
                total = sum(s.size for s in still)
                self.display.note(f"{len(still)} batches out, {done}/{total} requests done")
                await asyncio.sleep(wait_s)
                wait_s = min(self.poll_s, wait_s * 2)
            waiting = still
        if refused:
            raise UserError(refused[0], file=self.job.run_dir,
                            fix="Run without --batch, or mend it")

    def _shrink(self, sent: Sent) -> None:
        """The account may not queue as many tokens: ask for less at a time."""
        self.files.forget(sent)
        self.limits = Limits(max(1, sent.size // 2), self.limits.bytes)
        self.files.at_once = 1
        self.say(f"the account's batch queue is full: going on with {self.limits.requests} "
                 f"requests at a time")

    async def _harvest(self, sent: Sent, how: str) -> None:
        """Store a batch's answers; what was not answered is pending again."""
        assert sent.id is not None
        answered, faults = 0, []
        most = self._most(sent)
        entries: list[Entry] = []
        left = set(self.files.keys(sent))
        for file in await self.api.fetch(sent.id, self.files.folder):
            for key, result in self.api.results(file):
                if key not in left:
                    continue  # not ours, or twice
                left.discard(key)
                if isinstance(result, Reply):
                    value = to_value(result, self.client.price, batch=True)
                    if self.client.budget is not None:
                        self.client.budget.spent_usd += charge(value, most)
                    entries.append(Entry(key, value, "batch", value.get("cost_usd")))
                    self.client.count(result, value)
                    answered += 1
                else:
                    faults.append((key, result))
                if len(entries) >= _CHUNK:
                    self.ledger.put_many(entries)
                    entries = []
        self.ledger.put_many(entries)
        faults += [(key, Fault(f"not answered (the batch {how})", False)) for key in left]
        for key, fault in faults:
            self._faults[key] = self._faults.get(key, 0) + (ATTEMPTS if fault.final else 1)
            if self._faults[key] >= ATTEMPTS:
                self.client.failed[key] = fault.text
        self.files.forget(sent)
        self.say(f"batch {sent.id} {how}: {answered} answered"
                 + (f", {len(faults)} not" if faults else ""))

    def _most(self, sent: Sent) -> float:
        """The most that one request of a batch can have cost: their lines' mean is its size."""
        budget = self.client.budget
        return 0.0 if budget is None else (
            budget.at_most(sent.file.stat().st_size // max(1, sent.size)) * budget.price.batch)
