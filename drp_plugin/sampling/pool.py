"""Small models on several cores: a process for each core, one thread in each.

A model of a few million weights does not gain from torch's threads, and loses much where the
cores are shared; whole processes scale.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.sampling.completions import OUTCOME, Outcome, SampleRequest

LEAST = 32
"""Requests that make one more process worth its start."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") \
        else os.cpu_count() or 1


def run(kind: type, settings: dict[str, Any], requests: Sequence[SampleRequest],
        workers: int) -> Iterator[tuple[int, Outcome]]:
    """Each request's index and outcome, from `workers` processes with a sampler of this kind each.

    Raises RuntimeError when a process ends before its work is done.
    """
    results: queue.SimpleQueue[tuple[int, Outcome] | str | None] = queue.SimpleQueue()
    processes = [_start(kind, settings) for _ in range(workers)]
    try:
        for k, process in enumerate(processes):
            threading.Thread(target=_talk, daemon=True, args=(
                process, range(k, len(requests), workers), requests, results)).start()
        while workers:
            item = results.get()
            if item is None:
                workers -= 1
            elif isinstance(item, str):
                raise RuntimeError(item)
            else:
                yield item
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start(kind: type, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    # -P: what lies in the current folder is not taken for a module
    command = [sys.executable, "-P", "-m", "drp_plugin.sampling.pool", kind.__module__,
               kind.__name__, json.dumps(settings)]
    # ranks of a distributed launch are not the worker's business
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    env |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)


def _talk(process: subprocess.Popen[bytes], part: range, requests: Sequence[SampleRequest],
          results: queue.SimpleQueue[tuple[int, Outcome] | str | None]) -> None:
    assert process.stdin is not None and process.stdout is not None
    left = len(part)
    try:
        for index in part:
            process.stdin.write(requests[index].model_dump_json().encode() + b"\n")
        process.stdin.close()
        for line in process.stdout:
            place, _, outcome = line.partition(b" ")
            results.put((part[int(place)], OUTCOME.validate_json(outcome)))
            left -= 1
    except (OSError, ValueError) as error:
        results.put(f"a sampling process could not be talked to ({error})")
        return
    code = process.wait()
    results.put(f"a sampling process ended with {code}, {left} completions missing"
                if left else None)


def _main() -> None:
    """A worker: sampler and settings as arguments, requests on stdin, outcomes on stdout."""
    module, name, settings = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between
    kind = getattr(importlib.import_module(module), name)
    sampler = kind(**json.loads(settings), threads=1, workers=1)
    requests = [SampleRequest.model_validate_json(line) for line in sys.stdin]
    try:
        for place, outcome in sampler.sample(requests):
            print(place, outcome.model_dump_json(), file=out, flush=True)
    except BrokenPipeError:
        os._exit(1)  # nobody is waiting any more


if __name__ == "__main__":
    _main()
