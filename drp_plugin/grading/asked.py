"""The process that asks Math-Verify; run by its path, and so free of imports from this package."""

import contextlib
import json
import os
import resource
import signal
import sys
import time


def main(cpu_seconds: float, memory_bytes: int) -> None:
    """For each line with gold and candidate that comes in, send true or false out."""
    with contextlib.suppress(OSError, ValueError):      # macOS does not limit address space
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    from math_verify import LatexExtractionConfig, parse, verify

    signal.signal(signal.SIGPROF, signal.default_int_handler)      # KeyboardInterrupt
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)       # a library's output must not look like a reply
    print("ready", file=out, flush=True)
    config = [LatexExtractionConfig()]
    for line in sys.stdin:
        gold, candidate = json.loads(line)
        verdict = False
        # a signal has to wait while one huge multiplication keeps the interpreter busy: then the
        # kernel ends this process
        spent = int(time.process_time() + 2 * cpu_seconds) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (spent, resource.RLIM_INFINITY))
        try:
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            one, two = (parse(f"\\boxed{{{text}}}", config, parsing_timeout=None)
                        for text in (gold, candidate))
            verdict = bool(one and two and verify(one, two, timeout_seconds=None))
        except (KeyboardInterrupt, Exception):
            verdict = False
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(verdict), file=out, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
