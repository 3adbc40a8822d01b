"""The reward: 1 for a correct answer within the length limit, else 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from drp_plugin.grading import grade


class Decoder(Protocol):
    """The part of a tokenizer that the reward needs."""

    eos_token_id: int | None

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str: ...


def reward_of(text: str, gold: str, dataset: str | None, ended: bool) -> float:
    """1 when the answer after `</think>` is boxed or stated and equals the gold one, else 0.

    A completion that was cut in its thinking has no answer, so the limit presses by itself. A
    number that merely comes last is no answer here: the policy would learn to guess.
    """
    found = grade(text, gold, dataset, ended=ended)
    return float(found.correct and found.how in ("boxed", "stated"))


def length_limited_reward(tokenizer: Decoder, limit: int) -> Callable[..., list[float]]:
    """TRL's reward function for one stage.

    It reads the ids rather than TRL's text, from which special tokens are gone: `</think>` is
    one in some tokenizers. Ids beyond `limit` do not count.
    """

    def reward(completion_ids: Sequence[Sequence[int]], answer: Sequence[str],
               dataset: Sequence[str | None] | None = None, **_: Any) -> list[float]:
        values = []
        for i, ids in enumerate(completion_ids):
            kept = list(ids[:limit])
            end = tokenizer.eos_token_id
            ended = end is not None and end in kept
            if end is not None and ended:
                kept = kept[:kept.index(end)]
            text = tokenizer.decode(kept, skip_special_tokens=False)
            values.append(reward_of(text, answer[i], dataset[i] if dataset else None, ended))
        return values

    reward.__name__ = f"correct_within_{limit}"
    return reward
