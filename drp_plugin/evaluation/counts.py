"""What a model tells the task beside the text: exact token counts and how the completion ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lmms_eval.api.instance import TokenCounts


@dataclass
class Counts(TokenCounts):
    """lmms-eval's counters, which land in the samples file, with more of them."""

    finish: str | None = None
    """`sampling.completions.Finish` of the scored completion."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the model that bear on the result: cap, early stopping, adapter."""
    tokenizer: str | None = None
    """Folder or hub name of the model's tokenizer."""
    rounds: tuple[int, ...] = ()
    """Tokens of earlier rounds, for prompts in several rounds."""

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = super().to_dict()
        if self.finish is not None:
            told["finish"] = self.finish
        if self.rounds:
            told["rounds"] = list(self.rounds)
        return told
