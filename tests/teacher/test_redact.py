"""Keys do not get out."""

from __future__ import annotations

import base64
import json
import re
import sys
import unicodedata
from importlib import resources
from urllib.parse import quote

import pytest

from drp_plugin import mathml
from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import check_address
from drp_plugin.redact import HIDDEN, hide, redact, visible


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
    assert "PLAIN" not in redact("got PLAIN-WORDS-KEY", "plain-words-key")
    monkeypatch.setenv("GEMINI_API_KEY", "another secret")
    assert "another" not in redact("sent another secret there")


def test_ordinary_text_stays():
    text = "HTTP 429: Rate limit reached for gpt-4o on tokens per min: limit 30000, used 29000"
    assert redact(text) == text
    assert redact("two\nlines") == "two lines"


@pytest.mark.parametrize("variable", ["TOGETHER_API_KEY", "HF_TOKEN", "AZURE_OPENAI_API_KEY",
                                      "AZURE_CLIENT_SECRET", "WANDB_API_KEY", "MY_SECRET_TOKEN"])
def test_every_key_of_the_environment_is_hidden_wherever_text_leaves(monkeypatch, variable):
    monkeypatch.setenv(variable, " swordfish-9a8b7c\n")
    assert "swordfish" not in redact("got swordfish-9a8b7c, or swor***b7c")
    assert hide("a\n  swordfish-9a8b7c\n") == f"a\n  {HIDDEN}\n"
    assert "swordfish" not in str(UserError("no: swordfish-9a8b7c", file="/swordfish-9a8b7c/x"))


def test_what_is_no_key_is_not_hidden(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/home/user/key.json")
    assert hide("none of it is false: /home/user/key.json") == \
        "none of it is false: /home/user/key.json"


@pytest.mark.parametrize("address", [
    "https://user:hunter2@h/v1", "http:/user:hunter2@h", "user:hunter2@h:80/v1",
    "https://h/v1?api-version=1&api-key=hunter2", "http//h/v1?key=hunter2", "h?token=hunter2#x",
    "https://h/v1?access_token=hunter2", "http://h?subscription-key=hunter2", "://u:hunter2@h",
    "https://user:hunter2＠h/v1", "u:hunter2﹫h", "https://hunter2＠h/v1"])
def test_addresses_with_secrets_are_refused_and_not_repeated(address):
    assert "hunter2" not in redact(f"cannot reach {address}: no")
    with pytest.raises(UserError, match="--base-url") as caught:
        check_address(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", [
    "https://h/v1#hunter2", "http:/h#hunter2", "h/v1#hunter2", "https://h/v1＃hunter2",
    "https://h/a://b#hunter2", "https://h:hunter2/v1", "h:hunter2", "https://[::1]:hunter2/v1",
    "https://h：hunter2/v1", "https://h:80hunter2", "http://h/v1?x=1#hunter2",
    "http:/h:hunter2/v1", "https://h..b/hunter2", "http://[::1:hunter2"])
def test_what_may_be_a_secret_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(UserError, match="--base-url") as caught:
        check_address(address)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["It is spelled entropy:MODEL[@RATIO]", "perplexity:qwen@0.5: no",
                                  "random:1 and pir:m@1"])
def test_a_method_with_its_model_and_ratio_is_no_login(text):
    assert redact(text) == text


@pytest.mark.parametrize("login", ["u:hunter2@10.0.0.1", "u:hunter2@h", "u:hunter2@0.5.h:80",
                                   "(u:hunter2@9000:80)"])
def test_a_login_without_a_scheme_is_hidden(login):
    assert "hunter2" not in redact(f"no answer from {login}")


@pytest.mark.parametrize("address", ["https://h.openai.azure.com/openai/v1?api-version=preview",
                                     "http://127.0.0.1:8000/v1", "http://[::1]:80/v1",
                                     "http://h.example:80", "https://h/v1/a@b:c"])
def test_honest_addresses_pass(address):
    check_address(address)
    assert redact(f"at {address}") == f"at {address}"


