"""lmms-eval's messages as ours."""

from __future__ import annotations

from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.messages import Message


def messages_of(turns: Any) -> tuple[Message, ...]:
    """Messages whose content is a list of parts. Raises UserError for images and sound."""
    made = []
    for turn in turns:
        parts = turn["content"]
        if isinstance(parts, str):
            parts = [{"type": "text", "text": parts}]
        if any(part["type"] != "text" for part in parts):
            raise UserError("the task shows images or sound, and this model reads text alone",
                            fix="Take a text task such as drp_gsm8k")
        made.append(Message(role=turn["role"], content="".join(part["text"] for part in parts)))
    return tuple(made)
