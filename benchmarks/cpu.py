"""CPU for a row of what `drp prune` does besides asking: parse, verify, count, write.

    python benchmarks/cpu.py                              DRP_DATA_DIR's R1-Distill traces
    python benchmarks/cpu.py --traces mine.jsonl --limit 100 --save before.jsonl

The rule teacher answers once, in the `indexed` and in the `skill` format. Then the same replies go
through the flow again, and that is timed, on one core: the prompts, the reply taken apart, the
steps found in the trace, every check, the token counts, and the row as it is written. Beside it
stands the time that Python's JSON takes to read and write the same rows, as a measure of this
machine. Each trace counts with the least time of the repeats, since what else the machine does can
only add to it. `--save` keeps the rows, so that two releases can be compared byte for byte.

Exit code 1 where parse and verify take more than `--bound` milliseconds a row.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import sys
import time
from pathlib import Path

from _traces import arguments, given_traces

from drp_plugin import jsonl
from drp_plugin.llm.ledger_client import RowClient
from drp_plugin.llm.messages import Reply, Request
from drp_plugin.prompts import Prompts
from drp_plugin.pruning import Mode, PruneOptions
from drp_plugin.pruning.flow import prune_trace
from drp_plugin.records import Pruned, Reject, Trace
from drp_plugin.teachers.offline import OfflineTeacher
from drp_plugin.tokens import TokenCounter


class Replayed:
    """The rule teacher, each of its replies kept."""

    def __init__(self) -> None:
        self.teacher, self.said = OfflineTeacher(), dict[str, Reply]()

    async def ask(self, request: Request) -> Reply:
        """What was said to this request before, else what the rules say."""
        key = request.messages[-1].content
        if key not in self.said:
            self.said[key] = await self.teacher.ask(request)
        return self.said[key]


def rows_of(found: list[Trace], mode: Mode, replies: Replayed,
            counter: TokenCounter) -> tuple[list[Pruned | Reject], list[float]]:
    """Every trace through the flow, and the CPU time that each took, in seconds."""
    options, prompts = PruneOptions(decompose=mode), Prompts()

    rows: list[Pruned | Reject] = []
    took: list[float] = []

    async def run() -> None:  # a task's result is written out when asyncio sets its signals
        for trace in found:
            begun = time.process_time()
            rows.append(await prune_trace(trace, RowClient(replies.ask), options, prompts=prompts,
                                          count=counter.count))
            took.append(time.process_time() - begun)

    asyncio.run(run())
    return rows, took


def main() -> int:
    """Run it; prints the table."""
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bound", type=float, default=5.0, help="ms a row (default: 5)")
    parser.add_argument("--save", type=Path, help="write the rows here")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    given = parser.parse_args()
    found = given_traces(given)
    counter = TokenCounter.load(exact=False)
    begun = time.process_time()
    for trace in found:
        json.loads(json.dumps(trace.model_dump(mode="json")))
    measure = (time.process_time() - begun) / len(found) * 1000
    print(f"{len(found)} traces, tokens by {counter.name}; JSON there and back: {measure:.2f} ms")
    print(f"{'':10}{'pruned':>8}{'parse and verify':>18}{'written':>10}{'of JSON':>10}")
    worst, kept = 0.0, []
    for mode in ("indexed", "skill"):
        replies = Replayed()
        rows, _ = rows_of(found, mode, replies, counter)
        times = [rows_of(found, mode, replies, counter)[1] for _ in range(given.repeats)]
        took = sum(map(min, zip(*times, strict=True))) / len(found) * 1000
        begun = time.process_time()
        lines = [jsonl.dumps(row) for row in rows]
        written = (time.process_time() - begun) / len(found) * 1000
        kept += lines
        worst = max(worst, took)
        print(f"{mode:10}{sum(isinstance(row, Pruned) for row in rows):>8}{took:>15.2f} ms"
              f"{written:>7.2f} ms{took / measure:>9.1f}×", flush=True)
        if given.profile:
            profile = cProfile.Profile()
            profile.runcall(rows_of, found, mode, replies, counter)
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    if given.save:
        given.save.write_text("\n".join(kept) + "\n", "utf-8")
    print(f"at most {worst:.2f} ms a row: "
          + ("within" if worst <= given.bound else "OVER") + f" {given.bound:g} ms")
    return 0 if worst <= given.bound else 1


if __name__ == "__main__":
    sys.exit(main())
