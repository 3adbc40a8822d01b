"""`make paper-smoke`: every method of the paper, a few rows each, through the real frameworks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drp_plugin.experiment.file import read_experiment


@pytest.mark.framework
@pytest.mark.timeout(3000)
def test_every_method_fills_its_rows(tmp_path):
    command = [sys.executable, "-m", "drp_plugin", "experiment", "paper_smoke", "-o", "out",
               "--jobs", "1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    experiment = read_experiment(Path("paper_smoke"))
    rows = json.loads((tmp_path / "out/tiny/report/results.json").read_text())["rows"]
    filled = {(row["method"], row["task"]) for row in rows if row["n"] == 4 and row["tokens"] > 0}
    assert filled == {(name, task) for name in experiment.methods for task in experiment.tasks}

    logs = {log: log.stat().st_mtime_ns for log in (tmp_path / "out/logs").iterdir()}
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    assert logs == {log: log.stat().st_mtime_ns for log in (tmp_path / "out/logs").iterdir()}
