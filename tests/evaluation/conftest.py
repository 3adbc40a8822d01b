"""A random student, small sets of questions, and lmms-eval's own command."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess]
SETS = ("gsm8k_test", "math500_test", "aime24_test", "amc23_test")


def _module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def random_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    make = _module(ROOT / "tests" / "sampling" / "random_student.py").make
    return make(tmp_path_factory.mktemp("models") / "student", eos_bias=0.3, context=1024)


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for DRP_DATA_DIR with twelve sums in each of the four sets."""
    folder = tmp_path_factory.mktemp("sets")
    for name in SETS:
        (folder / f"{name}.jsonl").write_text("".join(
            json.dumps({"id": f"{name}-{i}", "question": f"What is {i} plus 2?",
                        "answer": str(i + 2)}) + "\n" for i in range(12)))
    return folder


@pytest.fixture(scope="session")
def lmms_eval(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the real command in a folder of its own; returns the finished process."""
    pytest.importorskip("lmms_eval")
    home = tmp_path_factory.mktemp("lmms")

    def run(*arguments: str, launcher: tuple[str, ...] = (), python: Path | None = None,
            **env: str) -> subprocess.CompletedProcess:
        interpreter = str(python or sys.executable)
        command = [interpreter, *(launcher or ("-m", "lmms_eval")), *arguments]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DRP_", "LMMS_"))}
        return subprocess.run(command, env={
            **clean, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
            "PYTHONWARNINGS": "ignore", **env}, cwd=home, capture_output=True, text=True,
            timeout=1500)

    return run
