"""Keys and addresses as users give them: looked at before anything is sent or stored."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from drp_plugin.errors import UserError

# the providers' libraries send requests to what these name, where no --base-url is given
_VARIABLES = {"openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}
_HOSTS = {"openai": "api.openai.com", "gemini": "googleapis.com"}
_SIGNED_IN = re.compile(r"(?:[a-z][a-z0-9+.-]*://)?[^/?#]*@", re.IGNORECASE)


def find_key(*variables: str) -> str | None:
    """The key in the first of these environment variables that holds one.

    White space around it, such as the newline of a file, is no part of it. Raises UserError,
    without the key, where it cannot stand in a request's headers.
    """
    for variable in variables:
        key = os.environ.get(variable, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise UserError(f"the environment variable {variable} holds no key: there are "
                            f"characters in it that no key has", fix="Set it again")
        if key:
            return key
    return None


def uses_vertex() -> bool:
    """Whether Google's library is told to go to Vertex AI."""
    return os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() in ("1", "true")


def check_address(url: str) -> None:
    """Raises UserError, without the password, for an address that holds one: addresses are
    stored and shown."""
    if _SIGNED_IN.match(url):
        raise UserError("--base-url: the address holds a user name or a password, and addresses "
                        "are stored", fix="Leave it out; a key is taken from the environment")


def find_base_url(spec: str, given: str | None) -> str | None:
    """Where a teacher's requests go: `--base-url`, else its library's variable.

    None is the provider's own address.
    """
    variable = base_url_variable(spec.partition(":")[0])
    return given if given is not None or variable is None else os.environ.get(variable) or None


def base_url_variable(kind: str) -> str | None:
    """The environment variable in which the library of a kind of teacher looks for its address."""
    vertex = kind == "gemini" and uses_vertex()
    return "GOOGLE_VERTEX_BASE_URL" if vertex else _VARIABLES.get(kind)


def is_official(spec: str, base_url: str | None) -> bool:
    """Whether an address is the provider's own, so that its list prices hold there."""
    own = _HOSTS.get(spec.partition(":")[0])
    if base_url is None or own is None:
        return base_url is None
    try:
        host = urlsplit(base_url).hostname or ""
    except ValueError:  # no address at all: `make_teacher` says so
        return False
    return host == own or host.endswith("." + own)
