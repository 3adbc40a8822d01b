"""From `kind:model` on the command line to a teacher."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError
from drp_plugin.llm.addresses import SEVERAL, base_url_variable, check_address, is_official
from drp_plugin.llm.limiter import Limiter
from drp_plugin.llm.messages import Sampling, Teacher
from drp_plugin.llm.prices import Price, find_price
from drp_plugin.llm.retry import Persistent, Retries

KINDS = ("openai:MODEL, azure:DEPLOYMENT, gemini:MODEL, vllm:PATH, offline, offline:QUALITY, or a "
         "method of `drp prune --help`")


@dataclass(frozen=True)
class TeacherSettings:
    """The values of the shared options."""

    teacher: str
    base_urls: tuple[str, ...] = ()
    """Where requests go: the options, else the environment's; empty for the provider's own."""
    sampling: Sampling = field(default_factory=Sampling)
    concurrency: int = 64
    timeout_s: float = 600.0
    retries: int = 7
    price: str | None = None
    prices: Path | None = None
    engine: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Teacher:
        """The teacher. Raises UserError."""
        made = [make_teacher(self.teacher, base_url=url, timeout_s=self.timeout_s,
                             concurrency=self.concurrency, engine=self.engine,
                             retries=Retries(attempts=self.retries + 1))
                for url in self.base_urls or (None,)]
        if len(made) == 1:
            return made[0]
        from drp_plugin.llm.openai_client import OpenAITeacher, SharedTeacher

        servers = [teacher for teacher in made if isinstance(teacher, OpenAITeacher)]
        if len(servers) < len(made):
            raise UserError(f"teacher {self.teacher} takes one --base-url at most",
                            fix="Several are for openai:MODEL")
        return SharedTeacher(servers)

    @property
    def active(self) -> int:
        """Rows in work at a time, so that every server has `concurrency` requests."""
        return self.concurrency * max(1, len(self.base_urls))

    def find_price(self, teacher: Teacher) -> Price | None:
        return find_price(teacher.name, override=self.price, file=self.prices,
                          hosted=self._official, local=teacher.local)

    @property
    def _official(self) -> bool:
        return all(is_official(self.teacher, url) for url in self.base_urls or (None,))

    @property
    def endpoint(self) -> str | None:
        """The address for the run's settings: None for OpenAI's own server, however named."""
        if len(self.base_urls) > 1:
            return SEVERAL
        own = self.teacher.startswith("openai:") and self._official
        return None if own else next(iter(self.base_urls), None)


def _quality(text: str) -> float:
    """The rule teacher's share of judgements without a mistake. Raises UserError."""
    with contextlib.suppress(ValueError):
        if 0 < (quality := float(text)) <= 1:
            return quality
    raise UserError(f"teacher offline:{text}: not a number over 0 and up to 1",
                    fix="It is the share of the rules' judgements that stay, such as 0.9")


def make_teacher(spec: str, *, base_url: str | None = None, timeout_s: float = 600.0,
                 concurrency: int = 64, retries: Retries | None = None,
                 engine: dict[str, Any] | None = None) -> Teacher:
    """The teacher that `spec` names. `base_url` sends an `openai:` teacher to any compatible
    endpoint (an `azure:` one to a resource). `concurrency` is the most requests in flight, `engine`
    holds arguments of vLLM's engine. Raises UserError for an unknown teacher or a missing key."""
    kind, _, model = spec.partition(":")
    if engine and kind != "vllm":
        raise UserError("--engine-arg is for vllm:PATH alone", fix="Leave it out")
    if kind == "offline":
        from drp_plugin.teachers.offline import OfflineTeacher

        return OfflineTeacher(quality=_quality(model) if model else 1.0)
    known = kind in ("openai", "azure", "gemini", "vllm")
    if not known or not model:
        raise UserError(f"teacher {spec!r} names no model" if known else
                        f"unknown teacher {spec!r}", fix=f"Teachers are {KINDS}")
    if base_url is not None:
        if kind == "vllm":
            raise UserError("--base-url is for servers; vllm:PATH runs in this process",
                            fix="Use openai:MODEL with --base-url for a vLLM server")
        check_address(base_url, variable=base_url_variable(kind))
    if kind == "vllm":
        from drp_plugin.teachers.vllm_local import VllmTeacher

        return VllmTeacher(model, concurrency=concurrency, engine=engine)
    persistent = Persistent(Limiter(concurrency), retries, timeout_s=timeout_s,
                            where=base_url or spec)
    if kind in ("openai", "azure"):
        from drp_plugin.llm.openai_client import AzureTeacher, OpenAITeacher

        remote = OpenAITeacher if kind == "openai" else AzureTeacher
        return remote(model, base_url=base_url, persistent=persistent)
    from drp_plugin.llm.gemini_client import GeminiTeacher

    return GeminiTeacher(model, base_url=base_url, persistent=persistent)
