"""A teacher's requests and replies: messages in; text, finish reason, usage out."""

import abc
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from drp_plugin.errors import UserError
from drp_plugin.records import Reason, Record, Usage
from drp_plugin.redact import redact

if TYPE_CHECKING:
    from drp_plugin.llm.remote import BatchApi
    from drp_plugin.llm.retry import Persistent


class Message(Record):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(Record):
    """Everything that shapes a reply besides the messages."""

    temperature: float | None = 0.0  # None: the provider's own; some models refuse any
    top_p: float | None = None
    max_tokens: int | None = None  # None leaves it to the provider: its model's maximum
    seed: int | None = None
    extra: dict[str, Any] = Field(default_factory=dict)
    """Provider-specific fields, passed on as they are (for example reasoning_effort)."""


class Request(Record):
    """One question to a teacher. Equal requests are taken to have equal answers."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    json_schema: dict[str, Any] | None = None  # The reply's; None for plain text
    tag: str = ""  # Its purpose (decompose, …): not part of the ledger's key, and not sent


Finish = Literal["stop", "length", "refusal", "other"]  # other: stored by earlier releases


def usage_of(counts: Any, prompt: str, *completion: str) -> Usage:
    """A reply's usage; impossible counts (negative, absurd, not numbers) leave it uncounted."""
    def read(name: str) -> int:
        value = counts.get(name) or 0
        if type(value) not in (int, float) or not 0 <= value <= 1e8:
            raise ValueError(name)
        return int(value)

    try:
        return Usage(requests=1, prompt_tokens=read(prompt),
                     completion_tokens=sum(map(read, completion)))
    except (ValueError, AttributeError):
        return Usage(requests=1)


class Reply(Record):
    """The teacher's reply."""

    text: str
    finish_reason: Finish = "stop"
    usage: Usage = Usage()
    key: str = ""  # Its key in the ledger, where it is kept there: several rows may share it


class TeacherError(Exception):
    """A request failed for good: retries are used up, or cannot help. No key is in it."""

    def __init__(self, text: str, reason: Reason = Reason.REQUEST_FAILED, *,
                 understood: bool = True) -> None:
        super().__init__(redact(text))
        self.reason, self.understood = reason, understood
        """`understood`: it is this request's fault; else a server may refuse every one so."""


class TooLong(TeacherError):
    """The request holds more than the teacher takes at once: a shorter one may be answered."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Reason.CUT_REPLY)


class Teacher(abc.ABC):
    """A model (or rules) that answers requests, and what else it can do."""

    name: str  # `kind:model`, as on the command line
    identity: dict[str, Any]  # What determines its answers, for the ledger's keys
    connections: "Sequence[Persistent]" = ()  # Requests in flight at each server
    asks_nothing: bool = False  # It prunes without a model, by a method of its own
    local: bool = False  # It runs on the user's own machine: its requests cost nothing

    @abc.abstractmethod
    async def ask(self, request: Request) -> Reply:
        """Answer one request. Raises TeacherError when no answer can be had."""

    def batch(self) -> "BatchApi":
        """Its batch API. Raises UserError where it has none."""
        raise UserError(f"teacher {self.name} has no batch API", fix="Leave --batch out")

    async def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of connections and processes."""


Ask = Callable[[Request], Awaitable[Reply]]  # How a stage asks the teacher: usually by the ledger
