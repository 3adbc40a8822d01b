"""What the runner needs of a provider's batch API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from drp_plugin.errors import UserError
from drp_plugin.teacher.base import Reply, Request, Teacher


@dataclass(frozen=True)
class Limits:
    """The most that one batch may hold."""

    requests: int
    bytes: int


class Fault(NamedTuple):
    """A request of a batch that was not answered."""

    text: str
    final: bool
    """Asking again cannot help."""


class Status(NamedTuple):
    """Where a batch stands."""

    state: Literal["running", "ended", "too_large", "invalid"]
    """`ended`, whether complete, expired or cancelled: what was answered can be had. `too_large`:
    the account's limit of queued tokens. `invalid`: the provider refused the file."""
    done: int = 0
    detail: str = ""


class BatchApi(Protocol):
    """One provider's batch API. Every method raises what `Persistent.run` raises."""

    limits: Limits

    def line(self, key: str, request: Request) -> str:
        """A request as a line of the input file; its answer comes back under `key`."""
        ...

    async def submit(self, file: Path, label: str) -> str:
        """Upload the file and start a batch that can be found by `label`; returns its id."""
        ...

    async def find(self, label: str) -> str | None:
        """The id of the batch with this label, if there is one."""
        ...

    async def status(self, batch_id: str) -> Status:
        """Where it stands."""
        ...

    async def fetch(self, batch_id: str, folder: Path) -> list[Path]:
        """Download the result files of an ended batch."""
        ...

    def results(self, file: Path) -> Iterator[tuple[str, Reply | Fault]]:
        """The answers in a result file by key, in whatever order; unreadable lines left out."""
        ...


def batch_api(teacher: Teacher) -> BatchApi:
    """The batch API of a teacher. Raises UserError where it has none."""
    from drp_plugin.teacher.gemini_client import GeminiTeacher
    from drp_plugin.teacher.openai_client import OpenAITeacher

    if isinstance(teacher, OpenAITeacher):
        from drp_plugin.teacher.openai_batch import OpenAIBatch

        return OpenAIBatch(teacher)
    if isinstance(teacher, GeminiTeacher) and not teacher.vertex:
        from drp_plugin.teacher.gemini_batch import GeminiBatch

        return GeminiBatch(teacher)
    if isinstance(teacher, GeminiTeacher):
        raise UserError("--batch with Gemini needs an AI Studio key, not Vertex AI",
                        fix="Set GEMINI_API_KEY and unset GOOGLE_GENAI_USE_VERTEXAI")
    raise UserError(f"teacher {teacher.name} has no batch API", fix="Leave --batch out")
