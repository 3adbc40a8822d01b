"""docs/reproduction.md: its figures are those of the samples, and each claim stands where the
samples put it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, script

from .conftest import documents, write_run

N = 120
METHODS = {  # wrong problems, words of the thinking
    "base": (set(range(10)), 160), "tale": (set(range(10)), 155),
    "drp-s1": (set(range(10)), 80), "drp-s2": (set(range(1, 11)), 81),
    "random-s1": (set(range(60)), 80), "random-s2": (set(range(61)), 79)}


@pytest.fixture
def experiment(tmp_path):
    file = tmp_path / "e.yaml"
    prune = {"prune": {"teacher": "offline"}}
    file.write_text(yaml.safe_dump({
        "about": "Written by hand.", "students": {"tiny": {"model": "tiny",
                                                           "config": "drp_tiny.yaml"}},
        "questions": ["tiny:sft:steps2:20"], "tasks": ["drp_tiny"], "seeds": [1, 2],
        "evaluate": {"model": "drp_hf"}, "report": {"cutoff": 768, "tokenizer": "student"},
        "methods": {"Base": {}, "TALE": {"tasks": "tale"},
                    "DRP": {**prune, "stands_in": "rules, no LLM"}, "Random": prune,
                    "Shortest correct": prune}}, sort_keys=False))
    for name, (wrong, words) in METHODS.items():
        task = "drp_tiny_tale" if name == "tale" else "drp_tiny"
        write_run(tmp_path / "out" / "tiny" / "eval", name,
                  {task: documents(N, wrong, words, noise=20)})
    return file, tmp_path / "out"


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "scripts" / "reproduction.py"),
                           *map(str, words)], capture_output=True, text=True, check=False)


def part(page: str, title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)[1]


def test_the_page_says_what_the_samples_say(experiment, tmp_path):
    file, folder = experiment
    done = run(file, folder, "-o", tmp_path / "page.md")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text()
    assert "`drp_tiny`: the same 120 problems" in page and "1, 2" in part(page, "What was run")
    assert "DRP is a stand-in: rules, no LLM." in page
    assert "shortest-correct-s1, shortest-correct-s2" in part(page, "What was run")
    # 110 of 120 right, twice; the standard deviation of equal shares is 0
    assert re.search(r"^\| DRP \| 2 \| 91\.7 ± 0\.0 \|", page, re.MULTILINE)
    agrees = part(page, "What agrees with the paper")
    assert "DRP against the student as it is (Table 1), `drp_tiny`: −" in agrees
    assert "DRP against random (not in the paper), `drp_tiny`: accuracy +" in part(
        page, "Controls that the paper does not have")
    unknown = part(page, "What cannot be known at this scale")
    assert "DRP against the student as it is (Table 1), `drp_tiny`: accuracy +0.0 points" in unknown
    assert "Shortest" not in part(page, "Tests"), "what was not measured is not compared"


def test_every_figure_traces_back_to_its_samples(experiment):
    file, folder = experiment
    done = run(file, folder, "--trace", "DRP", "drp_tiny")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 2 * N and len({row["file"] for row in rows}) == 2
    assert all(Path(row["file"]).is_file() for row in rows)
    right = sum(row["correct"] for row in rows) / len(rows)
    assert f"accuracy {right:.4f}" in done.stderr and right == 110 / 120
    row = next(line for line in script("scripts/reproduction.py").main_table(
        script("scripts/reproduction.py").measure(str(file), folder)) if "| DRP " in line)
    assert f"| {sum(row['tokens'] for row in rows) / len(rows):.0f} |" in row
    wrong = run(file, folder, "--trace", "DPR", "drp_tiny")
    assert wrong.returncode == 2 and "Methods with samples: Base, TALE, DRP, Random" in wrong.stderr


def test_a_folder_without_results_is_one_line(experiment, tmp_path):
    done = run(experiment[0], tmp_path / "nothing")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "holds no evaluation that has ended" in done.stderr


def test_methods_trained_on_one_set_are_named(experiment, tmp_path):
    """They cannot differ by what they learned; a reader must know."""
    file, folder = experiment
    data = folder / "tiny" / "training" / "data"
    data.mkdir(parents=True)
    for name, text in {"drp_drp": "a", "drp_random": "a", "drp_drp_c1": "a",
                       "drp_drp.card": "a", "drp_shortest_correct": "b"}.items():
        (data / f"{name}.json").write_text(text)
    done = run(file, folder, "-o", tmp_path / "page.md", "--note", "Run on a toaster.")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text()
    assert "`drp_drp` and `drp_random` are the same set" in page
    assert "_c1" not in page and "- Run on a toaster." in page
