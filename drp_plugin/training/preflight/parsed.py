"""What a parsed YAML is, and a quiet place with no launcher and no GPU to ask frameworks in."""

import contextlib
import dataclasses
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

from drp_plugin.resources import table


@dataclasses.dataclass
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
