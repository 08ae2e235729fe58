"""Work done ahead by threads, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

CORES = os.cpu_count() or 1
Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item], workers: int = CORES) -> Iterator[Result]:
    """`map` over threads that keeps the order and never holds more than a few results per thread; errors pass through.

    With 0 workers each item is worked on when it is asked for. Threads, not processes: numpy, Pillow and torch release
    the interpreter's lock while they work, nothing has to be copied, and a process that is killed leaves no other
    behind.
    """
    if not workers:
        yield from map(function, items)
        return
    pool, wanted = ThreadPoolExecutor(workers), True
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append(pool.submit(copy_context().run, function, item))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:  # perhaps by the garbage collector in a thread that another one waits for:
        wanted = False  # to wait here could be for ever; threads end by themselves where their pool is gone
        raise
    finally:
        for task in waiting:
            task.cancel()
        if wanted:
            pool.shutdown()
