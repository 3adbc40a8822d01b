"""The values that flow through DRP, named as in the paper (§3).

Every record is frozen. A stage takes records and returns records."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from drp_plugin.finish import Ending


class Record(BaseModel):
    """A frozen, typed value that is one JSON object."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Question(Record):
    """A problem x and, where known, its gold answer."""

    id: str
    question: str
    answer: str | None = None  # Gold final answer; None where it is not known
    dataset: str | None = None  # Name of the set it comes from; decides which grading rule holds


class Trace(Question):
    """A student's own response R = (T, A) to a question (§3.1), `<think>T</think>A`. The opening
    tag may be missing (chat templates prefill it); without a closing one it was cut off."""

    response: str
    model: str | None = None  # The student that wrote it
    prompt: str | None = None  # The prompt of its sampling: a template of prompts/, or a file
    finish: Ending | None = None  # Why the completion ended, where the row told it


class Action(StrEnum):
    """What the teacher does with a step (§3.2, Appendix C)."""

    KEEP = "KEEP"
    DELETE = "DELETE"
    COMPRESS = "COMPRESS"  # Appendix C's SINGLE-STEP COMPRESS; "Rewrite" in §3.2
    MERGE = "MERGE"  # Appendix C's MULTI-STEP COMPRESS


class Step(Record):
    """A contiguous span s_i of T and its skill k_i (§3.1)."""

    index: int  # From 1, in the order of T
    text: str
    skill: str | None = None  # None if the decomposition names no skills
    start: int | None = None  # Character offset into T; None where the span was not found
    end: int | None = None  # Likewise, exclusive


class Revision(Record):
    """An action and the steps that it covers (§3.2)."""

    action: Action
    steps: tuple[int, ...]  # Numbers of the steps, ascending; several only for MERGE and DELETE
    text: str | None = None  # The new text, for COMPRESS and MERGE


class Usage(Record):
    """Usage and cost of teacher requests."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None  # None where no price is known for the model
    keys: tuple[str, ...] = ()  # Keys of the replies in the run's ledger, for one row's usage only

    def __add__(self, other: "Usage") -> "Usage":
        known = [c for c in (self.cost_usd, other.cost_usd) if c is not None]
        counts = {name: getattr(self, name) + getattr(other, name)
                  for name in ("requests", "prompt_tokens", "completion_tokens")}
        return Usage(**counts, cost_usd=sum(known) if known else None)


class Pruned(Question):
    """A pruned response R̂ = (T̂, Â) with everything that it was made from (§3.2)."""

    model: str | None = None
    prompt: str | None = None
    original: str  # The student's response R, as it came
    steps: tuple[Step, ...] = ()
    revisions: tuple[Revision, ...] = ()
    response: str  # `<think>\nT̂\n</think>\n\nÂ`, the target of supervised fine-tuning (§3.3)
    tokens_before: int
    tokens_after: int  # Tokens of R and R̂ by the tokenizer named in the run's settings
    coverage: float | None = None
    """Share of T's non-space characters that the steps hold, in order; 1.0 is a partition."""
    verdict: dict[str, Any] = Field(default_factory=dict)  # Each check, and what it found
    teacher: str
    prompts_hash: str
    usage: Usage = Usage()


class Reason(StrEnum):
    """Why a row was rejected: the closed list."""

    # reading the row
    NOT_JSON = "not_json"
    BAD_ROW = "bad_row"  # A required field is missing or has the wrong type
    # the trace itself
    NO_THINK_END = "no_think_end"  # No `</think>`: the student's generation was cut off
    NO_THINKING = "no_thinking"  # No `</think>`, though the student ended by itself
    EMPTY_TRACE = "empty_trace"
    THINK_TWICE = "think_twice"  # A second tag of thinking, or one in the question
    CONTROL_TOKEN = "control_token"  # A token of a chat layout, which `drp build` refuses
    NO_ANSWER = "no_answer"  # No final answer can be found in the student's answer part
    WRONG_ANSWER = "wrong_answer"  # It is not the gold one (`--keep-wrong` lets it through)
    NOT_CHOSEN = "not_chosen"  # A method that keeps one of several kept another sample
    # the teacher
    REQUEST_FAILED = "request_failed"
    REFUSED = "refused"
    EMPTY_REPLY = "empty_reply"
    CUT_REPLY = "cut_reply"  # Cut at the output limit; no smaller part could be asked for
    BAD_FORMAT = "bad_format"  # The reply could not be parsed, also after one repair round
    # verification
    LOW_COVERAGE = "low_coverage"  # The steps are not T: text was left out, changed or made up
    ANSWER_CHANGED = "answer_changed"
    NEW_NUMBER = "new_number"
    LONGER = "longer"
    EMPTY_RESULT = "empty_result"
    WRONG_LANGUAGE = "wrong_language"
    # us
    INTERNAL_ERROR = "internal_error"  # A fault of this program on this row; the others go on


class Reject(Record):
    """A row that left the flow, and why."""

    id: str
    stage: str  # read, trace, choose, decompose, revise or verify
    reason: Reason
    detail: str  # One line for a person
    reply: str | None = None
    """What the teacher said last, where it said something; of the stage verify, all of R̂."""
    row: dict[str, Any] = Field(default_factory=dict)  # The input row
    usage: Usage = Usage()