ODD = "Sw0rd+fish/9a8b7c~x"
FORMS = {
    "base64": lambda key: base64.b64encode(key),
    "a login in base64": lambda key: base64.b64encode(b"u:" + key + b"\n"),
    "another place in base64": lambda key: base64.b64encode(b"k=" + b"u" + key + b"!"),
    "base64 of addresses": lambda key: base64.urlsafe_b64encode(key).rstrip(b"="),
    "hex": lambda key: key.hex().encode(),
    "percent": lambda key: quote(key, safe="").encode(),
    "percent, every character": lambda key: b"".join(b"%%%02X" % c for c in key),
    "percent, small": lambda key: b"".join(b"%%%02x" % c for c in key),
    "percent, one": lambda key: key[:3] + b"%%%02x" % key[3] + key[4:],
    "JSON": lambda key: b"".join(b"\\u%04x" % c for c in key),
    "JSON in JSON": lambda key: b"".join(b"\\\\u%04X" % c for c in key),
    "JSON, one": lambda key: key[:5] + b"\\u%04x" % key[5] + key[6:],
    "a program's": lambda key: b"".join(b"\\x%02x" % c for c in key),
    "HTML": lambda key: b"".join(b"&#%d;" % c for c in key),
    "HTML, hex": lambda key: b"".join(b"&#x%04X;" % c for c in key),
}


@pytest.mark.parametrize(("form", "key"), [
    *((form, key) for form in FORMS for key in (ODD, "plainswordfish", "sk-proj-" + "aB3_" * 30)),
    *((form, "kéy-of-another-tongue") for form in ("base64", "a login in base64", "hex"))])
def test_a_key_is_hidden_however_it_is_written(monkeypatch, form, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    written = FORMS[form](key.encode()).decode()
    for clean in (hide(f"<{written}>"), redact(f"got <{written}>"), hide(f"{{{written}}}", key)):
        assert HIDDEN in clean
        assert len(clean) < 24, "no more than a letter or two at its ends"


def test_texts_like_a_coded_key_stay(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", ODD)
    text = r"50\% of \upsilon is \u0041, %41 or &#65;, \x41, U3cwcmQ= and 53773072"
    assert hide(text) == text == redact(text)


def test_nothing_of_a_server_writes_to_the_terminal():
    assert redact("\x1b]0;title\x07 \x9b31m") == "⟨U+001B⟩]0;title⟨U+0007⟩ ⟨U+009B⟩31m"


VISIBLE_FORMATS = [*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD,
                   *range(0x13430, 0x13440)]
"""Signs of Arabic, Syriac, Kaithi and Egyptian that are drawn."""


UNSEEN = [c for c in map(chr, range(sys.maxunicode + 1)) if c not in "\n\t" and (
    unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") or 0xE0000 <= ord(c) < 0xE1000)
    and ord(c) not in VISIBLE_FORMATS] + ["\u034f", "\u115f", "\u3164", "\uffa0"]


def test_what_nobody_sees_is_shown_by_its_number():
    assert len(UNSEEN) > 6000
    for c in UNSEEN:
        assert visible(f"a{c}b") == f"a⟨U+{ord(c):04X}⟩b"


def test_the_pages_show_the_same():
    """Their scripts begin with the same characters, in JavaScript's spelling."""
    page = resources.files("drp_plugin").joinpath("report/browser.html")
    script = mathml.framed(page, title="")[1]
    found = re.search(r'^<script>const UNSEEN = new RegExp\((".*"), "u"\);', script)
    pattern = re.sub(r"\\u\{(\w+)\}", lambda m: chr(int(m[1], 16)), json.loads(found[1]))
    shown = {c for c in map(chr, range(sys.maxunicode + 1)) if re.fullmatch(pattern, c)}
    assert shown == {c for c in map(chr, range(sys.maxunicode + 1)) if visible(c) != c}


@pytest.mark.parametrize("text", ["é ∑ √2 ≤ 日本語 \xa0 \u3000", "❤\ufe0f ☺\ufe0e", "line\n\ttab",
                                  "e\u0301", "\U0001f44d\U0001f3fd"])
def test_what_is_seen_stays(text):
    assert visible(text) == text


def test_a_text_in_variation_selectors_is_seen():
    assert visible("❤\ufe0f\ufe01\ufe02x\ufe03") == "❤\ufe0f⟨U+FE01⟩⟨U+FE02⟩x⟨U+FE03⟩"
