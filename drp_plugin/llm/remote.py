"""What teachers behind a network have in common, live and in batches."""

import abc
import contextlib
import errno
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.finish import ending
from drp_plugin.jsonl import loads
from drp_plugin.llm.blame import explain, read_error
from drp_plugin.llm.ledger_disk import refusal
from drp_plugin.llm.messages import Finish, Reply, Request, Teacher, TeacherError
from drp_plugin.llm.retry import Persistent, Transient, Unusable
from drp_plugin.redact import hide, redact

_LOOK_BACK = 1000  # Batches are listed newest first: one that was just begun is among so many
_ENDED = {"completed", "succeeded", "partially_succeeded", "expired"}


def finish_of(said: Any) -> Finish:
    """How a reply ended: `stop` also for no word or an unknown one; `other` is no end."""
    ends: dict[str, Finish] = {"length": "length", "refusal": "refusal", "error": "other"}
    return ends.get(ending(said), "stop")


class RemoteTeacher(Teacher):
    """A model asked through a provider's library."""

    kind: str
    variable: str  # The environment variable that holds the key
    place = "the model's name and --base-url"  # What says where requests go
    persistent: Persistent
    client: Any  # The library's

    def __init__(self, model: str, key: str | None, persistent: Persistent) -> None:
        self.model, self.name = model, f"{self.kind}:{model}"
        self.persistent, self.connections, self._key = persistent, [persistent], key
        self.identity = {"kind": self.kind, "model": model}

    @abc.abstractmethod
    def body(self, request: Request) -> Any:
        """A request as the library takes it."""

    @abc.abstractmethod
    async def _send(self, body: Any) -> tuple[Any, Mapping[str, str] | None]:
        """A reply as it came, and its headers; raises the library's errors."""

    @abc.abstractmethod
    def read(self, content: Any) -> Reply:
        """A body with status 200 as a reply; raises what an error in it means."""

    @abc.abstractmethod
    def _explain(self, error: Exception) -> Exception:
        """What an error of the library means for this request and for the run."""

    async def ask(self, request: Request) -> Reply:
        """Answer one request; see `Persistent.run` for what it raises."""
        body = self.body(request)
        return await self.persistent.run(lambda: self._once(body), keep=True)

    async def _once(self, body: Any) -> Reply:
        content, headers = await self.explained(self._send(body))
        reply = self.reply(content)
        self.persistent.limiter.answered(
            headers, reply.usage.prompt_tokens + reply.usage.completion_tokens)
        return reply

    def reply(self, content: Any) -> Reply:
        """The result of `read`, without keys that it repeats: live and in batches."""
        reply = self.read(content)
        return reply.model_copy(update={"text": hide(reply.text, self._key)})

    async def explained(self, call: Awaitable[Any], unknown: Sequence[int] = (),
                        meaning: Callable[[Exception], Exception] | None = None) -> Any:
        """A call's result, its errors explained; None at an HTTP status in `unknown`."""
        try:
            return await call
        except (TimeoutError, UserError, TeacherError, Transient):
            raise
        except Exception as error:  # a peer that is not an HTTP server causes errors of any kind
            if status_of(error) in unknown:
                return None
            raise (meaning or self._explain)(error) from None

    def blame(self, status: int | None, body: Any,
              headers: Mapping[str, str] | None = None) -> Exception:
        return explain(read_error(status, body, headers), self.name, self.variable, self.place)

    def clean(self, text: str) -> str:
        """`text` for a person."""
        return redact(text, self._key)[:500]


class Limits(NamedTuple):
    """The most that one batch may hold."""

    requests: int
    bytes: int


class Status(NamedTuple):
    """A batch's state."""

    state: Literal["running", "ended", "too_large", "invalid", "gone"]
    """`ended`, whether complete, expired or cancelled: what was answered can be had. `too_large`:
    the account's limit of queued tokens. `invalid`: the provider refused the file. `gone`: the
    provider does not know it (any more)."""
    done: int = 0
    detail: str = ""
    files: Sequence[str | None] = ()  # The provider's names of the result files
    stops: str = ""  # Why the run does not go on after this batch, and what to do


class Refused(UserError):
    """The provider said no: no batch was begun, and nothing is to be paid."""


