"""What is measured of costs: ratios within one run, of the processor's time. Absolute times are for `benchmarks`."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

TRIES = 3
"""Of each the best counts: that of others does not."""


def cost(work: Callable[[], Any]) -> float:
    """Seconds of the processor."""
    with _uncollected():
        return min(_once(work) for _ in range(TRIES))


def costs_less(work: Callable[[], Any], than: float) -> bool:
    """Whether `cost(work)` is less: the first try that is tells."""
    with _uncollected():
        return any(_once(work) < than for _ in range(TRIES))


def _once(work: Callable[[], Any]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """The collector goes through all that other tests have left, once the more is made."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
