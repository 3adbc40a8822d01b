"""Work measured in a unit that a slow or busy machine stretches as well."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def effort(call: Callable[[], Any]) -> float:
    """CPU time of `call`, as a multiple of a fixed loop's that runs before and after it."""
    def timed(what: Callable[[], Any]) -> float:
        start = time.process_time()
        what()
        return time.process_time() - start

    def loop() -> int:
        return sum(i * i % 7 for i in range(300_000))

    before, spent, after = timed(loop), timed(call), timed(loop)
    return spent / max(before, after)