class BatchApi(abc.ABC):
    """One provider's batch API, by its teacher's client; raises what `Persistent.run` raises."""

    limits: Limits
    key_field: str  # Where a line holds its request's key
    unknown: tuple[int, ...] = (404,)  # HTTP statuses for a batch that the provider does not know
    queue_full: str  # A pattern of the message when the account's queue takes no more tokens

    def __init__(self, teacher: RemoteTeacher) -> None:
        self._teacher, self._client = teacher, teacher.client
        self.patience_s = teacher.persistent.retries.patience_s  # For a state that cannot be had

    @abc.abstractmethod
    def line(self, key: str, request: Request) -> str:
        """A request as a line of the input file; its answer comes back under `key`."""

    @abc.abstractmethod
    async def _upload(self, file: Path, label: str) -> str: ...

    @abc.abstractmethod
    async def _begin(self, uploaded: str, label: str) -> str: ...

    @abc.abstractmethod
    def _listed(self) -> AsyncIterator[tuple[str | None, str]]:
        """Labels and ids of the account's batches, the newest first."""

    @abc.abstractmethod
    async def _get(self, batch_id: str) -> Status: ...

    @abc.abstractmethod
    async def _download(self, name: str, target: Path) -> bool: ...

    @abc.abstractmethod
    def _answer(self, row: dict[str, Any]) -> tuple[int | None, Any]:
        """HTTP status and body in a result's line."""

    async def upload(self, file: Path, label: str) -> str:
        """Upload an input file, which is free; its name. Raises Refused without a batch API."""
        return str(await self._call(partial(self._upload, file, label), meaning=self._meaning))

    async def create(self, uploaded: str, label: str) -> str:
        """Begin a batch that can be found by `label`, never twice; its id. Raises Refused when
        it is certain that none was begun; after anything else it may have been."""
        begun = False  # an attempt whose reply was lost may have begun it

        async def attempt() -> str:
            nonlocal begun
            if begun and (found := await self._search(label)) is not None:
                return found
            before, begun = begun, True
            try:
                return await self._begin(uploaded, label)
            except Exception as error:
                status = status_of(error)
                if not 400 <= status < 500 or status in (408, 409):
                    raise
                begun = before  # certainly began nothing
                meaning = self._meaning(error)
                if before or isinstance(meaning, Transient):
                    raise
                fix = "" if isinstance(meaning, UserError) else "Run without --batch, or correct it"
                raise Refused(str(meaning), fix=fix) from None

        return str(await self._call(attempt, meaning=self._meaning))

    async def find(self, label: str) -> str | None:
        # without a batch API there is no batch
        found = await self._call(partial(self._search, label), unknown=(404,))
        return None if found is None else str(found)

    async def _search(self, label: str) -> str | None:
        left = _LOOK_BACK
        async for named, batch_id in self._listed():
            left -= 1
            if named == label or not left:
                return batch_id if named == label else None
        return None

    async def status(self, batch_id: str) -> Status:
        found = await self._call(partial(self._get, batch_id), unknown=self.unknown)
        return found or Status("gone", 0, "the provider does not know it")

    def _status(self, state: str, done: int | None, errors: Sequence[tuple[str, str]],
                files: Sequence[str | None]) -> Status:
        """From a provider's word for the state, and its errors by code and text."""
        done, state = done or 0, state.lower()
        if state != "failed":
            # a person did that: the rest is not sent without asking
            stops = "was cancelled at the provider. Run the same command again to send the rest" \
                if state == "cancelled" else ""
            return Status("ended" if stops or state in _ENDED else "running", done,
                          self._teacher.clean(state), files, stops)
        said = "; ".join(text.rstrip(".") for _, text in errors) or "the provider does not say why"
        detail, codes = self._teacher.clean(said), " ".join(code for code, _ in errors)
        if re.search(self.queue_full, f"{codes} {said}".lower()):
            return Status("too_large", done, detail, (), f"was refused: {detail}. Run it again "
                          "when the account's other batches have ended, or without --batch")
        fault = self._teacher.blame(None, {"error": {"code": codes, "message": said}})
        account = isinstance(fault, Unusable) and not fault.runs  # it says what to do
        stops = str(fault) if account else f"{detail}. Run without --batch, or correct the request"
        if any(files):  # it broke off, and what was answered is paid for
            return Status("ended", done, f"failed ({detail})", files,
                          f"failed: {stops}; the same command sends the rest")
        return Status("invalid", done, detail, (), f"was refused: {stops}")

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        """Download the result files of an ended batch, as many as the provider still has."""
        # the server's names are not used for files
        stem, files = hashlib.sha256(batch_id.encode()).hexdigest(), []
        for number, name in enumerate((await self.status(batch_id)).files):
            target = folder / f"{stem}-{number}.results.jsonl"
            if name and await self._call(partial(self._fetched, name, target), unknown=(404,)):
                files.append(target)
        return files

    async def _fetched(self, name: str, target: Path) -> bool:
        """Whether there is such a file. What is another server's page is asked for again."""
        try:
            there = await self._download(name, target)
        except OSError as error:  # of the disk, not of the connection
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise refusal(error, target) from None
            raise
        if there and target.stat().st_size > 1 and next(self._rows(target), None) is None:
            raise Transient("what came is not a file of a batch's results")
        return there

    def _rows(self, file: Path) -> Iterator[tuple[str, Any, Any]]:
        """Key, HTTP status and body of every line that can be read."""
        with open(file, encoding="utf-8-sig", errors="replace") as lines:
            for line in lines:
                with contextlib.suppress(ValueError, KeyError, TypeError, IndexError,
                                         AttributeError):
                    row = loads(line)
                    yield str(row[self.key_field]), *self._answer(row)

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Exception]]:
        """Answers in a result file by key, or faults (see `blame`); no unreadable lines."""
        for key, said, answer in self._rows(file):
            status = int(said) if re.fullmatch(r"[1-9]\d\d", str(said)) else None
            try:
                result: Reply | Exception = self._teacher.reply(answer) if status == 200 else \
                    self._teacher.blame(status, answer)
            except Exception as fault:
                result = fault
            yield key, result

    async def _call(self, what: Callable[[], Awaitable[Any]], unknown: Sequence[int] = (),
                    meaning: Callable[[Exception], Exception] | None = None) -> Any:
        """One API call, retried where that can help (see `RemoteTeacher.explained`)."""
        return await self._teacher.persistent.run(
            lambda: self._teacher.explained(what(), unknown, meaning))

    def _meaning(self, error: Exception) -> Exception:
        status = status_of(error)
        if status not in (404, 405):
            return self._teacher._explain(error)
        text = self._teacher.clean(f"HTTP {status}: {getattr(error, 'message', '') or error}")
        return Refused(f"{self._teacher.name} has no batch API ({text})", fix="Run without --batch")


def status_of(error: Exception) -> int:
    """The HTTP status of a client's error; 0 where it has none."""
    codes = (getattr(error, "status_code", None), getattr(error, "code", None))
    return next((c for c in codes if isinstance(c, int)), 0)
