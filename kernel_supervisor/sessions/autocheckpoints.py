"""Checkpoints that are made by themselves, in the sessions where that is wanted: when one has been idle for a while,
before its kernel is given up, and when the machine or the login ends."""

from __future__ import annotations

import asyncio
import logging

from kernel_supervisor import keeping
from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import Execution, SessionName, SessionRecord
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import farewells
from kernel_supervisor.sessions.checkpoints import Wanted
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import Tasks, happens

log = logging.getLogger(__name__)
AUTO = "auto"
_BEFORE_S = 60.0
"""How long a restart waits for what is saved before it."""


async def before(
    supervisor: Supervisor, session: SessionRecord, unless: Checkpoint | None = None
) -> tuple[Checkpoint | None, bool]:
    """Save a session's variables before its kernel is given up, where that is wanted and nothing runs there.

    The newest checkpoint of the kernel, and whether all that ran is in it. None is made where that is so already, or
    where it is the one that is brought back. It keeps nobody from going on.
    """
    runner = supervisor.sessions.runner_of(session)
    if session.checkpoints != AUTO or runner is None or not runner.kernel.alive:
        return None, True
    newest = await supervisor.checkpoints.newest(session.name, runner.kernel.record.id)
    if runner.running is not None:
        return newest, False
    if newest is not None and (newest == unless or not await _ran_since(supervisor, runner, newest)):
        return newest, True
    made = await _save(supervisor, session, runner, _BEFORE_S)
    return (made, True) if made is not None else (newest, False)


async def _ran_since(supervisor: Supervisor, runner: Runner, checkpoint: Checkpoint) -> bool:
    """Whether a kernel has run anything since a checkpoint."""
    record = runner.kernel.record
    if (checkpoint.kernel_id, checkpoint.generation) != (record.id, record.generation):
        return True
    over = await supervisor.records.settled_on(record, 1)
    return any(each.id > checkpoint.latest for each in over)


async def _save(supervisor: Supervisor, session: SessionRecord, runner: Runner, deadline_s: float) -> Checkpoint | None:
    """The checkpoint; None where there could be none, which only the log tells."""
    try:
        wanted = Wanted(session=session, runner=runner, kind="auto", deadline_s=deadline_s)
        made = await asyncio.wait_for(supervisor.checkpoints.save(wanted), deadline_s + 1.0)
        if made.names:
            return made
        await supervisor.checkpoints.drop([made.id])  # it would be the newest
    except (SupervisorError, asyncio.TimeoutError) as error:
        log.warning("session %s: no checkpoint by itself: %s", session.name, error or "it took too long")
    except Exception:
        log.exception("session %s: no checkpoint by itself", session.name)
    return None


async def at_the_end(supervisor: Supervisor, deadline_s: float) -> None:
    """Save what is wanted of all sessions at the same time: the machine or the login is about to end."""
    wanted = [
        (session, runner)
        for session in supervisor.sessions.known.values()
        if session.checkpoints == AUTO and (runner := supervisor.sessions.runner_of(session)) is not None
    ]
    await asyncio.gather(*(_save_last(supervisor, session, runner, deadline_s) for session, runner in wanted))


async def _save_last(supervisor: Supervisor, session: SessionRecord, runner: Runner, deadline_s: float) -> None:
    newest = await supervisor.checkpoints.newest(session.name, runner.kernel.record.id)
    if newest is None or await _ran_since(supervisor, runner, newest):
        await _save(supervisor, session, runner, deadline_s)


class AutoCheckpoints:
    """The daemon's: one task for each session in which something ran."""

    def __init__(self, supervisor: Supervisor) -> None:
        """Nothing is looked after before `open`."""
        self._supervisor = supervisor
        self._kept: set[SessionName] = set()
        self.wanted = asyncio.Event()
        """Set once there is a session whose variables are saved by themselves."""
        self._closing = asyncio.Event()
        self._tasks = Tasks()

    def open(self) -> None:
        """Look after sessions from now on, and after those in which something ran before."""
        self._supervisor.look_after = self._look_after
        self._supervisor.records.watchers.append(self._take)
        for session in self._supervisor.sessions.known.values():
            self._look_after(session.name)

    def _take(self, entry: Execution) -> None:
        if entry.kind == "code" and entry.settled:
            self._look_after(entry.session)

    def _look_after(self, name: SessionName) -> None:
        session = self._supervisor.sessions.known.get(name)
        if session is None or session.checkpoints != AUTO:
            return
        self.wanted.set()
        if name not in self._kept:
            self._kept.add(name)
            self._tasks.begin(self._when_idle(name), f"checkpoints of session {name}")

    async def _when_idle(self, name: SessionName) -> None:
        """Save a session once nothing has run there for a while, unless nothing has changed."""
        try:
            await self._ready(name)
            while (left := self._left_s(name)) > 0:
                if await happens(self._closing, left):
                    return
        finally:
            self._kept.discard(name)
        session = self._supervisor.sessions.known.get(name)
        if session is not None:
            await before(self._supervisor, session)
            await self._ready(name)

    async def _ready(self, name: SessionName) -> None:
        """Have the kernel of a session save itself where others end it, unless it is at work."""
        session = self._supervisor.sessions.known.get(name)
        runner = self._supervisor.sessions.runner_of(session) if session is not None else None
        if session is not None and runner is not None and runner.kernel.alive and runner.running is None:
            await farewells.ready(self._supervisor.checkpoints, session, runner)

    def _left_s(self, name: SessionName) -> float:
        """How long a session has still to be idle; 0 where it has been, or has no kernel."""
        session = self._supervisor.sessions.known.get(name)
        runner = self._supervisor.sessions.runner_of(session) if session is not None else None
        if runner is None or not runner.kernel.alive:
            return 0.0
        if runner.running is not None or runner.waiting:
            return keeping.IDLE_S
        return max(0.0, keeping.IDLE_S - runner.idle_s)

    async def close(self) -> None:
        """The next daemon goes on."""
        self._closing.set()
        await self._tasks.close()
