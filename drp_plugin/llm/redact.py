"""Keys never leave the process: every text that comes from a provider passes through here."""

from __future__ import annotations

import os
import re

KEY_VARIABLES = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")
HIDDEN = "[key]"
# what keys look like, also when the provider quotes only a part of one (sk-abc***xyz)
_LOOKS_LIKE_A_KEY = re.compile(
    r"\b(?:sk|sess|rk|pk)-[A-Za-z0-9_\-*.…]{6,}|\bAIza[A-Za-z0-9_\-*.…]{6,}|\bAQ\.[\w\-*]{8,}"
    r"|\bya29\.[\w\-.*]{8,}|(?i:\bbearer\s+)[\w\-.*~+/=]{6,}|(?<=[?&]key=)[^&\s\"']+")


def redact(text: str, *keys: str | None) -> str:
    """`text` in one line, without any of these keys, the environment's, or what looks like one.

    A key's long pieces are hidden too: providers quote the beginning and the end.
    """
    known = [k for k in (*keys, *(os.environ.get(v) for v in KEY_VARIABLES)) if k and len(k) >= 6]
    for key in sorted(known, key=len, reverse=True):
        text = text.replace(key, HIDDEN)
        text = re.sub(rf"{re.escape(key[:6])}[\w\-*.…]*{re.escape(key[-3:])}", HIDDEN, text)
    return " ".join(_LOOKS_LIKE_A_KEY.sub(HIDDEN, text).split())
