"""Why a completion ended, under every name and spelling that providers, servers and tools use."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from drp_plugin.resources import layouts

Ending = Literal["stop", "length", "refusal", "error", "unknown"]
"""The model ended it; a limit cut it off; the model or a filter withheld it; it is no whole text
and must be asked for again; nothing is known."""


@lru_cache(maxsize=1)
def _endings() -> dict[str, Ending]:
    return {word: ending for ending, words in layouts("endings").items() for word in words}


def ending(value: Any) -> Ending:
    """What a provider's word for the end of a completion means; `unknown` for a new word."""
    if isinstance(value, dict):  # SGLang's: {"type": "stop", "matched": 2}
        value = value.get("type")
    if not isinstance(value, str):
        return "unknown"
    # an enumeration's name: FinishReason.STOP
    return _endings().get(value.strip().rpartition(".")[2].lower().replace("-", "_"), "unknown")


def told(row: Mapping[str, Any]) -> Any:
    """What a row or choice itself says of its end, as it is written there; None where nothing."""
    inside = [part for name in layouts("end_holders") if isinstance(part := row.get(name), dict)]
    said = [part[name] for part in (row, *inside) for name in (
        *layouts("end_fields"), *["reason"] * (part is not row)) if part.get(name)]
    # vLLM's `stop_reason` is the stop token, its `finish_reason` the word
    return next((value for value in said if isinstance(value, list) or ending(value) != "unknown"),
                said[0] if said else None)


def ended(value: Any) -> bool | None:
    """Whether the model itself ended the completion; None where that is not known."""
    found = ending(value)
    return None if found == "unknown" else found == "stop"
