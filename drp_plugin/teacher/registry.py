"""From `kind:model` on the command line to a teacher."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from drp_plugin.errors import UserError
from drp_plugin.teacher.access import check_address, uses_vertex
from drp_plugin.teacher.base import Reply, Request, Teacher
from drp_plugin.teacher.limiter import Limiter
from drp_plugin.teacher.retry import Persistent, Retries

# the providers' libraries send requests to what these name, where no --base-url is given
_VARIABLES = {"openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}
_HOSTS = {"openai": "api.openai.com", "gemini": "googleapis.com"}
KINDS = "openai:MODEL, gemini:MODEL, vllm:PATH, offline, or earliest-correct"


def find_base_url(spec: str, given: str | None) -> str | None:
    """Where a teacher's requests go: `--base-url`, else its library's variable.

    None is the provider's own address.
    """
    variable = _variable(spec.partition(":")[0])
    return given if given is not None or variable is None else os.environ.get(variable) or None


def _variable(kind: str) -> str | None:
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


def make_teacher(spec: str, *, base_url: str | None = None, timeout_s: float = 600.0,
                 concurrency: int = 64, retries: Retries | None = None,
                 engine: dict[str, Any] | None = None) -> Teacher:
    """The teacher that `spec` names.

    `base_url` sends an `openai:` teacher to any compatible endpoint. `concurrency` is the most
    requests in flight, `engine` holds arguments of vLLM's engine. Raises UserError for an
    unknown teacher or a missing key.
    """
    kind, _, model = spec.partition(":")
    if engine and kind != "vllm":
        raise UserError("--engine-arg is for vllm:PATH alone", fix="Leave it out")
    if kind == "offline":
        from drp_plugin.teacher.offline import OfflineTeacher

        return OfflineTeacher()
    if spec == "earliest-correct":
        return NoTeacher()
    if kind not in ("openai", "gemini", "vllm"):
        raise UserError(f"unknown teacher {spec!r}", fix=f"Teachers are {KINDS}")
    if not model:
        raise UserError(f"teacher {spec!r} names no model", fix=f"Teachers are {KINDS}")
    if base_url is not None and kind == "vllm":
        raise UserError("--base-url is for servers; vllm:PATH runs in this process",
                        fix="Use openai:MODEL with --base-url for a vLLM server")
    if base_url is not None:
        check_address(base_url)
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise UserError(f"--base-url {base_url}: not an address",
                        fix=f"Give it as http://HOST:PORT/v1; without the option, the "
                            f"environment variable {_variable(kind)} has it")
    if kind == "vllm":
        from drp_plugin.teacher.vllm_local import VllmTeacher

        return VllmTeacher(model, concurrency=concurrency, engine=engine)
    persistent = Persistent(Limiter(concurrency), retries, timeout_s=timeout_s,
                            where=base_url or spec)
    if kind == "openai":
        from drp_plugin.teacher.openai_client import OpenAITeacher

        return OpenAITeacher(model, base_url=base_url, persistent=persistent)
    from drp_plugin.teacher.gemini_client import GeminiTeacher

    return GeminiTeacher(model, base_url=base_url, persistent=persistent)


class NoTeacher:
    """For ways of pruning that ask nobody."""

    name = "earliest-correct"

    async def ask(self, request: Request) -> Reply:
        raise AssertionError(f"{self.name} asks nothing")


def identity(teacher: Teacher) -> dict[str, Any]:
    """What of a teacher determines its answers, for the ledger's keys.

    Rules change from release to release as no API model does: they are known by the hash of
    their source.
    """
    given = getattr(teacher, "identity", None)
    if isinstance(given, dict):
        return given
    found: dict[str, Any] = {"kind": "local", "model": teacher.name}
    if teacher.name.startswith("offline"):
        digest = hashlib.sha256()
        for file in sorted(Path(__file__).parent.glob("offline*.py")):
            digest.update(file.read_bytes())
        found["rules"] = digest.hexdigest()[:16]
    return found
