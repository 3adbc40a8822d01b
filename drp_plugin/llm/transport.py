"""The connections to every provider: where they may lead, and how much may come over them."""

from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.retry import Transient
from drp_plugin.redact import redact

LONGEST_BODY = 32 * 2 ** 20  # Bytes, unpacked: many times what a model's longest text takes


async def _stays(response: Any) -> None:
    """Refuse redirects to another host, which would get the request and perhaps the key."""
    if not response.has_redirect_location:
        return
    here, there = response.url, response.url.join(response.headers["location"])
    if (here.host, here.port) != (there.host, there.port) or here.scheme > there.scheme:
        raise Transient(f"the server sends requests on to {redact(str(there))[:160]}",
                        unreachable=True, fix="Nothing was sent there. Give it as --base-url if "
                                              "it is the model's server")


async def _bounded(response: Any) -> None:
    """Read a reply's body piece by piece, up to the limit; batches' files go to the disk."""
    if response.request.url.path.endswith(("/content", ":download")):
        return
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > LONGEST_BODY:
            await response.aclose()
            raise Transient(f"the reply is longer than {LONGEST_BODY >> 20} MiB")
    response._content = b"".join(parts)  # where the library's own `aread` puts it


def http_client() -> Any:
    """The openai library's aiohttp transport, which takes half the CPU of its other one. Raises
    UserError where what the environment says of certificates or proxies cannot be used."""
    from openai import DefaultAioHttpClient

    try:
        return DefaultAioHttpClient(event_hooks={"response": [_stays, _bounded]})
    except Exception as error:  # OpenSSL's, or one whose text may hold a proxy's password
        what = f"certificates (SSL_CERT_FILE, SSL_CERT_DIR; {error.strerror})" \
            if isinstance(error, OSError) else "proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)"
        raise UserError(f"the environment names {what} that cannot be used",
                        fix="Correct the variable, or unset it") from None
