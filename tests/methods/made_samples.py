"""Samples of a question, made to measure."""

from __future__ import annotations

from typing import Any


def sample(id_: str, sentences: int, *, answer: str = "5", gold: str | None = "5",
           question: str = "How many are 2 and 3?") -> dict[str, Any]:
    """A trace of so many sentences of hesitation."""
    thought = "".join(f"Let me look at this again for time {k}. " for k in range(sentences))
    return {"id": id_, "question": question, "answer": gold, "dataset": "gsm8k", "response":
            f"<think>\n{thought}2 + 3 = {answer}. So the answer is {answer}.\n</think>\n\n"
            f"There are {answer}.\n\n**Answer:** \\boxed{{{answer}}}"}
