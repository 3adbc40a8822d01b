"""Why a completion ended, under every name and spelling that providers, servers and tools use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

Ending = Literal["stop", "length", "refusal", "error", "unknown"]
"""The model ended it; a limit cut it off; the model or a filter withheld it; it is no whole text
and must be asked for again; nothing is known."""

SPELLINGS: dict[Ending, list[str]] = yaml.safe_load(
    (Path(__file__).parent / "data" / "endings.yaml").read_text("utf-8"))
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
