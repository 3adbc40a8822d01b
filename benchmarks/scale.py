"""Memory and cost of a row as sets grow: build, score, inspect, prune and generate.

    python benchmarks/scale.py                        10,000 and 100,000 synthetic rows
    python benchmarks/scale.py --rows 1000 10000 --only build score

Each command runs in a process of its own, at both sizes. Printed are the peak of its memory, the
CPU that a row took at the smaller size and one of the further rows at the larger one, and the
ratios. `prune` and `generate` have a teacher and a student in the same process, which say the same
to everything: what is measured is what stands around them.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from teacher import pipeline, write_rows

COMMANDS = ("build", "score", "inspect", "prune", "generate")


def write_run(folder: Path, traces: Path) -> Path:
    """A run directory with a pruned row for each trace."""
    folder.mkdir()
    with open(traces) as rows, open(folder / "pruned.jsonl", "w") as out:
        for line in rows:
            row = json.loads(line)
            steps = [{"index": k, "text": "Let me add.", "skill": "Adding"} for k in range(1, 9)]
            out.write(json.dumps({
                "id": row["id"], "question": row["question"], "original": row["response"],
                "response": row["response"], "steps": steps, "tokens_before": 500,
                "tokens_after": 250, "teacher": "none", "prompts_hash": "",
                "revisions": [{"action": "KEEP", "steps": [k]} for k in range(1, 9)]}) + "\n")
    return folder


def generate(questions: Path, out: Path) -> None:
    """`drp generate` with a student that says the same to everything."""
    from drp_plugin.prompts import Prompts
    from drp_plugin.sampling import student_traces
    from drp_plugin.sampling.completions import Completion, Outcome, Sampler, SampleRequest
    from drp_plugin.sampling.questions import load

    class Constant(Sampler):
        identity: dict[str, Any] = {"engine": "constant"}  # noqa: RUF012

        def sample(self, requests: Iterable[SampleRequest]) -> Iterator[tuple[int, Outcome]]:
            said = Completion(text="<think>\nAdd.\n</think>\n\n7", tokens=9, prompt_tokens=9,
                              finish="stop")
            yield from ((k, said) for k, _ in enumerate(requests))

    wanted = student_traces.TraceRequests(load(str(questions)), Prompts(), "eval_boxed")
    student_traces.generate(Constant(), wanted, str(out), model="constant",
                            ledger=Path(f"{out}.ledger"))


def command(name: str, rows: Path, folder: Path) -> list[str]:
    """What runs the command on these rows."""
    out = folder / f"{name}-{rows.stem}"
    drp = [sys.executable, "-m", "drp_plugin", name]
    if name in ("prune", "generate"):
        return [sys.executable, __file__, "--child", name, str(rows), str(out)]
    if name == "inspect":
        run = folder / f"run-{rows.stem}"
        return [*drp, str(run if run.exists() else write_run(run, rows)), "-o", str(out)]
    return [*drp, str(rows), "-o", str(out),
            *(["--name", "set"] if name == "build" else ["--tokenizer", "qwen-pieces"])]


def measure(line: list[str]) -> tuple[float, float]:
    """Peak memory in MB, and CPU in seconds."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(line)}: {said[-2000:]}")
    return used.ru_maxrss / 1024, used.ru_utime + used.ru_stime


def main() -> int:
    """Run it; prints the table. Exit code 1 where a bound is exceeded."""
    if sys.argv[1:2] == ["--child"]:
        name, rows, out = sys.argv[2:]
        if name == "prune":
            asyncio.run(pipeline(Path(rows), Path(out), "", 64))
        else:
            generate(Path(rows), Path(out))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs=2, default=(10_000, 100_000))
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=COMMANDS)
    given = parser.parse_args()
    few, many = given.rows
    print(f"{'':10}{few:>12,}{many:>12,}{'memory':>9}{'ms a row':>12}{'further':>9}{'cost':>7}")
    worst = False
    with tempfile.TemporaryDirectory(prefix="drp-scale-") as name:
        folder = Path(name)
        base, small, large = (write_rows(folder / f"{n}.jsonl", n) for n in (few // 10, few, many))
        for each in given.only:
            (_, start), (mb, cpu), (more_mb, more_cpu) = (
                measure(command(each, rows, folder)) for rows in (base, small, large))
            one = (cpu - start) / (few - few // 10)
            further = (more_cpu - cpu) / (many - few)
            worst |= more_mb > 1.2 * mb or further > 1.2 * one
            print(f"{each:10}{mb:>9.0f} MB{more_mb:>9.0f} MB{more_mb / mb:>8.2f}×"
                  f"{1000 * one:>12.3f}{1000 * further:>9.3f}{further / one:>6.2f}×", flush=True)
    print("bound: 1.2× for memory and for cost: " + ("OVER" if worst else "kept"))
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
