"""Keys never leave the process: what can reach a person or a file passes through here."""

import base64
import functools
import html
import os
import re
import unicodedata

HIDDEN = "[key]"
_SHORTEST = 8  # Characters; what is shorter, such as a local server's `none`, is no key
_HOLDS_A_KEY = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)(?:_|$)",
                          re.IGNORECASE)
# what keys look like, also when the provider quotes only a part of one (sk-abc***xyz)
_LOOKS_LIKE_A_KEY = re.compile(
    r"\b(?:sk|sess|rk|pk)-[A-Za-z0-9_\-*.…]{6,}|\bAIza[A-Za-z0-9_\-*.…]{6,}|\bAQ\.[\w\-*]{8,}"
    r"|\bya29\.[\w\-.*]{8,}|\bhf_[A-Za-z0-9*]{8,}|(?i:\bbearer\s+)[\w\-.*~+/=]{6,}")
_IN_AN_ADDRESS = re.compile(
    r"(?<=//)[^\s/?#@\"']+(?=[@＠﹫])"
    # a login without a scheme; METHOD:MODEL[@RATIO] and METHOD:MODEL@0.5 are none
    r"|(?<![^\s/\"'(])[^\s/?#@:\"']+:[^\s/?#@\"']+(?<!\[)"
    r"(?=[@＠﹫](?!\d+(?:\.\d+)?(?!\w|[.:]\w))\S)"
    r"|(?<=[?&;])(?:[a-z]+[-_])*(?:api)?(?:key|token|secret|password|sig|code)=[^&\s\"'#]+",
    re.IGNORECASE)
_FOR_ADDRESSES = str.maketrans("+/", "-_")  # Base64's other alphabet
_BY_NUMBER = re.compile(r"%[\da-f]{2}|\\(?:u00|x)[\da-f]{2}|&#", re.IGNORECASE)
# what commands a terminal, or turns, hides or breaks the text around it; lines and tabs do not
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
    "|(?<![^\x00-\x7f\ufe00-\ufe0f])[\ufe00-\ufe0f]")  # One behind an emoji chooses its form

# what means something in a line of Markdown; a_b, 1.5 and -3 do not, but _a_, 1. and - do, and
# GitHub makes links of addresses
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^[#+=-](?=[#=\s-]|$)"
                     r"|(?<=:)/(?=/)|(?<=\bwww)\.", re.IGNORECASE)


def holds_a_secret(address: str) -> bool:
    """Whether an address, malformed or not, has a part that no honest one needs and that may be a
    password or a key: a login, `key=`, a port that is no number, what follows `#` on the web."""
    address = unicodedata.normalize("NFKC", address)  # ＠ counts as @
    scheme, _, rest = address.partition("://") if "://" in address else ("", "", address)
    host = re.sub(r"^\[[\da-f:.]*\]", "", re.split("[/?#]", rest)[0], flags=re.IGNORECASE)
    odd = "#" in rest or re.search(":[0-9]*[^0-9]", host)
    return "@" in host or bool(_IN_AN_ADDRESS.search(address)) or bool(
        odd and scheme.lower() in ("", "http", "https"))


def _known(keys: tuple[str | None, ...]) -> list[str]:
    held = {value.strip() for name, value in os.environ.items() if _HOLDS_A_KEY.search(name)}
    found = {k for k in (*keys, *held) if k and len(k) >= _SHORTEST and "/" not in k[:2]}
    return sorted(found, key=len, reverse=True)


def visible(text: str) -> str:
    """`text` with control characters, direction marks and the like by their codes."""
    return _UNSEEN.sub(lambda c: f"⟨U+{ord(c[0]):04X}⟩", text)


def markdown(text: object, limit: int = 1000) -> str:
    """`text` in one line that Markdown shows as it is: no markup, link, image or cell begins."""
    line = " ".join(visible(str(text)[:limit]).split())
    line = _MARKUP.sub(r"\\\g<0>", html.escape(line, quote=False))
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


@functools.cache
def _forms(key: str) -> tuple[frozenset[str], re.Pattern[str]]:
    """A key as it is, in hex, and in base64 at each place among other bytes; and what matches it
    with characters that are written by their numbers."""
    data, forms = key.encode("utf-8", "surrogateescape"), {key}
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data).decode()
        coded = coded[(before * 8 + 5) // 6:(before + len(data)) * 8 // 6]
        forms |= {coded, coded.translate(_FOR_ADDRESSES)}
    forms |= {data.hex(), data.hex().upper()}
    return frozenset(forms), re.compile("".join(
        rf"(?:{re.escape(c)}|(?i:%{ord(c):02x}|\\+(?:u00|x){ord(c):02x}|"
        rf"&#(?:0*{ord(c)}|x0*{ord(c):x});))" for c in key))


def hide(text: str, *keys: str | None) -> str:
    """`text` without these keys and those of the environment, however they are written."""
    for key in _known(keys):
        forms, numbered = _forms(key)
        for form in forms:
            text = text.replace(form, HIDDEN)
        if _BY_NUMBER.search(text):
            text = numbered.sub(HIDDEN, text)
    return text


def redact(text: str, *keys: str | None) -> str:
    """`text` in one line, without these keys, the environment's, what looks like one, or a key's
    beginning and end as providers quote them. Control characters are made visible."""
    text = hide(text, *keys)
    for key in _known(keys):
        text = re.sub(rf"{re.escape(key[:6])}[\w\-*.…]*{re.escape(key[-3:])}", HIDDEN, text)
    text = _IN_AN_ADDRESS.sub(HIDDEN, _LOOKS_LIKE_A_KEY.sub(HIDDEN, text))
    return visible(" ".join(text.split()))
