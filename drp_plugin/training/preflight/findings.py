"""What a check looks at and what it found.

That is a parsed YAML, and a quiet place with no launcher and no GPU to ask frameworks in. A finding
is one line, with the words of `data/preflight.yaml`.
"""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any
from unittest import mock

from drp_plugin.resources import table


@dataclass
class Parsed:
    """A training YAML as LLaMA-Factory understands it."""

    raw: dict[str, Any]
    model: Any
    data: Any
    training: Any
    finetuning: Any
    zero: int = 0  # the stage of ZeRO in the DeepSpeed plan

    @property
    def pairs(self) -> bool:
        """Whether the stage trains on preference pairs."""
        return self.finetuning.stage in ("rm", "dpo")


class BadSet(Exception):
    """Why a data set cannot be had, and how to mend it, in one line."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No launcher's environment, no GPU, and none of the frameworks' chatter on stdout."""
    before = dict(os.environ)
    for name in table("llamafactory.yaml")["launcher"]:
        os.environ.pop(name, None)
    os.environ.update({"CUDA_VISIBLE_DEVICES": "", "LLAMAFACTORY_VERBOSITY": "ERROR",
                       "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"})
    datasets: Any = sys.modules.get("datasets")
    bars = datasets and datasets.is_progress_bar_enabled()
    if bars:
        datasets.disable_progress_bars()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(level)
        if bars:
            datasets.enable_progress_bars()
        for name in set(os.environ) - set(before):  # the parser sets some: precision, FSDP's
            del os.environ[name]
        os.environ.update(before)


swapped = mock.patch.multiple
"""A module of LLaMA-Factory with other answers to questions about machine and launcher."""


class Level(StrEnum):
    """An error makes training go wrong, mostly without a word; a warning may be meant."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One thing that was found: a stable name for scripts, and what is wrong and mends it."""

    level: Level
    code: str
    text: str


@dataclass(frozen=True)
class TrainedRow:
    """A row as the student sees it: what it only reads, and what every token of is trained."""

    masked: str
    trained: str
    note: str = ""


@cache
def _words() -> dict[str, tuple[Level, str]]:
    words = table("preflight.yaml")
    return {key: (Level(level), text) for level in words for key, text in words[level].items()}


@dataclass
class Preflight:
    """Everything that one check found."""

    config: str
    findings: list[Finding] = field(default_factory=list)
    examples: list[TrainedRow] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # rows, tokens, steps, …: for scripts

    def add(self, key: str, /, **values: Any) -> None:
        """Add a finding: its code, with `:CASE` where it has several, and what its text names."""
        level, text = _words()[key]
        self.findings.append(
            Finding(level, key.partition(":")[0], " ".join(text.format(**values).split())))

    @property
    def problems(self) -> list[Finding]:
        """Errors and warnings, in the order in which they were found."""
        return [f for f in self.findings if f.level is not Level.INFO]

    def exit_code(self, strict: bool = False) -> int:
        """0 when there is no error (under `strict` no warning either), else 1."""
        return int(any(strict or f.level is Level.ERROR for f in self.problems))
