"""The wheel's core, alone in a fresh environment: no torch, no framework, no checkout, no hub."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checkout import ROOT

UV = Path(sys.executable).with_name("uv")
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel and what it requires."""
    if not UV.is_file():
        pytest.skip("no uv beside this interpreter")
    folder = tmp_path_factory.mktemp("core")
    for command in (
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
            [str(UV), "venv", "-q", "--python", sys.executable, str(folder / "venv")]):
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    done = subprocess.run([str(UV), "pip", "install", "-q", "--python", str(python), str(wheel)],
                          cwd=folder, capture_output=True, text=True)
    if re.search(r"dns error|Failed to fetch|tcp connect|Could not connect", done.stderr):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return python


@pytest.fixture
def drp(core: Path, tmp_path: Path) -> Run:
    """`drp` of that environment, in a folder of its own, with nothing but an index's packages."""
    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DRP_"))}
        done = subprocess.run([str(core.with_name("drp")), *arguments], cwd=tmp_path,
                              capture_output=True, text=True,
                              env={**keep, "XDG_CACHE_HOME": str(tmp_path / "cache"),
                                   "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"})
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
        return done
    return run


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    path = tmp_path / "traces.jsonl"
    path.write_text(json.dumps({
        "id": "1", "question": "Tom has 3 apples and buys 4. How many apples has he?",
        "answer": "7", "response": "<think>\nTom has 3 apples. He buys 4.\n\n3 + 4 = 7.\n\nWait, "
        "let me check that again. 3 + 4 = 7. Yes.\n</think>\n\nThe answer is \\boxed{7}."}) + "\n")
    return path


def test_the_core_holds_nothing_heavy(core: Path) -> None:
    done = subprocess.run([str(UV), "pip", "list", "--python", str(core)], capture_output=True,
                          text=True, check=True)
    names = {line.split()[0] for line in done.stdout.splitlines() if line}
    assert "drp-plugin" in names
    assert not names & {"torch", "transformers", "vllm", "dashscope", "lmms-eval", "llamafactory",
                        "trl", "ray", "matplotlib", "scipy", "datasets"}


def test_from_traces_to_a_training_workspace(drp: Run, traces: Path, tmp_path: Path) -> None:
    said = drp("prune", "traces.jsonl", "-o", "run", "--teacher", "offline").stderr
    assert "counted by qwen-pieces" in said
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["pruned"], summary["tokenizer"]) == (1, "qwen-pieces")
    assert "qwen-pieces tokens" in drp("score", "traces.jsonl", "-o", "scored.jsonl").stderr
    row = json.loads((tmp_path / "scored.jsonl").read_text())
    assert row["correct"] and row["tokenizer"] == "qwen-pieces"
    drp("build", "run", "-o", "work/data", "--name", "mine", "--tokenizer", "qwen")
    assert (tmp_path / "work" / "data" / "mine.json").is_file()
    drp("inspect", "run", "-o", "page.html")
    packed = re.findall(r'<script type="text/plain" id="[^"]+">([^<]+)<',
                        (tmp_path / "page.html").read_text())
    assert any(b"apples" in gzip.decompress(base64.b64decode(part)) for part in packed)
    drp("init", "work")
    for name in ("drp_qwen7b.yaml", "export/drp_qwen7b.yaml", "thinkprune/train.py",
                 "cot_valve/scale.py"):
        assert (tmp_path / "work" / name).is_file()


@pytest.mark.parametrize(("extra", "arguments"), [
    ("eval", ["generate", "tiny:sft:steps2:2", "-o", "t.jsonl"]),
    ("eval", ["generate", "tiny:sft:steps2:2", "-o", "t.jsonl", "--backend", "hf"]),
    ("vllm", ["generate", "tiny:sft:steps2:2", "-o", "t.jsonl", "--backend", "vllm"]),
    ("ray", ["generate", "tiny:sft:steps2:2", "-o", "t.jsonl", "--backend", "ray"]),
    ("eval", ["generate", "gsm8k_test", "-o", "t.jsonl"]),
    ("vllm", ["prune", "traces.jsonl", "-o", "run", "--teacher", "vllm:MODEL"]),
    ("train", ["check", "work/drp_tiny.yaml"]),
    ("serve", ["serve-teacher"]),
    ("cpu", ["demo"]),
])
def test_what_needs_an_extra_says_so_in_one_line(drp: Run, core: Path, traces: Path, extra: str,
                                                 arguments: list[str], tmp_path: Path) -> None:
    drp("init", "work")
    model = next(core.parent.parent.glob("lib/*/site-packages/drp_plugin/student/model"))
    said = drp(*(a.replace("MODEL", str(model)) for a in arguments), code=2).stderr.strip()
    *begun, line = [part for part in said.splitlines() if not part.startswith("note: ")]
    assert len(begun) <= 1, "what it begins to do, and why it cannot"
    assert line.startswith("drp: ")
    assert re.search(rf"pip install '?/\S+\.whl\[{extra}\]", line), line
    assert "Ctrl-C ends it" not in said, "it serves nothing"


@pytest.mark.parametrize("recipe", ["thinkprune/train.py", "cot_valve/scale.py"])
def test_recipes_run_where_they_are_installed(core: Path, tmp_path: Path, recipe: str) -> None:
    (share,) = core.parent.parent.glob("lib/*/site-packages/drp_plugin/_share/recipes")
    done = subprocess.run([str(core), str(share / recipe), "--help"], cwd=tmp_path,
                          capture_output=True, text=True)
    assert done.returncode == 0 and "recipes/" in done.stdout + (share / recipe).read_text()
    thinkprune = share / "thinkprune"
    done = subprocess.run([str(core), "train.py", "tiny.yaml"], cwd=thinkprune,
                          capture_output=True, text=True)
    assert done.returncode == 2 and "[rl]" in done.stderr
