"""The length of a training row, as LLaMA-Factory lays it out."""

from __future__ import annotations

from collections.abc import Callable

from drp_plugin.training.templates import Family

Count = Callable[[str], int]
"""Text to number of tokens, none added: `drp_plugin.tokens.TokenCounter.count`."""


def row_tokens(count: Count, layout: Family, question: str, response: str) -> int:
    """Tokens of one training row: prompt, response and end token."""
    return count(layout.prompt(question)) + count(response + layout.end)
