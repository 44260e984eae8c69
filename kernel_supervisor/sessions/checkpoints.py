"""Checkpoints of sessions' variables: made, found, superseded, offered where a kernel is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernel_supervisor.amounts import size
from kernel_supervisor.core import checkpoints as core
from kernel_supervisor.core.checkpoints import Checkpoint, CheckpointId, Held, Kind
from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import ExecutionId, KernelId, SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.commands import Progress, silent
from kernel_supervisor.kernels import checkpoints as kernels
from kernel_supervisor.kernels.checkpoints import Begun, BusyError
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.checkpoints import Checkpoints as Disk
from kernel_supervisor.records.database import Database
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions.offering import offered
from kernel_supervisor.tasks import apart, happens

log = logging.getLogger(__name__)
DEADLINE_S = 600.0
"""How long a snapshot may write."""
_NAME_S = 30.0
"""How long one variable may take to be saved."""
_SPARED = 1 << 30
"""Bytes of the disk that are left free."""
_AGAIN_S, _TRIES = 0.2, 300
"""How often, and how many times, a kernel is asked again in which a cell runs that is not ours."""
LOOKED_AT = 2000
"""Entries of the history that are looked through for what made a variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A checkpoint that is to be made."""

    session: SessionRecord
    runner: Runner
    kind: Kind
    name: str = ""
    only: Sequence[str] | None = None
    tell: Progress = silent
    deadline_s: float = DEADLINE_S

    def blank(self, number: CheckpointId) -> Checkpoint:
        """It as far as it is known before."""
        record = self.runner.kernel.record
        return Checkpoint(
            id=number,
            session=self.session.name,
            name=self.name,
            kind=self.kind,
            at=time.time(),
            kernel_id=record.id,
            generation=record.generation,
            interpreter=record.interpreter,
        )


class Checkpoints:
    """Those of all sessions."""

    def __init__(self, paths: Paths, records: Database) -> None:
        """Name the folder."""
        self.disk = Disk(paths)
        self.records = records
        self.settle: Callable[[KernelId], Awaitable[None]]
        """Takes up what a kernel that is gone has saved as others ended it."""
        self.waiting: Callable[[SessionName, KernelId], Iterable[ExecutionId]]
        """The executions of a session that a kernel has still to run."""
        self._locks: defaultdict[KernelId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._writers = 0

    async def of(self, name: SessionName) -> list[Checkpoint]:
        """A session's that can be asked for, the oldest first."""
        return [each for each in await self.all() if each.session == name]

    async def all(self) -> list[Checkpoint]:
        """Those that can be asked for, the oldest first."""
        return [each for each in await apart("documents", self.disk.all) if each.kind != "carried"]

    async def find(self, session: SessionRecord, wanted: str) -> Checkpoint:
        """The one of a session that is meant by `last`, a name, or an id. Raises RefusedError."""
        there = await self.of(session.name)
        found = core.find(there, wanted, session.kernel_id)
        if found is not None:
            return found
        if not there:
            raise RefusedError(f"session {session.name} has no checkpoint", WayOn("checkpoint"))
        named = ", ".join(dict.fromkeys(f'"{each.called}"' for each in there[::-1]))
        there_are = f'it has {named}, and "last" is the first of them'
        raise RefusedError(f'session {session.name} has no checkpoint "{wanted}"; {there_are}')

    async def held(self, checkpoint: Checkpoint) -> list[Held]:
        """What is in one, by name. Raises UnavailableError."""
        try:
            manifest, _ = await apart("documents", self.disk.manifest, checkpoint.id)
            history = await self.records.history(checkpoint.session, last=LOOKED_AT)
            before = [each for each in history[::-1] if each.id <= checkpoint.latest]
            makers = await apart("documents", core.makers, checkpoint.names, before)
            return core.held(manifest, makers)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnavailableError(f"what checkpoint {checkpoint.called} holds cannot be read: {error}") from None

    # Saving

    async def save(self, wanted: Wanted) -> Checkpoint:
        """Save the variables of a session's kernel, once no cell runs there. Raises RefusedError, UnavailableError."""
        if why := kernels.why_not(wanted.runner.kernel):
            raise RefusedError(f"{why}: its variables cannot be saved")
        async with self._locks[wanted.runner.kernel.record.id]:
            self._writers += 1
            try:
                saved = await self._save(wanted)
            finally:
                self._writers -= 1
        await self._supersede(saved)
        return saved

    async def _save(self, wanted: Wanted) -> Checkpoint:
        try:
            number = await apart("documents", self.disk.begin)
        except OSError as error:
            raise UnavailableError(f"nothing can be saved: {error}") from None
        blank = wanted.blank(number)
        try:
            begun, latest = await self._begin(wanted, number)
            wanted.tell("the kernel goes on; what it had is being written")
            in_time = await begun.over(wanted.deadline_s)
            said = await self._written(number, in_time=in_time)
            checkpoint = await self.commit(replace(blank, latest=latest), *said)
        except OSError as error:
            await apart("documents", self.disk.remove, number)
            raise UnavailableError(f"nothing was saved: {error}") from None
        except BaseException:
            await asyncio.shield(apart("documents", self.disk.remove, number))
            raise
        count, total = len(checkpoint.names), checkpoint.total
        log.info("session %s: checkpoint %s, %s of %s variables", checkpoint.session, number, count, total)
        return checkpoint

    async def _begin(self, wanted: Wanted, number: CheckpointId) -> tuple[Begun, int]:
        """Have the kernel begin, between cells; with that the last of the session before what waits then."""
        content, runner = await apart("documents", self.content, wanted, number), wanted.runner
        for _ in range(_TRIES):
            if (running := runner.running) is not None:
                wanted.tell(f"waits for the end of execution {running.execution.id}")
            async with runner.paused():
                with contextlib.suppress(BusyError):
                    begun = await kernels.begin(runner.kernel, content)
                    latest = await self.records.latest(wanted.session.name)
                    waiting = self.waiting(wanted.session.name, runner.kernel.record.id)
                    return begun, min((each - 1 for each in waiting), default=latest)
            if await happens(runner.gone, _AGAIN_S):
                break
        raise UnavailableError("the kernel is never idle: its variables were not saved")

    def content(self, wanted: Wanted, number: CheckpointId) -> dict[str, Any]:
        """What a kernel is asked, as `inside/door` takes it. Blocks on the disk. Raises UnavailableError where that is
        full."""
        free = shutil.disk_usage(self.disk.objects).free
        if free <= _SPARED:
            there = f"the disk of {self.disk.objects} has {size(free)} free"
            raise UnavailableError(f"nothing can be saved: {there}, and {size(_SPARED)} is always left")
        room = free - _SPARED
        return {
            "into": self.disk.folder(number),
            "objects": self.disk.objects,
            "only": list(wanted.only) if wanted.only is not None else None,
            "deadline_s": wanted.deadline_s,
            "name_s": _NAME_S,
            "name_bytes": room,
            "total_bytes": room,
            "secret_names": list(core.SECRET_NAMES),
            "threads": True,
        }

    async def _written(self, number: CheckpointId, *, in_time: bool) -> tuple[dict[str, Any], str]:
        try:
            return await apart("documents", self.disk.manifest, number)
        except (OSError, ValueError):
            why = await apart("documents", self.disk.why_failed, number)
            late = "it took too long, and was ended" if not in_time else "what was to write it is gone"
            raise UnavailableError(f"nothing was saved: {why or late}") from None

    async def commit(self, blank: Checkpoint, said: dict[str, Any], digest: str) -> Checkpoint:
        """Have it be one, with what its manifest says. Raises OSError."""
        missing = {str(each): str(why) for each, why in said["missing"].items()}
        history = await self.records.history(blank.session, last=LOOKED_AT) if missing else []
        checkpoint = replace(
            blank,
            python=str(said["python"]),
            names=tuple(sorted({*said["names"], *said["definitions"], *said["imports"]})),
            missing=missing,
            makers=await apart("documents", core.makers, missing, history[::-1]),
            size=int(said["bytes"]),
            written=int(said["written"]),
            held_ms=float(said["held_ms"]),
            took_s=round(time.time() - blank.at, 3),
            manifest=digest,
        )
        await apart("documents", self.disk.commit, checkpoint)
        return checkpoint

    async def _supersede(self, new: Checkpoint) -> None:
        """Have those go that one makes needless, and what no checkpoint needs any more."""
        incomplete = await apart("documents", self.disk.incomplete, new)
        old = core.superseded(new, await self.of(new.session), incomplete) if new.kind == "auto" else []
        if old:
            await self.drop(each.id for each in old)

    async def drop(self, numbers: Iterable[CheckpointId]) -> int:
        """Have them gone; how many bytes that freed."""
        for each in numbers:
            await apart("documents", self.disk.remove, each)
        return await self.sweep()

    async def sweep(self) -> int:
        """Remove what no checkpoint needs, unless one is being written, whose turn comes; how many bytes."""
        return 0 if self._writers else await apart("documents", self.disk.sweep)

    async def newest(self, session: SessionName, kernel_id: KernelId) -> Checkpoint | None:
        """The newest of a session's that is of this kernel."""
        await self.settle(kernel_id)
        there = [each for each in await self.of(session) if each.kernel_id == kernel_id]
        return core.find(there, core.LAST)

    async def offer(self, session: SessionRecord, kernel_id: KernelId) -> tuple[str | WayOn, ...]:
        """What of a kernel that is gone can be brought back, in words; empty for nothing."""
        newest = await self.newest(session.name, kernel_id)
        if newest is None:
            return ()
        is_last = core.find(await self.of(session.name), core.LAST, session.kernel_id) == newest
        return offered(newest, core.LAST if is_last else newest.called)
