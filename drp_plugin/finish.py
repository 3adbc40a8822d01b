"""Why a completion ended, under every name and spelling that providers, servers and tools use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Ending = Literal["stop", "length", "refusal", "error", "unknown"]
"""The model ended it; a limit cut it off; the model or a filter withheld it; it is no whole text
and must be asked for again; nothing is known."""

SPELLINGS: dict[Ending, frozenset[str]] = {
    "stop": frozenset((
        "stop", "eos", "eos_token", "eos_token_id", "end_turn", "stop_sequence", "stop_token",
        "stop_string", "stop_word", "complete", "completed", "end_of_text", "end_of_turn",
        "finish_reason_stop", "finished", "normal", "endoftext")),
    "length": frozenset((
        "length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_completion_tokens",
        "model_length", "max_length", "truncated", "incomplete", "limit", "token_limit",
        "model_context_window_exceeded", "finish_reason_max_tokens", "error_limit",
        # what our own samplers stop: the text goes on
        "cutoff", "loop")),
    "refusal": frozenset((
        "content_filter", "content_filtered", "guardrail_intervened", "refusal", "refused",
        "safety", "recitation", "blocklist", "prohibited_content", "spii", "language",
        "image_safety", "sensitive", "error_toxic", "finish_reason_safety",
        "finish_reason_recitation", "model_armor")),
    "error": frozenset((
        "error", "insufficient_system_resource", "network_error", "overloaded", "other", "abort",
        "aborted", "cancelled", "canceled", "timeout", "malformed_function_call",
        "unexpected_tool_call", "finish_reason_other", "pause_turn",
        # a call of a tool in place of an answer
        "tool_calls", "tool_call", "tool_use", "function_call")),
    "unknown": frozenset(("", "none", "null", "unknown", "unspecified",
                          "finish_reason_unspecified")),
}
NAMES = ("finish_reason", "finish", "finishReason", "finish_reasons", "stop_reason", "stopReason",
         "done_reason", "stop_type")
"""Fields in which it stands; the first that says something counts."""

_ENDINGS = {word: ending for ending, words in SPELLINGS.items() for word in words}


def ending(value: Any) -> Ending:
    """What a provider's word for the end of a completion means; `unknown` for a new word."""
    if not isinstance(value, str):
        return "unknown"
    # an enumeration's name: FinishReason.STOP
    return _ENDINGS.get(value.strip().rpartition(".")[2].lower().replace("-", "_"), "unknown")


def told(row: Mapping[str, Any]) -> Any:
    """What a row or choice itself says of its end, as it is written there; None where nothing."""
    said = [row[name] for name in NAMES if row.get(name) not in (None, "", [])]
    # vLLM's `stop_reason` is the stop token, its `finish_reason` the word
    return next((value for value in said if isinstance(value, list) or ending(value) != "unknown"),
                said[0] if said else None)


def ended(value: Any) -> bool | None:
    """Whether the model itself ended the completion; None where that is not known."""
    found = ending(value)
    return None if found == "unknown" else found == "stop"
