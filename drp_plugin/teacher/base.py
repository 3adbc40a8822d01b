"""The teacher protocol: messages in; text, finish reason and usage out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

from pydantic import Field

from drp_plugin.records import Reason, Record, Usage


class Message(Record):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Record):
    """Everything that shapes a reply besides the messages."""

    temperature: float | None = 0.0
    """The paper's reference code asks at 0. None leaves it to the provider: some reasoning
    models refuse any."""
    top_p: float | None = None
    max_tokens: int | None = None
    """None leaves it to the provider, which then allows its model's maximum."""
    seed: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    """Provider-specific fields, passed on as they are (for example reasoning_effort)."""


class Request(Record):
    """One question to a teacher. Equal requests have equal answers as far as we are concerned."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    json_schema: dict[str, Any] | None = None
    """JSON schema of the reply, for providers with structured output; None for plain text."""
    tag: str = ""
    """What it is for (decompose, revise, repair, …): for logs and summaries; never part of the
    ledger's key and never sent."""


Finish = Literal["stop", "length", "refusal", "other"]


class Reply(Record):
    """What the teacher said."""

    text: str
    finish_reason: Finish = "stop"
    usage: Usage = Usage()


class TeacherError(Exception):
    """A request failed for good: retries are used up, or cannot help. The text holds no key."""

    def __init__(self, text: str, reason: Reason = Reason.REQUEST_FAILED) -> None:
        super().__init__(text)
        self.reason = reason


class Teacher(Protocol):
    """A model (or rules) that answers requests."""

    name: str
    """`kind:model`, as on the command line."""

    async def ask(self, request: Request) -> Reply:
        """Answer one request. Raises TeacherError when no answer can be had."""
        ...


Ask = Callable[[Request], Awaitable[Reply]]
"""How a stage talks to the teacher: usually through the ledger."""
