"""What is measured of costs: ratios within one run, of the processor's time. Absolute times are for `benchmarks`."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

MAJORITY = 4
"""Of twice as many pairs less one. The processor's own speed varies, by two within a tenth of a second on a machine
that others share: only what was measured in the same moment compares, and no single pair tells."""


def costs_less(work: Callable[[], Any], times: float, than: Callable[[], Any]) -> bool:
    """Whether `work` takes less of the processor's time than `times` what `than` takes: what most pairs say."""
    said = {True: 0, False: 0}
    with _uncollected():
        while max(said.values()) < MAJORITY:
            floor = _seconds(than)
            said[_seconds(work) < times * floor] += 1
    return said[True] == MAJORITY


def _seconds(work: Callable[[], Any]) -> float:
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
