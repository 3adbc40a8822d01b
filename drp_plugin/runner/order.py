"""Many rows at once, results in the order of the input, memory bounded."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def in_order(items: Iterable[T], work: Callable[[T], Awaitable[R]], *, active: int,
                   window: int) -> AsyncGenerator[R, None]:
    """Yield `work(item)` for each item, in their order.

    At most `active` items are worked on at once, and at most `window` are read and not yet
    yielded, which bounds the memory. An exception of any work ends it all and is raised once the
    others, which are cancelled and may have an answer to store first, have come to an end.
    """
    source = ((item,) for item in items)
    queue: deque[asyncio.Task[R]] = deque()
    changed = asyncio.Event()
    running = 0
    failure: BaseException | None = None

    def done(task: asyncio.Task[R]) -> None:
        nonlocal running, failure
        running -= 1
        if not task.cancelled() and failure is None:
            failure = task.exception()
        changed.set()

    try:
        while True:
            while running < active and len(queue) < window and (following := next(source, None)):
                task = asyncio.ensure_future(work(*following))
                task.add_done_callback(done)
                running += 1
                queue.append(task)
            if not queue:
                return
            if queue[0].done():
                yield queue.popleft().result()
                continue
            changed.clear()
            await changed.wait()
            if failure is not None:
                raise failure  # without waiting for the rows before it: the run is over
    finally:
        for task in queue:
            task.cancel()
        await asyncio.gather(*queue, return_exceptions=True)
