"""What pruning's stages pass to each other, and a row's dialogue with the teacher: repair rounds,
and replies that are not answers (§3.1, §3.2)."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple, TypeVar

from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Message, Reply, Request, TeacherError, TooLong
from drp_plugin.loops import loop_period
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import PruneOptions
from drp_plugin.records import Reason, Reject, Revision, Step, Trace, Usage
from drp_plugin.thinking import CLOSE, OPEN

T = TypeVar("T")
_SHOWN = 100_000  # Characters of a wrong reply that are sent back: one that loops has no end


class CheckedTrace(NamedTuple):
    """A trace that may be pruned, taken apart."""

    trace: Trace
    thinking: str  # T
    answer: str  # A
    final: str | None  # The final answer that A states; None only under `keep_wrong`


class Result(NamedTuple):
    """What became of a trace."""

    steps: tuple[Step, ...]
    revisions: tuple[Revision, ...]
    thinking: str  # T̂
    answer: str  # Â
    coverage: float = 1.0  # Share of T's non-space characters that the steps hold, in order
    kind: Literal["edit", "sample", "no_thinking"] = "edit"
    """`edit`: T̂ was made from T. `sample`: R̂ is a response of the student's own, whose numbers
    need not be T's. `no_thinking`: T̂ is empty on purpose."""
    original: str | None = None  # What R̂ is compared with, where it is not the trace's response


def whole(checked: CheckedTrace) -> Result:
    """A student's own response, unchanged."""
    return Result((), (), checked.thinking, checked.answer, kind="sample")


Prune = Callable[[CheckedTrace, "Dialogue"], Awaitable[Result]]  # Or it raises `Rejection`


class Rejection(Exception):
    """The row leaves the flow here; becomes a `Reject`."""

    def __init__(self, stage: str, reason: Reason, detail: str, reply: str | None = None) -> None:
        super().__init__(detail)
        self.stage, self.reason, self.detail, self.reply = stage, reason, detail, reply

    def of(self, row: Trace, usage: Usage) -> Reject:
        return Reject(id=row.id, stage=self.stage, reason=self.reason,
                      detail=" ".join(self.detail.split()), reply=self.reply,
                      row=row.model_dump(mode="json", exclude_none=True), usage=usage)


class FormatError(Exception):
    """A reply does not hold what was asked for. The teacher is sent the text."""

    def __init__(self, text: str, reason: Reason = Reason.BAD_FORMAT) -> None:
        super().__init__(text)
        self.reason = reason


class CutReply(Exception):
    """The request is more than the teacher reads or writes at once. The text says which."""

    def __init__(self, reply: Reply, text: str = "the reply was cut at the output limit") -> None:
        super().__init__(text)
        self.reply = reply

    def rejection(self, stage: str, tried: str = "") -> Rejection:
        """The row's rejection if no smaller part can be asked for."""
        return Rejection(stage, Reason.CUT_REPLY, f"{self}, {tried}" if tried else str(self),
                         self.reply.text)


class Dialogue:
    """One row's requests to the teacher. Nothing here depends on time or chance, so a row that is
    run again makes the same requests, which the ledger can answer."""

    SO_FAR = 1500  # Characters of the explanation so far that the next window's request shows

    def __init__(self, client: RowClient, options: PruneOptions, prompts: Prompts,
                 count: Callable[[str], int], tokens: float = math.inf) -> None:
        self._client = client
        self.options, self.prompts, self.count = options, prompts, count
        self.tokens = tokens  # Of all of R, if known: a T that fits is not counted again

    @staticmethod
    def check_loop(reply: str, asked: str = "") -> None:
        """Raises FormatError for a cut reply in a loop: a smaller part would not help. Where
        `asked` repeats itself, so may the reply that echoes it."""
        period = loop_period(reply)
        if period and "".join(reply[-2 * period:].split()) not in "".join(asked.split()):
            raise FormatError("it repeats itself without end.")

    async def reply(self, stage: str, request: Request) -> Reply:
        """The whole reply, unread. Raises CutReply, Rejection."""
        if len(self._client.replies) >= self.options.max_requests:
            raise Rejection(stage, Reason.CUT_REPLY,
                            f"not finished after {len(self._client.replies)} requests")
        try:
            reply = await self._client(request)
        except TooLong as error:
            raise CutReply(Reply(text=""), f"the teacher does not accept a request of this length "
                                           f"({error})") from None
        except TeacherError as error:
            raise Rejection(stage, error.reason, str(error)) from None
        if reply.finish_reason == "refusal":
            raise Rejection(stage, Reason.REFUSED, "the teacher refused", reply.text)
        if reply.finish_reason == "length":
            raise CutReply(reply)
        return reply

    async def ask(self, stage: str, prompt: str, parse: Callable[[str], T], *,
                  schema: dict[str, Any] | None = None,
                  check_cut: Callable[[str], None] | None = None) -> T:
        """The reply as `parse` reads it; a reply out of format is explained to the teacher, which
        is asked again. `check_cut` raises FormatError for a cut reply with another fault (by
        default, a loop), which is explained likewise. Raises CutReply for the caller to split,
        Rejection when no answer can be had."""
        messages = [Message(role="user", content=prompt)]
        for repair in range(self.options.repairs + 1):
            try:
                reply = await self.reply(stage, Request(
                    messages=tuple(messages), sampling=self.options.sampling, json_schema=schema,
                    tag="repair" if repair else stage))
                return _parsed(reply.text, parse)
            except CutReply as cut:
                reply = cut.reply
                try:
                    check_cut(reply.text) if check_cut else self.check_loop(reply.text, prompt)
                except FormatError as error:
                    problem = error
                else:
                    raise
            except FormatError as error:
                problem = error
            again = self.prompts.render("repair", error=str(problem))
            messages = [messages[0],
                        Message(role="assistant", content=reply.text.strip()[:_SHOWN] or "(empty)"),
                        Message(role="user", content=again)]
        raise Rejection(stage, problem.reason, str(problem), reply.text)


def _parsed(text: str, parse: Callable[[str], T]) -> T:
    """The reply, parsed without the teacher's own thinking; only its closing tag may be there. A
    tag may also be part of the answer: then what follows it does not parse."""
    thought, tag, rest = text.rpartition(CLOSE)
    if not rest.strip():
        raise FormatError("it is empty.", Reason.EMPTY_REPLY)
    try:
        return parse(rest)
    except FormatError:
        if not tag or thought.lstrip().startswith(OPEN):
            raise
        return parse(text)
