"""A run that asks through the provider's batch API.

A row's flow runs against the ledger alone, and stops at a request without an answer (`Pending`).
These are sent as batches, and the rows run again, until none is pending.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import Entry, aside
from drp_plugin.llm.ledger_client import LedgerClient, RowClient, charge, to_value, usable
from drp_plugin.llm.messages import Reply, TeacherError
from drp_plugin.llm.remote import BatchApi, Limits, Refused
from drp_plugin.llm.retry import Transient, Unusable
from drp_plugin.progress import Display
from drp_plugin.records import Pruned, Reason, Reject
from drp_plugin.runner.batch_files import BatchFiles, Sent
from drp_plugin.runner.job import Job, Row, attempt_row, in_order
from drp_plugin.runner.outputs import Tally, outputs

ATTEMPTS = 3
_ACTIVE = 8
_CHUNK = 500


class _NotYet(Exception):
    """This pass left requests open: its outputs are not final."""


class BatchRun:
    """One run through a batch API."""

    def __init__(self, job: Job, client: LedgerClient, api: BatchApi, *,
                 display: Display, poll_s: float = 30.0, batch_size: int | None = None) -> None:
        self.job, self.client, self.ledger, self.api = job, client, client.ledger, api
        self.display, self.say, self.poll_s = display, display.say, poll_s
        size = min(api.limits.requests, batch_size or api.limits.requests)
        self.files = BatchFiles(job.run_dir, client.ledger, client.teacher.name,
                                Limits(size, api.limits.bytes))
        self._at_once: int | None = None  # Most batches out at once; None is no limit
        self._faults: Counter[str] = Counter()

    async def run(self) -> Tally:
        """Run to the end; returns the run's figures. Raises UserError."""
        with self._claimed():
            try:
                while True:
                    self.files.sweep()
                    await self._settle_open()
                    tally = await self._pass()
                    if tally is not None:
                        return tally
                    await self._submit()
            finally:
                self.files.sweep()

    async def collect(self, *, leave: bool) -> None:
        """For a run without batches: store the answers of open ones. One that still runs stops the
        run (UserError), unless `leave` gives it up."""
        if not self.files.open():
            return
        with self._claimed():
            for sent in self.files.open() if leave else ():
                self.say(f"batch {sent.id or sent.label} is given up: its unanswered requests are "
                         "sent again")
            try:
                await self._settle_open(wait=False, leave=leave)
            except (UserError, TeacherError) as error:
                if not leave:
                    raise
                self.say(f"the batches' results cannot be fetched: {error}")
                for sent in self.files.open():
                    self.files.forget(sent)
        if self.files.open():
            raise UserError("requests of this run are out in batches", file=self.job.run_dir,
                            fix="Run it with --batch to wait for them, so that none is paid "
                                "twice; or add --anew to give them up")

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[None]:
        if not self.ledger.claim("batch-runner"):
            raise UserError(f"{self.ledger.holder('batch-runner')} runs the batches of this run",
                            file=self.job.run_dir, fix="Let it finish, or stop it first")
        try:
            yield
        except TeacherError as error:
            raise UserError(f"the batch API of {self.client.teacher.name} fails: {error}",
                            fix="Run the same command again to resume") from None
        finally:
            self.ledger.release("batch-runner")

    async def _pass(self) -> Tally | None:
        """Replay all rows; write the outputs, or collect the requests that are pending."""
        budget, collected = self.client.budget, set[str]()
        if budget is not None:
            budget.reserved_usd, budget.exhausted, budget.refused_usd = 0.0, False, None
        self.client.pending.clear()

        async def work(row: Row) -> tuple[Row, Pruned | Reject | None, RowClient]:
            done = await attempt_row(row, self.job, self.client)
            # a flow may leave several of them
            for key, request in self.client.pending.items():
                if key not in collected and (budget is None or budget.afford(request)):
                    collected.add(key)
                    self.files.add(self.api.line(key, request))
            self.client.pending.clear()
            return done

        with contextlib.suppress(_NotYet), \
                outputs(self.job.run_dir, self.ledger, self.job.settings) as written:
            self.display.done = 0
            async for row, result, used in in_order(self.job.rows(), work, active=_ACTIVE):
                written.add(row, result, used.replies)
                if result is not None:
                    self.display.advance()
            if collected:
                raise _NotYet
            return written
        return None

    async def _submit(self) -> None:
        try:
            for sent in self.files.collected()[:self._at_once]:
                await self._begin(sent)
        except Refused as error:
            if self.files.open():
                self.say(f"{error}. Waiting for the batches sent before")
                await self._settle_open()
            raise

    async def _begin(self, sent: Sent) -> None:
        try:
            uploaded = await self.api.upload(self.files.input(sent), sent.label)
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

    async def _settle_open(self, *, wait: bool = True, leave: bool = False) -> None:
        """Store the answers of every open batch, waiting for those that still run. Raises UserError
        if the provider refused one, after the others are stored."""
        waiting, refused, wait_s = await self._found(), list[str](), min(1.0, self.poll_s)
        while waiting:
            still, done = [], 0
            for sent in waiting:
                status = await self.api.status(str(sent.id))
                done += status.done
                if status.state == "running" and not leave:
                    still.append(sent)
                elif status.state == "ended":
                    await self._harvest(sent, status.detail)
                else:
                    self.files.forget(sent)
                    if status.state == "too_large" and sent.size > 1:
                        self._shrink(sent.size)
                    elif status.state == "gone":
                        self.say(f"batch {sent.id}: {status.detail}; its requests are sent again")
                    elif status.state != "running":
                        refused.append(f"batch {sent.id} was refused: {status.detail}")
                        if len(waiting) > 1:
                            self.say(f"{refused[-1]}; waiting for the others")
            if not wait:
                return
            if still:
                total = sum(s.size for s in still)
                self.display.note(f"{len(still)} batches out, {done}/{total} requests done")
                await asyncio.sleep(wait_s)
                wait_s = min(self.poll_s, wait_s * 2)
            waiting = still
        if refused:
            raise UserError(refused[0], file=self.job.run_dir,
                            fix="Run without --batch, or correct the request")

    async def _found(self) -> list[Sent]:
        """The open batches, including those noted without an id, if the provider has them."""
        waiting = []
        for sent in self.files.open():
            if sent.id is None:  # the process died while submitting: did the provider receive it?
                sent = sent._replace(id=await self.api.find(sent.label))
                if sent.id is None:
                    self.files.forget(sent)
                    continue
                self.files.note(sent)
                self.say(f"found batch {sent.id} again")
            waiting.append(sent)
        return waiting

    def _shrink(self, size: int) -> None:
        """The account may not queue so many tokens: send less at a time."""
        self.files.limits = Limits(max(1, size // 2), self.files.limits.bytes)
        self._at_once = 1
        self.say(f"the account's batch queue is full: going on with {self.files.limits.requests} "
                 "requests at a time")

    async def _harvest(self, sent: Sent, how: str) -> None:
        """Store a batch's answers; what was not answered is pending again. Raises Unusable, after
        that, where a request's error is the account's or the run's."""
        answered, faults, entries = 0, list[tuple[str, Exception]](), list[Entry]()
        most, budget, asked = 0.0, self.client.budget, self.files.input(sent)
        if budget is not None and asked.exists():  # a line's mean size, from its file
            most = budget.at_most(asked.stat().st_size // max(1, sent.size)) * budget.price.batch
        left = set(self.files.keys(sent))
        lost = not left  # the input file is gone: every answer counts as ours
        # already stored by a process that died: charged and counted once
        before = set(self.ledger.get_many([*left, *(aside(k, sent.label) for k in left)]))
        for file in await self.api.fetch(str(sent.id), self.files.folder):
            for key, result in self.api.results(file):
                known = (key in left or lost) and key not in before  # else not ours, or a duplicate
                left.discard(key)
                if not known:
                    continue
                if not isinstance(result, Reply):
                    faults.append((key, result))
                    continue
                value = to_value(result, self.client.price, batch=True)
                name = key if usable(value) else aside(key, sent.label)
                if name != key:
                    faults.append((key, TeacherError("an empty reply", Reason.EMPTY_REPLY)))
                if name not in before:
                    if budget is not None:
                        budget.spent_usd += charge(value, most)
                    entries.append(Entry(name, value, "batch", value.get("cost_usd")))
                    self.client.count(value)
                answered += usable(value)
                if len(entries) >= _CHUNK:
                    self.ledger.put(*entries)
                    entries = []
        self.ledger.put(*entries)
        faults += [(key, Transient(f"not answered (the batch {how})")) for key in left - before]
        self.files.forget(sent)
        self.say(f"batch {sent.id} {how}: {answered} answered"
                 + (f", {len(faults)} not" if faults else ""))
        for key, fault in faults:
            self._blame(key, fault)

    def _blame(self, key: str, fault: Exception) -> None:
        """The fault behind a request that a batch did not answer."""
        if isinstance(fault, Unusable):
            raise fault
        last = isinstance(fault, TeacherError) and fault.reason is not Reason.EMPTY_REPLY
        self._faults[key] += 1
        if last or self._faults[key] >= ATTEMPTS:
            self.client.failed[key] = fault if isinstance(fault, TeacherError) \
                else TeacherError(str(fault))
