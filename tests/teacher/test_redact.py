"""Keys do not get out."""

from __future__ import annotations

import pytest

from drp_plugin.redact import HIDDEN, redact


@pytest.mark.parametrize("text", [
    "Incorrect API key provided: sk-proj-abcd1234efgh5678.",
    "Incorrect API key provided: sk-abcd**********************5678.",
    "key AIzaSyA-1234567890abcdefghijk is wrong",
    "https://host/v1?key=hunter2hunter2&x=1",
    "Authorization: Bearer abcdef.ghijkl-123456",
    "token ya29.a0AfH6SMBx-123456 expired",
])
def test_what_looks_like_a_key_is_hidden(text):
    clean = redact(text)
    assert HIDDEN in clean
    assert not any(s in clean for s in ("abcd", "AIza", "hunter2", "abcdef", "a0Af", "5678"))


def test_known_keys_are_hidden_whatever_they_look_like(monkeypatch):
    assert redact("the key plain-words-key failed", "plain-words-key") == "the key [key] failed"
    assert "plain" not in redact("got plain-****key", "plain-words-key")
    monkeypatch.setenv("GEMINI_API_KEY", "another secret")
    assert "another" not in redact("sent another secret there")


def test_ordinary_text_stays():
    text = "HTTP 429: Rate limit reached for gpt-4o on tokens per min: limit 30000, used 29000"
    assert redact(text) == text
    assert redact("two\nlines") == "two lines"
