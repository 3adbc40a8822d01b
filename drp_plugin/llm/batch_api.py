"""What the runner needs of a provider's batch API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.llm.retry import Transient


@dataclass(frozen=True)
class Limits:
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


class BatchApi(Protocol):
    """One provider's batch API. Every method raises what `Persistent.run` raises."""

    limits: Limits

    def line(self, key: str, request: Request) -> str:
        """A request as a line of the input file; its answer comes back under `key`."""
        ...

    async def upload(self, file: Path, label: str) -> str:
        """Upload an input file, which costs nothing yet; returns its name for `create`.

        Raises Refused where there is no batch API.
        """
        ...

    async def create(self, uploaded: str, label: str) -> str:
        """Begin a batch that can be found by `label`; returns its id.

        Raises Refused when it is certain that none was begun; after anything else it may have
        been.
        """
        ...

    async def find(self, label: str) -> str | None:
        """The id of the batch with this label, if there is one."""
        ...

    async def status(self, batch_id: str) -> Status:
        """Where it stands."""
        ...

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        """Download the result files of an ended batch, as many as the provider still has."""
        ...

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Exception]]:
        """The answers in a result file by key, in whatever order, and what the others failed
        with (see `blame`); unreadable lines left out."""
        ...


class Creation:
    """Begins one batch, in as many attempts as it takes, but never twice.

    `explain` says what a failure means (see `Transient`), `search` looks for the batch.
    """

    def __init__(self, create: Callable[[], Awaitable[str]],
                 search: Callable[[], Awaitable[str | None]],
                 explain: Callable[[Any], Exception]) -> None:
        self._create, self._search, self._explain = create, search, explain
        self._begun = False
        """An attempt whose reply was lost may have begun it."""

    async def attempt(self) -> str:
        """The batch's id. Raises Refused, and the client's own errors."""
        if self._begun:
            found = await self._search()
            if found is not None:
                return found
        before, self._begun = self._begun, True
        try:
            return await self._create()
        except Exception as error:
            if not _said_no(error):
                raise
            self._begun = before
            explained = self._explain(error)
            if before or isinstance(explained, Transient):
                raise
            fix = "" if isinstance(explained, UserError) else "Run without --batch, or mend it"
            raise Refused(str(explained), fix=fix) from None


def _said_no(error: Exception) -> bool:
    """Whether a client's error is a reply that certainly began nothing."""
    codes = (getattr(error, "status_code", None), getattr(error, "code", None))
    status = next((c for c in codes if isinstance(c, int)), 0)
    return 400 <= status < 500 and status not in (408, 409)


def none_here(name: str, text: str) -> Refused:
    """A server without a batch API."""
    return Refused(f"{name} has no batch API ({text})", fix="Run without --batch")
