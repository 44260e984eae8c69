"""What takes a kernel's stream, in order and from one place: the one reader that acts on what it says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kernel_supervisor.core.model import Message
from kernel_supervisor.records.messagelog import Entry
from kernel_supervisor.records.stream import Stream
from kernel_supervisor.running.reading import log_size
from kernel_supervisor.tasks import Swift, Tasks, happens, until_tick

log = logging.getLogger(__name__)
_LOOK_S, _LOOK_IDLE_S = 1.0, 30.0
"""How often the log is looked at, should a ring be lost: while the kernel is busy, and while it is not."""
_SMALL = 1 << 16
"""Bytes that are read at once."""


class Reader:
    """Hands each entry of `stream` to `take`, and to `take_heard` what was heard over a socket and is in no log.

    One at a time, from one task; `busy` says whether the kernel is.
    """

    def __init__(
        self,
        stream: Stream,
        take: Callable[[Entry], Awaitable[None]],
        take_heard: Callable[[Message], Awaitable[None]],
        busy: Callable[[], bool],
        name: str,
    ) -> None:
        """Read nothing before `begin`."""
        self._stream, self._take, self._take_heard, self._busy = stream, take, take_heard, busy
        self._name = name
        self.position = 0
        """How far the log is read."""
        self._kept = 0
        self._heard: list[Message] = []
        self._waiting: list[asyncio.Event] = []
        self._closed = False
        self._tasks, self._reading = Tasks(), Swift()
        self.caught_up = asyncio.Event()
        """Set once everything was read that stood there at the beginning."""

    def begin(self, position: int) -> None:
        """Read from `position` on, as long as it is not closed."""
        self.position = position
        self._tasks.keep(self._read_on, self._name)

    def hear(self, message: Message) -> None:
        """Take a message from a socket. Its kernel wrote it before it sent it: what the log lacks, it never had."""
        self._heard.append(message)

    async def to_end(self) -> None:
        """Return once everything is taken that stands there now."""
        if self._closed:
            return
        taken = asyncio.Event()
        self._waiting.append(taken)
        self._stream.rings.tell()
        await taken.wait()

    async def _read_on(self) -> None:
        while True:
            rung = self._stream.rings.next
            waiting, self._waiting = self._waiting, []
            try:
                await self._guarded(self._read())
            finally:
                for taken in (self.caught_up, *waiting):
                    taken.set()
            if not rung.is_set():
                await happens(rung, _LOOK_S if self._busy() else until_tick(_LOOK_IDLE_S))

    async def _read(self) -> None:
        heard, self._heard = self._heard, []
        while (behind := log_size(self._stream.log) - self.position) != 0:
            entries, self.position = await self._next(behind)
            if not entries:
                break
            for entry in entries:
                await self._guarded(self._take(entry))
        kept, self._kept = self._stream.unrecorded(self._kept)
        for item in kept:
            await self._guarded(self._take(Entry(self.position, self.position, item)))
        for message in heard:
            await self._guarded(self._take_heard(message))

    async def _next(self, behind: int) -> tuple[list[Entry], int]:
        """What stands next in a log that has so many bytes more, fewer than none where it was cut off."""
        if 0 < behind <= _SMALL and self._reading.is_swift:
            return self._reading.do(lambda: self._stream.take(self.position))
        return await asyncio.to_thread(self._stream.take, self.position)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception:  # an odd message spoils itself alone
            log.exception("%s: a message was passed over", self._name)

    async def close(self) -> None:
        """Read no more; nobody waits for it."""
        self._closed = True
        await self._tasks.close()
        for taken in (self.caught_up, *self._waiting):
            taken.set()
