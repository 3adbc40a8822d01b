"""Keys and addresses as users give them: looked at before anything is sent or stored."""

from __future__ import annotations

import os
import re

from drp_plugin.errors import UserError

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
