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

from drp_plugin.sampling.completions import Completion, Failed, Outcome, SampleRequest

LEAST = 32
"""Requests that make one more process worth its start."""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(kind: type, settings: dict[str, Any], requests: Sequence[SampleRequest],
        workers: int) -> Iterator[tuple[int, Outcome]]:
    """Each request's index and outcome, from `workers` processes with a sampler of this kind each.

    Raises RuntimeError when a process ends before its work is done.
    """
    results: queue.SimpleQueue[tuple[int, Outcome] | str | None] = queue.SimpleQueue()
    parts = [list(range(k, len(requests), workers)) for k in range(workers)]
    processes = [_start(kind, settings) for _ in parts]
    readers = [threading.Thread(target=_talk, args=(p, part, requests, results), daemon=True)
               for p, part in zip(processes, parts, strict=True)]
    try:
        for reader in readers:
            reader.start()
        ended = 0
        while ended < workers:
            item = results.get()
            if item is None:
                ended += 1
            elif isinstance(item, str):
                raise RuntimeError(item)
            else:
                yield item
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _start(kind: type, settings: dict[str, Any]) -> subprocess.Popen[bytes]:
    # -P: what lies in the current folder is not taken for a module
    command = [sys.executable, "-P", "-m", "drp_plugin.sampling.pool", kind.__module__,
               kind.__name__, json.dumps(settings)]
    own = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # ranks of a distributed launch are not the worker's business
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            env={**env, **own, "PYTHONPATH": os.pathsep.join(path)})


def _talk(process: subprocess.Popen[bytes], part: list[int], requests: Sequence[SampleRequest],
          results: queue.SimpleQueue[tuple[int, Outcome] | str | None]) -> None:
    assert process.stdin is not None and process.stdout is not None
    left = set(part)
    try:
        for index in part:
            process.stdin.write(requests[index].model_dump_json().encode() + b"\n")
        process.stdin.close()
        for line in process.stdout:
            place, kind, value = json.loads(line)
            index = part[place]
            left.discard(index)
            outcome = Completion(**value) if kind == "completion" else Failed(**value)
            results.put((index, outcome))
    except (OSError, ValueError) as error:
        results.put(f"a sampling process could not be talked to ({error})")
        return
    code = process.wait()
    results.put(f"a sampling process ended with {code}, {len(left)} completions missing"
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
            kind = "completion" if isinstance(outcome, Completion) else "failed"
            out.write(json.dumps([place, kind, outcome.model_dump(mode="json")]) + "\n")
            out.flush()
    except BrokenPipeError:
        os._exit(1)  # nobody is waiting any more


if __name__ == "__main__":
    _main()
