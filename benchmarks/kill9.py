"""Kill `drp prune` with SIGKILL at random moments, again and again, and look what is lost.

    python benchmarks/kill9.py                  200 kills over a 500-row run
    python benchmarks/kill9.py --processes 2    the same, two processes on one run directory

A loopback server answers by the offline rules. It knows the ledger's key of every request, so
that it sees a request whose reply had been stored before the last kill. Prints one line for
each finding and ends with 1 if there was any:

- a stored reply that is gone, or that was asked for again;
- an output file that is there and is not whole;
- outputs that differ from an undisturbed run's by a single byte.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "wire"))

from provider import Provider  # noqa: E402
from small_runs import traces  # noqa: E402

from drp_plugin.llm.ledger_client import key_of  # noqa: E402
from drp_plugin.llm.messages import Reply, Request  # noqa: E402
from drp_plugin.teachers.offline import OfflineTeacher  # noqa: E402

FILES = ("pruned.jsonl", "rejects.jsonl", "summary.json")


def stored(run: Path) -> set[str]:
    """The keys in a run's ledger."""
    file = run / "ledger.sqlite"
    if not file.exists():
        return set()
    connection = sqlite3.connect(file, timeout=60)
    try:
        return {k for (k,) in connection.execute("SELECT key FROM replies")}
    except sqlite3.OperationalError:  # killed before the table was made
        return set()
    finally:
        connection.close()


class Watch:
    """The server's answers, and what it was asked that it should not have been."""

    def __init__(self) -> None:
        self.safe: set[str] = set()
        """Keys whose replies were stored before the last kill."""
        self.findings: list[str] = []
        self.asked = 0
        self.port = 0
        self._teacher = OfflineTeacher()

    async def answer(self, request: Request) -> Reply:
        self.asked += 1
        who = {"kind": "openai", "model": "rules",
               "base_url": f"http://127.0.0.1:{self.port}/v1"}
        if key_of(who, request) in self.safe:
            self.findings.append("a request was asked again whose reply had been stored")
        return await self._teacher.ask(request)


def start(data: Path, run: Path, url: str, concurrency: int) -> subprocess.Popen[bytes]:
    """One `drp prune`."""
    environment = {**os.environ, "OPENAI_API_KEY": "none"}
    return subprocess.Popen(
        [sys.executable, "-m", "drp_plugin", "prune", str(data), "-o", str(run), "--teacher",
         "openai:rules", "--base-url", url, "--concurrency", str(concurrency)],
        env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def moment(chance: random.Random, watch: Watch, alive: list[subprocess.Popen[bytes]],
           startup_s: float, longest_s: float) -> None:
    """Wait for a random moment: a quarter of them at any time from the start (reading, replaying,
    writing outputs), the others while requests are under way."""
    if chance.random() < 0.25:
        time.sleep(chance.uniform(0, 1.2 * startup_s))
        return
    asked = watch.asked
    while watch.asked == asked and any(p.poll() is None for p in alive):
        time.sleep(0.01)
    time.sleep(chance.uniform(0, longest_s))


def run_trial(*, rows: int, kills: int, processes: int = 1, latency_s: float = 1.0,
              concurrency: int = 6, longest_s: float = 2.0, seed: int = 0,
              quiet: bool = False) -> list[str]:
    """Kill and restart until all kills are done, let it finish, compare. Returns findings."""
    chance, watch = random.Random(seed), Watch()
    folder = Path(tempfile.mkdtemp(prefix="drp-kill9-"))
    data = traces(folder / "traces.jsonl", rows)
    run, calm = folder / "run", folder / "calm"
    with Provider(watch.answer, latency_s=0.0) as provider:
        watch.port = provider.port
        if start(data, calm, provider.url, 32).wait() != 0:
            return ["the undisturbed run failed"]
        asked_calm, watch.asked = watch.asked, 0
        begun = time.monotonic()
        start(data, calm, provider.url, 32).wait()
        startup_s = time.monotonic() - begun
        expected = {f: (calm / f).read_bytes() for f in FILES}
        provider.latency_s = latency_s
        for number in range(kills):
            alive = [start(data, run, provider.url, concurrency) for _ in range(processes)]
            moment(chance, watch, alive, startup_s, longest_s)
            victims = alive if processes == 1 or chance.random() < 0.5 else alive[:1]
            for process in victims:
                process.send_signal(signal.SIGKILL)
                process.wait()
            if victims is not alive:  # the other one goes on alone for a while
                time.sleep(chance.uniform(0, 0.5))
                for process in alive[1:]:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
            now = stored(run)
            if watch.safe - now:
                watch.findings.append(f"{len(watch.safe - now)} stored replies were lost")
            watch.safe = now
            for f in FILES:
                if (run / f).exists() and (run / f).read_bytes() != expected[f]:
                    watch.findings.append(f"{f} is there and not whole")
            if not quiet and (number + 1) % 10 == 0:
                print(f"kill {number + 1}: {len(now)} replies stored, "
                      f"{len(watch.findings)} findings", file=sys.stderr, flush=True)
        provider.latency_s = 0.0
        last = [start(data, run, provider.url, 32) for _ in range(processes)]
        if any(p.wait() != 0 for p in last):
            watch.findings.append("the last run failed")
        watch.findings += [f"{f} differs from the undisturbed run's" for f in FILES
                           if not (run / f).exists() or (run / f).read_bytes() != expected[f]]
        if not quiet:
            print(f"{kills} kills, {processes} process(es), {rows} rows: {watch.asked} requests "
                  f"({asked_calm} undisturbed; the difference was in flight at a kill), "
                  f"{len(watch.findings)} findings")
    shutil.rmtree(folder, ignore_errors=True)
    return watch.findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    findings = run_trial(rows=given.rows, kills=given.kills, processes=given.processes,
                         seed=given.seed)
    for finding in findings:
        print(f"FINDING: {finding}")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
