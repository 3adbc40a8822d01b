"""Kill `drp experiment` with SIGKILL on its way, again and again, and compare the tables.

    python benchmarks/kill_experiment.py                      Base and DRP on a dozen problems
    python benchmarks/kill_experiment.py paper_smoke --beside paper-smoke
                                                   every method; the other run is there already

One run is left alone, the other is killed after shares of its stages. Ends with 1 where the rows
of their reports differ in anything but where they lie.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KEPT = ("Base", "DRP")


def start(file: str, out: Path, jobs: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "drp_plugin", "experiment", file, "-o", str(out),
                             "--jobs", str(jobs)], stdout=subprocess.DEVNULL)


def finish(file: str, out: Path, jobs: int) -> None:
    if code := start(file, out, jobs).wait():
        sys.exit(f"the experiment in {out} ended with {code}")


def done(out: Path) -> int:
    """Stages that have ended."""
    return sum(1 for mark in (out / ".done").glob("*") if mark.suffix != ".begun")


def killed(file: str, out: Path, jobs: int, kills: int, stages: int) -> None:
    """Run to the end, killed on the way: each time a while after so many stages are done."""
    rng = random.Random(0)
    for number in range(1, kills + 1):
        target = stages * number // (kills + 1)
        process = start(file, out, jobs)
        while process.poll() is None and done(out) < target:
            time.sleep(0.1)
        time.sleep(rng.uniform(0, 3))  # in the midst of a stage
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"killed with {done(out)} of {stages} stages done", flush=True)
    finish(file, out, jobs)


def table(out: Path) -> list[dict[str, Any]]:
    """The rows of all reports."""
    return [row for file in sorted(out.glob("*/report/results.json"))
            for row in json.loads(file.read_text("utf-8"))["rows"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="an experiment; default: a dozen problems")
    parser.add_argument("--beside", type=Path, help="folder of a run that was left alone")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drp-killed-") as folder:
        file = arguments.file or str(small(Path(folder)))
        alone = arguments.beside or Path(folder) / "alone"
        finish(file, alone, arguments.jobs)
        killed(file, Path(folder) / "killed", arguments.jobs, arguments.kills, done(alone))
        one, two = table(alone), table(Path(folder) / "killed")
    different = [a["method"] for a, b in zip(one, two, strict=True) if a != b]
    print(f"{arguments.kills} kills, {len(one)} rows: " + (
        f"other figures for {', '.join(different)}" if different else "the same table"))
    return bool(different or not one)


def small(folder: Path) -> Path:
    """Base and DRP of the shipped smoke experiment."""
    import yaml

    from drp_plugin.experiment.file import read_experiment

    whole = read_experiment(Path("paper_smoke")).model_dump(mode="json", exclude_defaults=True)
    whole["methods"] = {name: whole["methods"][name] for name in KEPT}
    whole["report"].pop("table", None)
    (folder / "small.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    return folder / "small.yaml"


if __name__ == "__main__":
    sys.exit(main())
