"""Keys never leave the process: all that can reach a person or a file passes through here."""

import base64
import functools
import html
import os
import re
import unicodedata
from urllib.parse import unquote

from drp_plugin.resources import table

HIDDEN = "[key]"
_SHORTEST = 8  # Characters; anything shorter, such as a local server's `none`, is not a key
_NAMES, _KEYS, _ADDRESSES, UNSEEN, _MARKUP = (
    re.compile("|".join(parts)) for parts in table("redact.yaml").values())
# in a proxy's address, for example; the scheme may be missing
_LOGINS = re.compile(r"(?m)(?://|^(?=[^/@\n]*:))([^/\s]+)@")
_BY_NUMBER = re.compile(r"%[\da-f]{2}|\\(?:u00|x)[\da-f]{2}|&#", re.IGNORECASE)


def holds_a_secret(address: str) -> bool:
    """Whether an address, malformed or not, has a part that no honest one needs and that may be a
    password or a key: a login, `key=`, a port that is no number, what follows `#` on the web."""
    address = unicodedata.normalize("NFKC", address)  # ＠ counts as @
    scheme, _, rest = address.partition("://") if "://" in address else ("", "", address)
    host = re.sub(r"^\[[\da-f:.]*\]", "", re.split("[/?#]", rest)[0], flags=re.IGNORECASE)
    odd = "#" in rest or re.search(":[0-9]*[^0-9]", host)
    return "@" in host or bool(_ADDRESSES.search(address)) or bool(
        odd and scheme.lower() in ("", "http", "https"))


def _known(keys: tuple[str | None, ...]) -> list[str]:
    held = {value.strip() for name, value in os.environ.items() if _NAMES.search(name)}
    for login in _LOGINS.findall("\n".join(os.environ.values())):
        for text in (login, unquote(login)):
            held |= {text, text.partition(":")[2]}
    found = {k for k in (*keys, *held) if k and len(k) >= _SHORTEST and "/" not in k[:2]}
    return sorted(found, key=len, reverse=True)


def visible(text: str) -> str:
    """`text` with control characters, direction marks and the like as codes."""
    return UNSEEN.sub(lambda c: f"⟨U+{ord(c[0]):04X}⟩", text)


def markdown(text: object, limit: int = 1000) -> str:
    """`text` in one line that Markdown shows as it is: no markup, link, image or cell begins."""
    line = " ".join(visible(str(text)[:limit]).split())
    line = _MARKUP.sub(r"\\\g<0>", html.escape(line, quote=False))
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


@functools.cache
def _forms(key: str) -> tuple[frozenset[str], re.Pattern[str]]:
    """A key as it is, in hex, in base64 at each offset; and a pattern of it in numbers."""
    data, forms = key.encode("utf-8", "surrogateescape"), {key}
    for before in range(3):
        coded = base64.b64encode(bytes(before) + data).decode()
        coded = coded[(before * 8 + 5) // 6:(before + len(data)) * 8 // 6]
        forms |= {coded, coded.replace("+", "-").replace("/", "_")}  # for addresses, too
    forms |= {data.hex(), data.hex().upper()}
    return frozenset(forms), re.compile("".join(
        rf"(?:{re.escape(c)}|(?i:%{ord(c):02x}|\\+(?:u00|x){ord(c):02x}|"
        rf"&#(?:0*{ord(c)}|x0*{ord(c):x});))" for c in key))


def hide(text: str, *keys: str | None) -> str:
    """`text` without these keys and the environment's, in every encoding of `_forms`."""
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
        text = re.sub(rf"(?i){re.escape(key[:6])}[\w\-*.…]*{re.escape(key[-3:])}", HIDDEN, text)
    text = _ADDRESSES.sub(HIDDEN, _KEYS.sub(HIDDEN, text))
    return visible(" ".join(text.split()))
