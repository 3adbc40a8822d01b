"""Text that others wrote, made fit for a page or a table."""

from __future__ import annotations

import re

_HEAD, _TAIL = 1_500, 2_500
#: Characters that reorder, hide or break the text around them.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069"
                     "\ufeff\ufff9-\ufffb\ud800-\udfff]")


def shown(text: str, limit: int = _HEAD + _TAIL) -> str:
    """Text for a page: long ones without their middle, unseen characters by their code."""
    if len(text) > limit:
        head = limit * _HEAD // (_HEAD + _TAIL)
        cut = len(text) - limit
        text = f"{text[:head]} […{cut:,} characters…] {text[len(text) - (limit - head):]}"
    return _UNSEEN.sub(lambda m: f"⟨U+{ord(m.group()):04X}⟩", text)
