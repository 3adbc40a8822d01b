"""Keys and addresses as users give them, checked before anything is sent or stored."""

import os
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from drp_plugin.errors import UserError
from drp_plugin.redact import holds_a_secret

# the providers' libraries send requests to what these name, where no --base-url is given
_VARIABLES = {"openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL",
              "azure": "AZURE_OPENAI_ENDPOINT"}
SEVERAL = "several servers"  # In place of their addresses, as servers of a model come and go
_HOSTS = {"openai": "api.openai.com", "gemini": "googleapis.com"}


def find_key(*variables: str) -> str | None:
    """The key in the first of these environment variables that holds one, without white space
    around it. Raises UserError, without the key, where it cannot stand in a request's headers."""
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            if key.isascii() and key.isprintable():
                return key
            raise UserError(f"the environment variable {variable} holds no key: there are "
                            "characters in it that no key has", fix="Set it again")
    return None


def uses_vertex() -> bool:
    """Whether Google's library is set to use Vertex AI."""
    return os.environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() in ("1", "true")


def check_address(url: str, *, option: str = "--base-url", variable: str | None = None) -> None:
    """Raises UserError, without the secret part, for anything that is not an address or holds a
    password or a key: addresses are stored and shown."""
    if holds_a_secret(url):
        raise UserError(f"{option}: an address may hold no user name, no password, no key, no port "
                        "that is not a number, and nothing behind #: addresses are stored",
                        fix="Leave it out; a key is taken from the environment")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # an invalid port raises
        good = parts.scheme in ("http", "https") and host and len(host) <= 253 and \
            all(0 < len(label) < 64 for label in host.rstrip(".").split("."))  # RFC 1035
    except ValueError:
        good = False
    if not good:
        shown = re.sub(r"^((?:\w+:)?/*[\w.-]{0,80}).+", r"\1…", url)  # the rest may be secret
        without = variable and f"; without the option, the environment variable {variable} has it"
        raise UserError(f"{option} {shown}: not an address",
                        fix=f"Give it as http://HOST:PORT/v1{without or ''}")


def client_address(url: str | None) -> dict[str, Any]:
    """The `openai` library's arguments for an address: its query (`?api-version=…`) goes with
    every request, where the library would put the path behind it."""
    if url is None:
        return {"base_url": None}
    parts = urlsplit(url)
    return {"base_url": urlunsplit(parts._replace(query="", fragment="")),
            "default_query": dict(parse_qsl(parts.query, keep_blank_values=True)) or None}


def azure_address(url: str) -> tuple[str, str]:
    """Endpoint and version of the interface in an Azure address: what the portal shows goes on with
    `/openai/…?api-version=…`. The version is empty where there is none."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    return urlunsplit(parts._replace(path=parts.path.partition("/openai")[0], query="",
                                     fragment="")), query.get("api-version", "")


def find_base_url(spec: str, given: str | None = None) -> str | None:
    """`--base-url`, else what its library's variable says; None for the provider's own address."""
    variable = base_url_variable(spec.partition(":")[0])
    return os.environ.get(variable) or None if given is None and variable else given


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
        return f".{urlsplit(base_url).hostname}".endswith("." + own)
    except ValueError:  # not an address: `make_teacher` reports it
        return False
