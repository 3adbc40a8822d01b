"""lmms-eval's command line: what our tasks and models do not do is refused by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from drp_plugin.errors import UserError

_TAGS = '[["<think>", "</think>"], ["<analysis>", "</analysis>"]]'
_REFUSED: dict[str, tuple[Any, str]] = {
    "num_fewshot": (0, "the protocol is zero-shot; put examples into a prompt of your own"),
    "fewshot_as_multiturn": (False, "the protocol is zero-shot"),
    "use_cache": (None, "it knows neither how a completion ended nor its tokens; finished ones "
                        "are kept anyway, in --output_path or at --model_args ledger=FILE"),
    "cache_requests": (None, "prompts are made in an instant"),
    "max_tokens": (None, "--model_args max_new_tokens=N bounds each completion, --limit a run"),
    "baseline": (None, "compare samples files by `drp report BASE=DIR NAME=DIR -o OUT`"),
    "reasoning_tags": (_TAGS, "the tasks read completions with their thinking"),
}
"""Options, the values with which they say nothing, and why others are refused."""


def refuse(given: Any, task: str) -> None:
    """Raises UserError for an option of lmms-eval that would be left aside in silence.

    `given` is its parsed command line, None where there was none.
    """
    for name, (neutral, why) in _REFUSED.items():
        value = getattr(given, name, None)
        if value is not None and value != neutral:
            raise UserError(f"--{name} has no use with {task}", fix=f"Leave it out: {why}")


def output_folder(given: Any) -> str | None:
    """The folder that lmms-eval writes to; None without --output_path."""
    output = getattr(given, "output_path", None)
    if not output:
        return None
    path = Path(output)
    return str(path.parent if path.suffix in (".json", ".jsonl") else path)


def seed_of(given: Any) -> int | None:
    """The first of --seed's numbers, from which completions are drawn; None for none."""
    seeds = getattr(given, "seed", None)
    return seeds[0] if isinstance(seeds, list | tuple) else None
