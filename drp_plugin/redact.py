"""Keys never leave the process: what can reach a person or a file passes through here."""

import html
import os
import re

HIDDEN = "[key]"
_SHORTEST = 8  # Characters; what is shorter, such as a local server's `none`, is no key
_HOLDS_A_KEY = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD)(?:_|$)",
                          re.IGNORECASE)
# what keys look like, also when the provider quotes only a part of one (sk-abc***xyz)
_LOOKS_LIKE_A_KEY = re.compile(
    r"\b(?:sk|sess|rk|pk)-[A-Za-z0-9_\-*.…]{6,}|\bAIza[A-Za-z0-9_\-*.…]{6,}|\bAQ\.[\w\-*]{8,}"
    r"|\bya29\.[\w\-.*]{8,}|\bhf_[A-Za-z0-9*]{8,}|(?i:\bbearer\s+)[\w\-.*~+/=]{6,}")
_IN_AN_ADDRESS = re.compile(
    r"(?<=//)[^\s/?#@\"']+(?=@)"
    # a login without a scheme; METHOD:MODEL[@RATIO] and METHOD:MODEL@0.5 are none
    r"|(?<![^\s/\"'(])[^\s/?#@:\"']+:[^\s/?#@\"']+(?<!\[)(?=@(?!\d+(?:\.\d+)?(?!\w|[.:]\w))\S)"
    r"|(?<=[?&;])(?:[a-z]+[-_])*(?:api)?(?:key|token|secret|password|sig|code)=[^&\s\"'#]+",
    re.IGNORECASE)
# what commands a terminal, or turns, hides or breaks the text around it; lines and tabs do not
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069"
                     "\ufeff\ufff9-\ufffb\ud800-\udfff]")

# what means something in a line of Markdown; a_b, 1.5 and -3 do not, but _a_, 1. and - do, and
# GitHub makes links of addresses
_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])|^[#+=-](?=[#=\s-]|$)"
                     r"|(?<=:)/(?=/)|(?<=\bwww)\.", re.IGNORECASE)


def holds_a_secret(address: str) -> bool:
    """Whether an address, malformed or not, holds a password or a key."""
    return bool(_IN_AN_ADDRESS.search(address))


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


def hide(text: str, *keys: str | None) -> str:
    """`text` without these keys and those of the environment."""
    for key in _known(keys):
        text = text.replace(key, HIDDEN)
    return text


def redact(text: str, *keys: str | None) -> str:
    """`text` in one line, without these keys, the environment's, what looks like one, or a key's
    beginning and end as providers quote them. Control characters are made visible."""
    text = hide(text, *keys)
    for key in _known(keys):
        text = re.sub(rf"{re.escape(key[:6])}[\w\-*.…]*{re.escape(key[-3:])}", HIDDEN, text)
    text = _IN_AN_ADDRESS.sub(HIDDEN, _LOOKS_LIKE_A_KEY.sub(HIDDEN, text))
    return visible(" ".join(text.split()))
