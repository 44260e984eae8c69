"""The processes that stand by to become kernels: one for each kind of kernel that was started lately.

One is started when nothing is going on here, and none is needed for anything: without one a start is cold.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass

from kernel_supervisor import keeping
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.core.spares import can_stand_by
from kernel_supervisor.inside.spare import CHANGED, UNFIT
from kernel_supervisor.kernels import spares
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.kernels.process import descriptors_left
from kernel_supervisor.kernels.spares import Kind, Spare
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.database import Database
from kernel_supervisor.tasks import News, Tasks, apart

log = logging.getLogger(__name__)
_MOST = 2
_QUIET_S = 2.0
"""How long nothing may have gone on here before one is started: whoever works has the processors."""
_ROOM = 100
"""File descriptors that must be left for one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One that stands by, as people see it."""

    python: str
    pid: int
    since: float
    """In seconds since the epoch."""
    memory_bytes: int
    """What it takes that nobody else would have."""


class Spares:
    """The daemon's."""

    def __init__(self, paths: Paths, records: Database) -> None:
        """None is started before `keep`."""
        self._paths, self._records = paths, records
        self._wanted: keeping.Newest[Kind, Surroundings] = keeping.Newest(_MOST)
        """By kind, the surroundings of its latest kernel; the kind that was used last comes last."""
        self._unfit: set[tuple[str, ...]] = set()
        """Commands of which none can stand by."""
        self._spares: dict[Kind, Spare] = {}
        self._watches: dict[Kind, asyncio.Task[None]] = {}
        self._news = News()
        self._stirred = 0.0
        self._tasks = Tasks()

    def stir(self) -> None:
        """Something goes on here."""
        self._stirred = time.monotonic()

    def note(self, record: KernelRecord, surroundings: Surroundings) -> None:
        """A kernel was started: another like it may be wanted soon."""
        if not _can_be_spared(record, surroundings) or record.interpreter.argv in self._unfit:
            return
        kind = spares.kind_of_spare(record.interpreter, record.overlay, surroundings)
        self._wanted.pop(kind, None)
        self._wanted[kind] = surroundings
        self._news.tell()

    async def end_left(self) -> None:
        """End those of a predecessor."""
        for name, process in (await self._records.spares()).items():
            await asyncio.to_thread(spares.end_left, name, process)
            await self._records.forget_spare(name)

    async def keep(self) -> None:
        """Start what is wanted, each time that it is quiet; until cancelled."""
        while True:
            news = self._news.next
            if set(self._wanted) == set(self._spares):
                await news.wait()
            elif (busy_s := self._stirred + _QUIET_S - time.monotonic()) > 0:
                await asyncio.sleep(busy_s)
            else:
                await self._settle()

    async def _settle(self) -> None:
        """End one that is not wanted any more, or start one that is."""
        for kind in self._spares:
            if kind not in self._wanted:
                await self._end(await self._parted(kind))
                return
        kind = next(kind for kind in reversed(self._wanted) if kind not in self._spares)
        if descriptors_left() < _ROOM:
            del self._wanted[kind]
        else:
            await self._start(kind)

    async def _start(self, kind: Kind) -> None:
        """Commit, start, commit the process: a next daemon finds it whatever line was the last."""
        name, surroundings = secrets.token_hex(6), self._wanted[kind]
        await self._records.save_spare(name)
        work = apart("environments", spares.start, name, kind, surroundings, self._paths, keeping.SPARE_S)
        starting = asyncio.ensure_future(work)
        try:
            spare = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self._end(await starting)
            raise
        except OSError as error:
            log.warning("no kernel stands by for %s: %s", kind.argv[0], error)
            self._wanted.pop(kind, None)
            await self._records.forget_spare(name)
            return
        self._spares[kind] = spare
        self._watches[kind] = self._tasks.begin(self._watch(kind, spare), f"watch of the spare kernel {name}")
        await self._records.save_spare(name, spare.process.identity)

    async def _parted(self, kind: Kind) -> Spare:
        """One that is nobody's any more but the caller's."""
        spare, watch = self._spares.pop(kind), self._watches.pop(kind)
        watch.cancel()
        await asyncio.wait({watch})
        return spare

    async def _watch(self, kind: Kind, spare: Spare) -> None:
        """Take note of its end."""
        await spare.process.ended()
        if self._spares.get(kind) is not spare:
            return
        del self._spares[kind], self._watches[kind]
        how, words = spare.process.exit(), await asyncio.to_thread(spare.words)
        log.info("a kernel stands by no longer for %s (%s): %s", kind.argv[0], how, words)
        if how.code == UNFIT:
            self._unfit.add(kind.argv)
        if how.code != CHANGED:
            self._wanted.pop(kind, None)
        await self._end(spare)
        self._news.tell()

    async def take(self, record: KernelRecord, surroundings: Surroundings) -> Spare | None:
        """The one that can become this kernel, to be this caller's alone; None where it has to be started."""
        if not _can_be_spared(record, surroundings):
            return None
        kind = spares.kind_of_spare(record.interpreter, record.overlay, surroundings)
        if kind not in self._spares:
            return None
        spare = await self._parted(kind)
        if await asyncio.to_thread(spare.ready):
            return spare
        await self._end(spare)
        return None

    async def hand_over(self, spare: Spare, record: KernelRecord, surroundings: Surroundings, key: str) -> Kernel:
        """The kernel that it became, answering. Committed as that before it is told so: whatever line is the last, a
        next daemon finds the kernel, or that it is gone. Raises UnavailableError: nothing of the session was run."""
        try:
            order = spares.order(record, surroundings, key)
            kernel = Kernel(spare.keeper(record, surroundings))
        except BaseException:
            await asyncio.shield(self._end(spare))
            raise
        try:
            await self._records.save_kernel(kernel.record)
            await self._records.forget_spare(spare.name)
            await spare.become(order)
            await kernel.connect()
        except BaseException:
            await asyncio.shield(kernel.shutdown())
            raise
        return kernel

    async def standing(self) -> list[Standing]:
        """Those that stand by; not those that are about to."""
        found = []
        for kind, spare in list(self._spares.items()):
            if await asyncio.to_thread(spare.stands):
                pid, memory = spare.process.identity.pid, await asyncio.to_thread(spare.memory)
                found.append(Standing(python=kind.argv[0], pid=pid, since=spare.since, memory_bytes=memory))
        return found

    async def _end(self, spare: Spare) -> None:
        await spare.end()
        await self._records.forget_spare(spare.name)

    async def close(self) -> None:
        """End them."""
        await self._tasks.close()
        standing, self._spares = list(self._spares.values()), {}
        await asyncio.gather(*(self._end(each) for each in standing))


def _can_be_spared(record: KernelRecord, surroundings: Surroundings) -> bool:
    """Whether it is a kernel that a process which stands by can become."""
    return kind_of(record).here and record.recorded and can_stand_by(record.interpreter, surroundings.env)
