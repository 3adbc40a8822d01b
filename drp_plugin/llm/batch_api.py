"""A provider's batch API as the runner needs it, and what all providers' have in common."""

import abc
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Reply, Request, TeacherError
from drp_plugin.llm.retry import Transient

_LOOK_BACK = 1000  # Batches come newest first: one that was begun just now is among so many


class Limits(NamedTuple):
    """The most that one batch may hold."""

    requests: int
    bytes: int


class Status(NamedTuple):
    """Where a batch stands."""

    state: Literal["running", "ended", "too_large", "invalid", "gone"]
    """`ended`, whether complete, expired or cancelled: what was answered can be had. `too_large`:
    the account's limit of queued tokens. `invalid`: the provider refused the file. `gone`: the
    provider does not know it (any more)."""
    done: int = 0
    detail: str = ""


class Refused(UserError):
    """The provider said no: no batch was begun, and nothing is to be paid."""


class BatchApi(abc.ABC):
    """One provider's batch API, by its teacher's client; raises what `Persistent.run` raises."""

    limits: Limits
    key_field: str  # Where a line holds its request's key
    unknown: tuple[int, ...] = (404,)  # HTTP statuses for a batch that the provider does not know

    def __init__(self, teacher: Any) -> None:
        self._teacher = teacher

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
    async def _get(self, batch_id: str) -> Any: ...

    @abc.abstractmethod
    def _status(self, batch: Any) -> Status: ...

    @abc.abstractmethod
    def _files(self, batch: Any) -> Sequence[str | None]:
        """The provider's names of the result files."""

    @abc.abstractmethod
    async def _download(self, name: str, target: Path) -> bool: ...

    @abc.abstractmethod
    def _read(self, row: dict[str, Any]) -> Reply | Exception: ...

    async def upload(self, file: Path, label: str) -> str:
        """Upload an input file, which costs nothing yet; returns its name for `create`. Raises
        Refused where there is no batch API."""
        return str(await self._call(partial(self._upload, file, label), meaning=self._meaning))

    async def create(self, uploaded: str, label: str) -> str:
        """Begin a batch that can be found by `label`, in as many attempts as it takes, but never
        twice; returns its id. Raises Refused when it is certain that none was begun; after
        anything else it may have been."""
        begun = False  # an attempt whose reply was lost may have begun it

        async def attempt() -> str:
            nonlocal begun
            if begun and (found := await self._search(label)) is not None:
                return found
            before, begun = begun, True
            try:
                return await self._begin(uploaded, label)
            except Exception as error:
                status = _status_of(error)
                if not 400 <= status < 500 or status in (408, 409):
                    raise
                begun = before  # a reply that certainly began nothing
                meaning = self._meaning(error)
                if before or isinstance(meaning, Transient):
                    raise
                fix = "" if isinstance(meaning, UserError) else "Run without --batch, or mend it"
                raise Refused(str(meaning), fix=fix) from None

        return str(await self._call(attempt, meaning=self._meaning))

    async def find(self, label: str) -> str | None:
        """The id of the batch with this label, if there is one."""
        # where there is no batch API, there is no batch
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
        """Where it stands."""
        batch = await self._call(partial(self._get, batch_id), unknown=self.unknown)
        return Status("gone", 0, "the provider does not know it") if batch is None \
            else self._status(batch)

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        """Download the result files of an ended batch, as many as the provider still has."""
        batch = await self._call(partial(self._get, batch_id), unknown=self.unknown)
        # the server's names are no names for files
        stem, files = hashlib.sha256(batch_id.encode()).hexdigest(), []
        for number, name in enumerate([] if batch is None else self._files(batch)):
            target = folder / f"{stem}-{number}.results.jsonl"
            if name and await self._call(partial(self._download, name, target), unknown=(404,)):
                files.append(target)
        return files

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Exception]]:
        """The answers in a result file by key, in whatever order, and what the others failed
        with (see `blame`); unreadable lines left out."""
        with open(file, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    row = json.loads(line)
                    yield str(row[self.key_field]), self._read(row)
                except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                    continue

    async def _call(self, what: Callable[[], Awaitable[Any]], *, unknown: tuple[int, ...] = (),
                    meaning: Callable[[Exception], Exception] | None = None) -> Any:
        """One API call with the client's errors explained, retried where that can help; None where
        the provider does not know what it is about, as an `unknown` HTTP status says."""
        async def attempt() -> Any:
            try:
                return await what()
            except (TimeoutError, UserError, TeacherError, Transient):
                raise
            except Exception as error:  # the HTTP library's own errors come through as they are
                if _status_of(error) in unknown:
                    return None
                raise (meaning or self._teacher._explain)(error) from None

        return await self._teacher.persistent.run(attempt)

    def _meaning(self, error: Exception) -> Exception:
        """What the failure of a call that begins something means."""
        status = _status_of(error)
        if status not in (404, 405):
            return self._teacher._explain(error)  # type: ignore[no-any-return]
        text = self._teacher._clean(f"HTTP {status}: {getattr(error, 'message', '') or error}")
        return Refused(f"{self._teacher.name} has no batch API ({text})", fix="Run without --batch")


def _status_of(error: Exception) -> int:
    """The HTTP status of a client's error; 0 where it has none."""
    codes = (getattr(error, "status_code", None), getattr(error, "code", None))
    return next((c for c in codes if isinstance(c, int)), 0)
