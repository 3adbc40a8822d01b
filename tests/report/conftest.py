"""Folders as lmms-eval writes them."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drp_plugin.errors import UserError
from drp_plugin.tokens import TokenCounter

GREEDY = {"temperature": 0, "do_sample": False, "max_new_tokens": 131072}
Writer = Callable[..., Path]


def completion(answer: int, words: int) -> str:
    return (f"<think>\n{'so we add ' * words}\n</think>\n\nThe answer is \\boxed{{{answer}}}.")


def documents(n: int, wrong: set[int], words: int, noise: int = 0) -> list[dict[str, Any]]:
    rng = random.Random(n + words)
    return [{"doc_id": i, "target": str(10 * i), "doc_hash": f"{i:064d}", "input": "?",
             "filtered_resps": completion(10 * i + (i in wrong),
                                          words + (rng.randrange(noise) if noise else 0)),
             "token_counts": [None]} for i in range(n)]


def write_run(root: Path, name: str, tasks: dict[str, list[dict[str, Any]]], *,
              generation: Any = GREEDY, date: str = "20260101_000000", model: str = "some__model",
              original: dict[str, int] | None = None, model_args: str = "pretrained=x") -> Path:
    """Makes one --output_path and returns it."""
    folder = root / name / model
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {
        "results": {t: {} for t in tasks}, "config": {"model": "drp_hf", "model_args": model_args},
        "n-samples": {t: {"original": (original or {}).get(t, len(rows)),
                          "effective": len(rows)} for t, rows in tasks.items()},
        "configs": {t: {"generation_kwargs": generation, "num_fewshot": 0, "repeats": 1}
                    for t in tasks}}
    for task, rows in tasks.items():
        (folder / f"{date}_samples_{task}.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{date}_results.json").write_text(json.dumps(results))
    return root / name


@pytest.fixture()
def write(tmp_path: Path) -> Writer:
    """write(name, {task: samples}, …), see `write_run`."""
    return functools.partial(write_run, tmp_path)


@pytest.fixture(scope="session")
def counter() -> TokenCounter:
    try:
        return TokenCounter.load("qwen")
    except UserError as error:
        pytest.skip(str(error))
