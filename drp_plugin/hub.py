"""Whether a model is available, within seconds: hub clients retry for minutes."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

WAIT_S = 4.0


def reachable() -> bool:
    """Whether the hub (or the proxy on the way to it) takes a connection."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    parts = urlsplit(constants.ENDPOINT)
    parts = urlsplit(getproxies().get(parts.scheme) or constants.ENDPOINT)
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        with socket.create_connection((parts.hostname or "", port), timeout=WAIT_S):
            return True
    except (OSError, ValueError):
        return False


def looks_local(model: str) -> bool:
    return model.startswith((".", "/", "~")) or os.sep * 2 in model or model.count("/") != 1


def missing(model: str, revision: str | None = None) -> str | None:
    """Why the weights of `model` are not available here, or None if they are."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return None if (folder / "config.json").is_file() else f"{model} holds no config.json"
    if looks_local(model):
        return f"there is no folder {model}"
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
        return None
    return None if reachable() else (
        f"the weights of {model} are neither in the hub cache nor can the hub be reached")
