"""Memory and cost of a row as sets grow: build, score, inspect, generate and prune.

    python benchmarks/scale.py                        10,000 and 100,000 synthetic rows
    python benchmarks/scale.py --rows 1000 10000 --only build score
    python benchmarks/scale.py --rows 10000 1000000 --only build score

Each command runs in a process of its own, at both sizes. Printed are the peaks of its memory, the
CPU that a row took in the first and in the last tenth of the larger run, and the ratios. `generate`
has a student in the same process that says the same to everything. `prune` asks a loopback server,
a process of its own, which does so too, with one request a row: what is measured is what stands
around them.

Exit code 1 where memory or the cost of a row grows by more than a fifth.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from teacher import pipeline, write_rows

COMMANDS = ("build", "score", "inspect", "generate", "prune")


class Meter:
    """CPU seconds at the first row and at each tenth, for every pass over the rows."""

    def __init__(self, rows: int) -> None:
        self.rows, self.passes = rows, list[list[float]]()

    def row(self, number: int) -> None:
        """Row `number`, from 1, is begun."""
        if number == 1:
            self.passes.append([])
        if number == 1 or number % (self.rows // 10) == 0:
            self.passes[-1].append(time.process_time())

    def ms(self) -> tuple[float, float]:
        """Milliseconds a row in the first and in the last tenth, of the pass that took most."""
        marks = max(self.passes, key=lambda marks: marks[-1] - marks[0])
        scale = 1000 / (self.rows // 10)
        return (marks[1] - marks[0]) * scale, (marks[-1] - marks[-2]) * scale


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


def generate(questions: Path, out: Path, meter: Meter) -> None:
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
            for number, _ in enumerate(requests):
                meter.row(number + 1)
                yield number, said

    wanted = student_traces.TraceRequests(load(str(questions)), Prompts(), "eval_boxed")
    student_traces.generate(Constant(), wanted, str(out), model="constant",
                            ledger=Path(f"{out}.ledger"))


def child(name: str, rows: Path, out: Path, url: str) -> None:
    """Run a command in this process; its tenths go into `OUT.ms`."""
    from drp_plugin import jsonl
    from drp_plugin.cli import main as drp

    with open(rows, "rb") as lines:
        meter = Meter(sum(1 for _ in lines))
    parse = jsonl.parse

    def metered(number: int, line: bytes) -> jsonl.Row:
        meter.row(number)
        return parse(number, line)

    if name == "generate":
        generate(rows, out, meter)
    else:
        jsonl.parse = metered
        if name == "prune":
            asyncio.run(pipeline(rows, out, url, 64))
        else:
            given = write_run(out.with_suffix(".run"), rows) if name == "inspect" else rows
            more = {"build": ["--name", "set"], "score": ["--tokenizer", "qwen-pieces"]}
            try:
                drp([name, str(given), "-o", str(out), *more.get(name, [])])
            except SystemExit as ended:
                if ended.code:
                    raise
    out.with_suffix(".ms").write_text(json.dumps(meter.ms()))


def measure(name: str, rows: Path, url: str) -> tuple[float, list[float]]:
    """Peak memory in MB, and milliseconds a row in the first and in the last tenth."""
    out = rows.with_name(f"{name}-{rows.stem}")
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", name, str(rows), str(out), url],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OPENAI_API_KEY": "none"})
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name}: {said[-2000:]}")
    return used.ru_maxrss / 1024, json.loads(out.with_suffix(".ms").read_text())


def main() -> int:
    """Run it; prints the table."""
    if sys.argv[1:2] == ["--child"]:
        name, given_rows, out, url = sys.argv[2:]
        child(name, Path(given_rows), Path(out), url)
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs=2, default=(10_000, 100_000))
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=COMMANDS)
    given = parser.parse_args()
    few, many = given.rows
    print(f"{'':10}{few:>12,}{many:>12,}{'memory':>9}{'first tenth':>14}{'last':>10}{'cost':>7}")
    worst = False
    server = subprocess.Popen([sys.executable, str(Path(__file__).with_name("teacher.py")),
                               "--serve", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        with tempfile.TemporaryDirectory(prefix="drp-scale-") as folder:
            small, large = (write_rows(Path(folder) / f"{n}.jsonl", n) for n in (few, many))
            for name in given.only:
                mb, _ = measure(name, small, url)
                more_mb, (first, last) = measure(name, large, url)
                worst |= more_mb > 1.2 * mb or last > 1.2 * first
                print(f"{name:10}{mb:>9.0f} MB{more_mb:>9.0f} MB{more_mb / mb:>8.2f}×"
                      f"{first:>11.3f} ms{last:>7.3f} ms{last / first:>6.2f}×", flush=True)
    finally:
        server.kill()
        server.wait()
    print("bound: 1.2× for memory and for cost: " + ("OVER" if worst else "kept"))
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
