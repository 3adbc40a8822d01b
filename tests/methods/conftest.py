"""Traces for the methods' tests, and the command run on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from drp_plugin import jsonl
from drp_plugin.cli import main


class Run(NamedTuple):
    """What a run of `drp prune` left."""

    pruned: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    summary: dict[str, Any]
    folder: Path


@pytest.fixture
def prune(tmp_path: Path) -> Callable[..., Run]:
    """Runs `drp prune` over rows (or a file) by a method; asserts the exit code."""
    def run(source: list[dict[str, Any]] | Path, method: str, *more: str, code: int = 0) -> Run:
        file = source if isinstance(source, Path) else tmp_path / "traces.jsonl"
        if not isinstance(source, Path):
            jsonl.write(file, source)
        folder = tmp_path / method.replace("/", "_")
        with pytest.raises(SystemExit) as ended:
            main(["prune", str(file), "-o", str(folder), "--teacher", method, "--tokenizer",
                  "student", *more])
        assert (ended.value.code or 0) == code
        if code and not (folder / "summary.json").exists():
            return Run([], [], {}, folder)
        rows = {name: [r.value for r in jsonl.rows(folder / f"{name}.jsonl")]
                for name in ("pruned", "rejects")}
        return Run(**rows, summary=json.loads((folder / "summary.json").read_text()),
                   folder=folder)

    return run


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs `drp build` over run folders; the rows of the set."""
    def run(*folders: Path, pairs: bool = False, code: int = 0) -> list[dict[str, Any]]:
        with pytest.raises(SystemExit) as ended:
            main(["build", *map(str, folders), "-o", str(tmp_path / "data"), "--name", "made",
                  *["--pairs"] * pairs])
        assert (ended.value.code or 0) == code
        return json.loads((tmp_path / "data" / "made.json").read_text()) if not code else []

    return run


@pytest.fixture(scope="session")
def student_traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded student's own samples, four of each of three questions."""
    pytest.importorskip("transformers")
    file = tmp_path_factory.mktemp("student") / "traces.jsonl"
    with pytest.raises(SystemExit) as ended:
        main(["generate", "tiny:sft:steps2:3", "--samples", "4", "-o", str(file),
              "--max-new-tokens", "700", "--engine-arg", "workers=1"])
    assert not ended.value.code
    return file
