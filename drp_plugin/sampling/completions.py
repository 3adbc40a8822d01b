"""A student's requests and completions, and the samplers."""

import abc
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from drp_plugin.llm.ledger import request_key
from drp_plugin.llm.messages import Message
from drp_plugin.records import Record

PAPER_STUDENT = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B"  # §4.1
MAX_NEW_TOKENS = 131_072  # The paper's generation limit (§4.2)

Finish = Literal["stop", "length", "cutoff", "loop"]
"""How a completion ended: the model stopped, the limit was reached, the protocol needed no more
(`stop_at_cutoff`), or it went round in circles (`stop_loops`)."""


class SampleRequest(Record):
    """One completion to be drawn. Equal requests to the same model have the same completion."""

    messages: tuple[Message, ...]
    temperature: float = 0.6  # 0 is greedy
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int | None = None
    max_new_tokens: int = MAX_NEW_TOKENS  # A cap; the model's context can make it smaller
    cutoff: int | None = None  # with `stop_at_cutoff`: so many tokens, and one more, are drawn
    thinking_budget: int | None = None  # Only for a sampler that `ends_thinking`
    stop_loops: bool = False  # Stop where the tail has become periodic (`loops.token_period`)
    seed: int = 0

    @property
    def limit(self) -> int:
        """The most new tokens, context aside: one more than the cutoff, since a completion of
        just so many tokens that ends there by itself is whole."""
        return min(self.max_new_tokens, self.max_new_tokens if self.cutoff is None
                   else self.cutoff + 1)

    def key(self, identity: dict[str, Any]) -> str:
        """The key under which a sampler of this identity's completion is stored."""
        return request_key({"sampler": identity, **self.model_dump(mode="json", exclude_none=True)})

    def cut(self, tokens: int) -> Finish:
        """How a completion ended that had not stopped by itself after so many tokens."""
        return "cutoff" if self.cutoff is not None and tokens > self.cutoff else "length"


class Completion(Record):
    """A student's completion."""

    text: str
    tokens: int  # Tokens that the model generated, without the end-of-sequence token
    prompt_tokens: int
    finish: Finish


class Failed(Record):
    """A request that could not be answered; never an answer."""

    error: str
    reason: Literal["engine", "too_long"] = "engine"  # or no room in the context, at any time

    @classmethod
    def too_long(cls, prompt: int, context: int) -> "Failed":
        return cls(error=f"the prompt has {prompt} tokens and the model's context {context}",
                   reason="too_long")


Outcome = Completion | Failed
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)  # Reads an outcome from its JSON


class Sampler(abc.ABC):
    """An engine with a model in it."""

    identity: dict[str, Any]  # all that determines a completion, of engine and model, as JSON

    @abc.abstractmethod
    def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
        """Each request's index and outcome, as they finish; requests are taken one by one."""

    def ends_thinking(self) -> bool:
        """Have the engine obey `SampleRequest.thinking_budget` by itself; False if it cannot."""
        return False

    def status(self) -> str:
        """What is out, and what is waited for, in a few words; empty where nothing is."""
        return ""

    def stop(self) -> bool:
        """In a signal handler: begin nothing new, so that `sample` ends; False if it cannot."""
        return False
