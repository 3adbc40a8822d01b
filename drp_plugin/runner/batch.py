"""A run that asks through the provider's batch API.

A row's flow runs against the ledger alone, and stops at a request without an answer (`Pending`).
These are sent as batches, and the rows run again, until none is pending."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from drp_plugin.errors import UserError
from drp_plugin.llm.ledger import aside
from drp_plugin.llm.ledger_client import LedgerClient, RowClient, to_value, usable
from drp_plugin.llm.messages import Reply, TeacherError
from drp_plugin.llm.remote import BatchApi, Limits, Refused, Status
from drp_plugin.llm.retry import SILENT_ATTEMPTS, Transient, Unusable
from drp_plugin.progress import Display
from drp_plugin.records import Pruned, Reason, Reject
from drp_plugin.resources import phrase
from drp_plugin.runner.batch_files import RUNNER, BatchFiles, Sent, hold
from drp_plugin.runner.job import Job, Row, attempt_row, in_order
from drp_plugin.runner.outputs import Tally, outputs

ATTEMPTS = 3
_ACTIVE = 8
UNKNOWN = ".unknown"  # The end of the name of a file with answers to unknown requests


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
        """Without batches: store answers of open ones. One that runs stops the run, or is left."""
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
        hold(self.ledger, self.job.run_dir)
        try:
            yield
        except TeacherError as error:
            raise UserError(f"the batch API of {self.client.teacher.name} fails: {error}",
                            fix="Run the same command again to resume; without --batch and with "
                                "--anew it gives the batches up") from None
        finally:
            self.ledger.release(RUNNER)

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
        for file in self.files.folder.glob(f"*{UNKNOWN}"):
            raise UserError("a batch was answered under other ids than were sent", file=file,
                            fix="Run it without --batch, or remove the file to send a batch again")
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
                fix="Give a lower --batch-size, run without --batch, or try again later") from None
        self.files.note(sent)  # before anything can cost money
        try:
            batch_id = await self.api.create(uploaded, sent.label)
        except Refused:
            self.files.forget(sent)
            raise
        self.files.note(sent._replace(id=batch_id))
        self.say(f"submitted a batch of {phrase('requests', sent.size)} ({batch_id})")

    async def _settle_open(self, *, wait: bool = True, leave: bool = False) -> None:
        """Store the answers of every open batch, waiting for those that still run. Raises UserError
        if the provider refused one, after the others are stored."""
        waiting, refused, wait_s = await self._found(), list[UserError](), min(1.0, self.poll_s)
        seen = time.monotonic()
        while waiting:
            still, done, states = [], 0, set[str]()
            for sent in waiting:
                try:
                    status, seen = await self.api.status(str(sent.id)), time.monotonic()
                except TeacherError as error:  # while it cannot be had, the batch goes on
                    if not wait or time.monotonic() - seen > self.api.patience_s:
                        raise
                    status = Status("running", 0, f"its state cannot be had: {error}")
                done += status.done
                if status.state == "running" and not leave:
                    still.append(sent)
                    states.add(status.detail)
                elif end := await self._settle(sent, status):
                    refused.append(end)
                    if len(waiting) > 1:
                        self.say(f"{end}. Waiting for the others")
            if not wait:
                for end in refused:
                    if isinstance(end, Unusable):  # live requests need not fail so
                        self.say(str(end))
                return
            if still:
                total = sum(s.size for s in still)
                self.display.note(f"{phrase('batches', len(still))} ({', '.join(sorted(states))}), "
                                  f"{done}/{total} requests done")
                await asyncio.sleep(wait_s)
                wait_s = min(self.poll_s, wait_s * 2)
            waiting = still
        if refused:
            raise refused[0]

    async def _settle(self, sent: Sent, status: Status) -> UserError | None:
        """Store the answers of a batch that ended, or forget it; returns why the run must end."""
        if status.state == "ended":
            try:
                await self._harvest(sent, status.detail)
            except Unusable as error:
                return error
        else:
            self.files.forget(sent)
        if status.state == "too_large" and sent.size > 1:
            self._shrink(sent.size)
            return None
        if status.state == "gone":
            self.say(f"batch {sent.id}: {status.detail}; its requests are sent again")
        return UserError(f"batch {sent.id} {status.stops}", file=self.job.run_dir) \
            if status.stops else None

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
        self.say(f"the account's batch queue is full: going on with "
                 f"{phrase('requests', self.files.limits.requests)} at a time")

    async def _harvest(self, sent: Sent, how: str) -> None:
        """Store a batch's answers; what was not answered is pending again. Raises Unusable, after
        that, where a request's error is the account's or the run's."""
        answered, faults = 0, dict[str, Exception]()
        strange = Counter[Path]()  # Answers under ids that were not sent
        most, budget, asked = 0.0, self.client.budget, self.files.input(sent)
        if budget is not None and asked.exists():  # a line's mean size, from its file
            most = budget.at_most(asked.stat().st_size // max(1, sent.size)) * budget.price.batch
        left = set(self.files.keys(sent))
        lost = not left  # the input file is gone: every answer counts as ours
        # already stored by a process that died: charged and counted once
        before = set(self.ledger.get_many([*left, *(aside(k, sent.label) for k in left)]))
        for file in await self.api.fetch(str(sent.id), self.files.folder):
            for key, result in self.api.results(file):
                if key in before:  # a duplicate
                    continue
                if key not in left and not lost:
                    strange[file] += isinstance(result, Reply)
                    continue
                if not isinstance(result, Reply):
                    faults[key] = result  # a later line may have the answer
                    continue
                value = to_value(result, self.client.price, batch=True)
                name = key if usable(value) else aside(key, sent.label)
                if name != key:
                    faults[key] = TeacherError("an empty reply", Reason.EMPTY_REPLY)
                if name not in before:
                    self.client.keep(name, value, most)
                    before.add(name)
                answered += name == key
        kept = [file.rename(file.with_suffix(UNKNOWN)) for file in +strange
                if left - before - faults.keys()]  # paid for, and perhaps for these
        for file in kept:
            for number, (key, result) in enumerate(self.api.results(file)):
                name = aside(key, f"{sent.label}/{number}")
                if isinstance(result, Reply) and key not in left and not self.ledger.get(name):
                    self.client.keep(name, to_value(result, self.client.price, batch=True), most)
        self.client.keep()
        self.files.forget(sent)
        if kept:
            said = phrase("other_ids", strange.total(), id=sent.id, how=how, answered=answered)
            raise Unusable(said, fix=f"They are kept in {' and '.join(map(str, kept))}. Without "
                           "--batch the requests are sent again")
        missing = Transient(f"not answered (the batch {how})")
        faults = {key: missing for key in left} | faults
        faults = {key: fault for key, fault in faults.items() if key not in before}
        self.say(f"batch {sent.id} {how}: {answered} answered"
                 + (f", {len(faults)} not" if faults else ""))
        self._blame(faults, answered)

    def _blame(self, faults: dict[str, Exception], answered: int) -> None:
        """The faults behind requests that a batch did not answer. Raises the account's and the
        run's; what a provider that answers others says of a few is taken to be theirs."""
        self.client.check_texts()
        refusals = [fault for fault in faults.values() if isinstance(fault, Unusable)]
        for refusal in refusals:
            if not (refusal.runs and (answered or self.client.found)) or (
                    not answered and len(refusals) >= SILENT_ATTEMPTS):
                raise refusal
        for key, fault in faults.items():
            last = isinstance(fault, Unusable | TeacherError) and \
                getattr(fault, "reason", None) is not Reason.EMPTY_REPLY
            self._faults[key] += 1
            if last or self._faults[key] >= ATTEMPTS:
                self.client.failed[key] = fault if isinstance(fault, TeacherError) \
                    else TeacherError(str(fault))
