"""Work beside this thread: coroutines, and small models on several cores.

Torch's threads gain nothing for such a model; one process per core, with one thread, scales."""

import asyncio
import contextlib
import importlib
import json
import os
import queue
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from drp_plugin.sampling.completions import OUTCOME, Outcome, SampleRequest

LEAST = 32  # Requests that justify one more process
_LONGEST = 1 << 30  # Bytes of an outcome


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") \
        else os.cpu_count() or 1


def in_thread(work: Callable[[Any], Coroutine[Any, Any, None]]) -> Iterator[tuple[int, Any]]:
    """What a coroutine, run in a thread of its own, puts into `work`'s queue."""
    results: queue.SimpleQueue[tuple[int, Any] | BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            asyncio.run(work(results))
            results.put(None)
        except BaseException as error:
            results.put(error)

    threading.Thread(target=run, daemon=True).start()
    while (item := results.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item


def run(kind: type, settings: dict[str, Any], requests: Sequence[SampleRequest],
        workers: int) -> Iterator[tuple[int, Outcome]]:
    """Each request's index and outcome, by processes; RuntimeError where one ends too early."""
    # -P: files in the current folder are not taken for modules
    command = [sys.executable, "-P", "-m", "drp_plugin.sampling.pool", kind.__module__,
               kind.__name__, json.dumps(settings)]
    # a distributed launch's ranks do not concern the worker
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    path = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    env |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
    processes: list[Process] = []

    async def one(part: range, results: Any) -> None:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=env,
                                                       limit=_LONGEST)
        processes.append(process)
        with contextlib.suppress(OSError):  # two samplings get a core each and do not take turns
            os.setpriority(os.PRIO_PROCESS, process.pid, os.nice(0) + 10 * (part.start > 0))
        assert process.stdin is not None and process.stdout is not None
        process.stdin.writelines(requests[i].model_dump_json().encode() + b"\n" for i in part)
        process.stdin.close()
        left = len(part)
        async for line in process.stdout:
            place, _, outcome = line.partition(b" ")
            results.put((part[int(place)], OUTCOME.validate_json(outcome)))
            left -= 1
        code = await process.wait()  # its end is noticed while the loop runs
        if left:
            raise RuntimeError(f"a sampling process ended with {code}, {left} completions missing")

    async def work(results: Any) -> None:
        await asyncio.gather(*(one(range(k, len(requests), workers), results)
                               for k in range(workers)))

    try:
        yield from in_thread(work)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def _main() -> None:
    """A worker: sampler and settings as arguments, requests on stdin, outcomes on stdout."""
    module, name, settings = sys.argv[1:]
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # a library's output must not come between
    sampler = getattr(importlib.import_module(module), name)(
        **json.loads(settings), threads=1, workers=1)
    requests = [SampleRequest.model_validate_json(line) for line in sys.stdin]
    try:
        for place, outcome in sampler.sample(requests):
            print(place, outcome.model_dump_json(), file=out, flush=True)
    except BrokenPipeError:
        os._exit(1)  # nobody is waiting any more


if __name__ == "__main__":
    _main()
