"""What is asked of a student and what it says: requests, completions, samplers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

from drp_plugin.llm.ledger import request_key
from drp_plugin.llm.messages import Message
from drp_plugin.records import Record

PAPER_STUDENT = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"
"""The paper's student (§4.1)."""
MAX_NEW_TOKENS = 131_072
"""The paper's generation limit (§4.2)."""

Finish = Literal["stop", "length", "cutoff", "loop"]
"""How a completion ended: the model stopped, the limit was reached, the protocol needed no more
(`stop_at_cutoff`), or it went round in circles (`stop_loops`)."""


class SampleRequest(Record):
    """One completion to be drawn. Equal requests to the same model have the same completion."""

    messages: tuple[Message, ...]
    temperature: float = 0.6
    """0 is greedy."""
    top_p: float = 0.95
    top_k: int | None = None
    max_new_tokens: int = MAX_NEW_TOKENS
    """A cap; the model's context can make it smaller."""
    cutoff: int | None = None
    """With `stop_at_cutoff`: stop after so many tokens, since the protocol reads no further."""
    stop_loops: bool = False
    """Stop where the tail has become periodic (`loops.period`)."""
    seed: int = 0

    @property
    def limit(self) -> int:
        """The most new tokens, context aside."""
        return self.max_new_tokens if self.cutoff is None else min(self.max_new_tokens, self.cutoff)


class Completion(Record):
    """What the student said."""

    text: str
    tokens: int
    """Tokens that the model generated, without the end-of-sequence token."""
    prompt_tokens: int
    finish: Finish


class Failed(Record):
    """A request that could not be answered; never an answer."""

    error: str


Outcome = Completion | Failed


class Sampler(Protocol):
    """An engine with a model in it."""

    identity: dict[str, Any]
    """Everything about the engine and the model that determines a completion, as JSON."""

    def sample(self, requests: Sequence[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        """Each request's index and outcome, in the order in which they finish."""
        ...


def derived_seed(base: int, *parts: Any) -> int:
    """A seed of 31 bits for one request, whatever the order of work."""
    text = "\0".join(str(part) for part in (base, *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def ledger_key(identity: dict[str, Any], request: SampleRequest) -> str:
    """The key under which a completion is stored."""
    return request_key({"sampler": identity, **request.model_dump(mode="json", exclude_none=True)})
