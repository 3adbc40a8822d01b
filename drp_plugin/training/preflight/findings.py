"""One check: what it looks at, and what it found.

Frameworks are asked without launcher and GPU. A finding is a line of `data/preflight.yaml`."""

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from drp_plugin.resources import table
from drp_plugin.training.templates import Family

if TYPE_CHECKING:
    from datasets import Dataset

_SILENT = {"CUDA_VISIBLE_DEVICES": "", "LLAMAFACTORY_VERBOSITY": "ERROR",
           "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
WORDS: dict[str, tuple[str, str]] = {
    key: (level, text) for level, texts in table("preflight.yaml").items()
    for key, text in texts.items()}
"""Each finding's level and text, in the order in which the faults of rows are told. An error makes
training go wrong, mostly without a word; a warning may be meant."""

swapped = mock.patch.multiple
"""A module of LLaMA-Factory with other answers to questions about machine and launcher."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No launcher's environment, no GPU, and none of the frameworks' chatter on stdout."""
    datasets: Any = sys.modules.get("datasets")
    bars = datasets and datasets.is_progress_bar_enabled()
    level, environment = logging.root.manager.disable, os.environ
    # the parser sets variables too (precision, FSDP's): none of them persists
    with (mock.patch.dict(os.environ, _SILENT), contextlib.redirect_stdout(io.StringIO()),
          warnings.catch_warnings(action="ignore")):
        for name in table("llamafactory.yaml")["launcher"]:
            os.environ.pop(name, None)
        if bars:
            datasets.disable_progress_bars()
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            os.environ = environment  # noqa: B003 - `datasets` puts a copy in its place
            logging.disable(level)
            if bars:
                datasets.enable_progress_bars()


class BadSet(Exception):
    """Why a data set is not available, and how to mend it, in one line: its words are `set:KEY`."""

    def __init__(self, key: str, /, **values: Any) -> None:
        super().__init__(WORDS[f"set:{key}"][1].format(**values))


@dataclass(frozen=True)
class Finding:
    """One finding: a stable name for scripts, what is wrong, and what mends it."""

    level: str  # error, warning or info
    code: str
    text: str


@dataclass(frozen=True)
class TrainedRow:
    """A row as the student sees it: the part that it only reads, and the part that is trained."""

    masked: str
    trained: str
    note: str = ""


@dataclass
class Preflight:
    """A YAML, its student and rows as far as they are known, and all findings."""

    config: str
    findings: list[Finding] = field(default_factory=list)
    examples: list[TrainedRow] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # rows, tokens, steps, …: for scripts

    raw: dict[str, Any] = field(default_factory=dict)  # the settings; below, as they are parsed
    model: Any = None
    data: Any = None
    training: Any = None  # None for an export
    finetuning: Any = None
    lent: bool = False  # whether --model replaces the YAML's: tokenizer and config are enough
    zero: int = 0  # the stage of ZeRO in the DeepSpeed plan

    used: Any = None  # the student's tokenizer as training loads and fixes it
    pristine: Any = None  # the same untouched, as inference loads it
    student: Any = None  # the model's config; None if not available
    made: Any = None  # the student with what is trained, without weights
    resumed: tuple[Path, dict[str, Any]] | None = None  # the checkpoint to resume from, its state
    stops: list[int] = field(default_factory=list)  # the ids that stop its generation
    template: Any = None  # LLaMA-Factory's, once it is known to fit
    layout: Family | None = None  # that template as text

    rows: "Dataset | None" = None  # of all sets, mixed
    stored: "Dataset | None" = None  # what `tokenized_path` holds, which is trained instead
    broken: set[int] = field(default_factory=set)  # numbers of the rows that cannot be encoded

    @property
    def pairs(self) -> bool:
        return self.finetuning.stage in ("rm", "dpo")

    @property
    def name(self) -> str:
        return str(self.model.model_name_or_path)

    def add(self, key: str, /, **values: Any) -> None:
        """Add a finding: its code, with `:CASE` where it has several, and what its text names."""
        level, text = WORDS[key]
        asked = self.raw.get("resume_from_checkpoint")
        text = text.format(anew=WORDS["anew:asked" if asked else "anew"][1], **values)
        self.findings.append(Finding(level, key.partition(":")[0], " ".join(text.split())))

    @property
    def problems(self) -> list[Finding]:
        return [f for f in self.findings if f.level != "info"]

    def exit_code(self, strict: bool = False) -> int:
        """0 when there is no error (under `strict` no warning either), else 1."""
        return int(any(strict or f.level == "error" for f in self.problems))
