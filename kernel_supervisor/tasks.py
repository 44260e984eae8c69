"""Tasks that run beside whoever began them: named, held, heard of where they fail, and over when their owner is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, TypeVar, get_args

log = logging.getLogger(__name__)
Trade = Literal["results", "documents", "environments"]
"""What blocks for long: reading and rendering what was printed; writing and reading notebooks; looking for
interpreters, and readying them, which may download."""
_THREADS = 4
_pools: dict[Trade, ThreadPoolExecutor] = {
    trade: ThreadPoolExecutor(_THREADS, thread_name_prefix=trade) for trade in get_args(Trade)
}
_T = TypeVar("_T")
_AGAIN_S = 1.0
"""After how long what failed is begun again."""
_END_S = 10.0
"""How long a task that was cancelled may take to end."""
_LONG_S, _APART_S = 0.02, 30.0
"""What takes longer than the first holds up the loop, and is done apart for so long."""


class Tasks:
    """The tasks of one owner."""

    def __init__(self) -> None:
        """There are none yet."""
        self._running: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, _T], name: str, *, awaited: bool = False) -> asyncio.Task[_T]:
        """Begin it, held until it is over. What it raises is logged, but where it is `awaited` and heard of there."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(lambda over: self._take(over, awaited))
        return task

    def keep(self, work: Callable[[], Coroutine[Any, Any, _T]], name: str) -> asyncio.Task[_T]:
        """Begin it, and again each time that it fails: others rely on it as long as it is not closed."""
        return self.begin(_kept(work, name), name)

    def _take(self, task: asyncio.Task[Any], awaited: bool) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not awaited:
            log.error("%s failed", task.get_name(), exc_info=error)

    async def close(self, patience_s: float = 0.0) -> None:
        """Return when all are over; what is not within `patience_s` is cancelled. What begins meanwhile counts, too."""
        if self._running and patience_s > 0:
            await asyncio.wait(self._running, timeout=patience_s)
        for task in self._running:
            task.cancel()
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=_END_S)
            for task in left:
                log.error("%s does not end", task.get_name())


async def _kept(work: Callable[[], Coroutine[Any, Any, _T]], name: str) -> _T:
    while True:
        try:
            return await work()
        except Exception:
            log.exception("%s failed, and is begun again", name)
            await asyncio.sleep(_AGAIN_S)


async def apart(trade: Trade, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
    """Do what blocks in one of the few threads of its trade: however long it takes, no other trade waits for that."""
    return await asyncio.get_running_loop().run_in_executor(_pools[trade], partial(work, *arguments, **named))


class Swift:
    """Whether what takes microseconds, which a thread would make several times as long, may be done on the loop.

    Not for a while where it last took long: its disk is busy, or far away.
    """

    def __init__(self) -> None:
        """It may."""
        self._apart_until = 0.0

    @property
    def is_swift(self) -> bool:
        """Whether it did not take long lately."""
        return time.monotonic() >= self._apart_until

    def do(self, work: Callable[[], _T]) -> _T:
        """Do it here and now."""
        began = time.monotonic()
        try:
            return work()
        finally:
            if time.monotonic() - began > _LONG_S:
                self._apart_until = time.monotonic() + _APART_S


async def in_passing(work: Coroutine[Any, Any, _T], what: str, otherwise: _T, within_s: float) -> _T:
    """What `work` gives; `otherwise` where it fails or takes longer, which only the log tells: it costs nobody more."""
    try:
        return await asyncio.wait_for(work, within_s)
    except asyncio.TimeoutError:
        log.warning("%s was given up after %g s", what, within_s)
    except Exception:
        log.exception("%s failed", what)
    return otherwise


def until_tick(period_s: float) -> float:
    """How long until the next whole multiple of a period: those who look once in each look at the same time, which
    wakes this process once for a hundred of them."""
    return period_s - time.monotonic() % period_s


class News:
    """What happens again and again: take hold of the `next` time *before* looking whether to wait for it."""

    def __init__(self) -> None:
        """It has not happened yet."""
        self.next = asyncio.Event()

    def tell(self) -> None:
        """Wake those who wait; who comes now waits for another time."""
        told, self.next = self.next, asyncio.Event()
        told.set()


async def happens(event: asyncio.Event, within_s: float | None) -> bool:
    """Wait for an event, so long at most; whether it happened.

    `asyncio.wait_for` may swallow a cancellation before Python 3.12, and whoever waits in a loop would go on for ever:
    https://github.com/python/cpython/issues/86296
    """
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=within_s)
    finally:
        waiting.cancel()
    return event.is_set()
