"""Sessions: what a client works in, and the kernel that each has now."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from kernel_supervisor.amounts import several
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, SessionName, SessionRecord
from kernel_supervisor.core.retention import Due
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.defaults import default
from kernel_supervisor.kernels.kinds import way_around
from kernel_supervisor.records.database import Database
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import naming
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.kernels import Kernels
from kernel_supervisor.sessions.offering import had_ended
from kernel_supervisor.tasks import apart, happens

_BURIAL_S = 5.0
"""How long the explanation of a kernel's death may take."""
_REACH_S, _LOOK_AGAIN_S = 3.0, 0.1


class Sessions:
    """Every session on record, and who works in it."""

    def __init__(self, records: Database, kernels: Kernels) -> None:
        """Know none before `open`."""
        self._records, self._kernels = records, kernels
        self.known: dict[SessionName, SessionRecord] = {}
        self.leaving: dict[SessionName, Due] = {}
        """Those whose history goes, and no notebook has it: who looks is told."""
        self.told: dict[SessionName, float] = {}
        """Since when that is said of one, in seconds since the epoch."""
        self.projects = naming.Projects()
        self.locks: defaultdict[SessionName, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a session gets another kernel."""
        self.offer: Callable[[SessionRecord, KernelId], Awaitable[tuple[str | WayOn, ...]]]
        """What of a kernel that is gone can be brought back, in words; empty for nothing."""
        self._at_work: defaultdict[SessionName, set[str]] = defaultdict(set)
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        """By client, the directories of the projects that it asked for."""

    async def open(self) -> None:
        """Take in what is on record."""
        for session in await self._records.sessions():
            self.known[session.name] = session
            self.projects.learn(session)
        self.told = await self._records.told()

    async def of(self, asker: Asker, wanted: str = "") -> SessionRecord:
        """The session that a client means: the one it names, was told to use, or its project's own.

        What its client has to know of one that is new is its notice. Raises RefusedError for what is no name.
        """
        self._seen[asker.client_id].add(asker.directory)
        return await self.named(asker.directory, wanted or asker.session)

    def is_own(self, asker: Asker, name: SessionName) -> bool:
        """Whether it is the session that a client means which names none."""
        with suppress(RefusedError):
            return naming.resolve(asker.session, asker.directory, self.projects, self.known)[0] == name
        return False

    async def named(self, project: str, wanted: str) -> SessionRecord:
        """The session that a name means in a project. Raises RefusedError for what is no name."""
        name, directory = naming.resolve(wanted, project, self.projects, self.known)
        known = self.known.get(name)
        if known is not None:
            return known
        notice = await self._remark(wanted.strip(), directory)
        return SessionRecord(name=name, directory=directory, created_at=time.time(), notice=notice)

    async def _remark(self, wanted: str, directory: str) -> str:
        """What to know of a session that is new: where an older one may be that was meant by its name, or lost."""
        if old := naming.old_ones(wanted, directory, self.known):
            return (
                f'session "{wanted}" is this project\'s own. It used to mean the same session in every project: '
                f"{naming.listed(old)}, of {old[0].directory}; spelled so it is found from everywhere"
            )
        if any(session.directory == directory for session in self.known.values()):
            return ""
        runners = {name: self.runner_of(session) for name, session in self.known.items()}
        pids = {name: runner.kernel.record.pid for name, runner in runners.items() if runner is not None}
        moved = await apart("environments", naming.moved_to, directory, list(self.known.values()), pids)
        if not moved:
            return ""
        return (
            f"this directory seems to be {moved[0].directory}, which is gone, under another path. Its work is in "
            f"session {naming.listed(moved)}: name {moved[0].name} as the session to go on there, nothing is taken "
            "over by itself"
        )

    async def keep(self, session: SessionRecord) -> SessionRecord:
        """Commit a session that something is about to happen in; looking at one leaves no trace."""
        if session.name not in self.known:
            self.projects.learn(session)
            await self._records.save_session(session)
            self.known.setdefault(session.name, session)
        return self.known[session.name]

    async def of_stray(self, record: KernelRecord) -> SessionName:
        """The session of a kernel that was found on no record; on record itself from now on, with that kernel if it
        is new. Where nothing tells, it is its directory's own."""
        name = record.session or naming.resolve("", record.directory, self.projects, self.known)[0]
        if name not in self.known:
            notice = f"kernel {record.id} was found running, and no record told of it: this session goes on with it"
            session = SessionRecord(name=name, directory=record.directory, kernel_id=record.id, notice=notice)
            await self.keep(replace(session, created_at=time.time()))
        return name

    def enter(self, session: SessionName, client_id: str) -> int:
        """Note that a client works in a session; how many others do."""
        self._at_work[session].add(client_id)
        return len(self._at_work[session]) - 1

    def worked_in(self, client_id: str) -> list[SessionRecord]:
        """The sessions that a client worked in since this daemon knows it."""
        return [
            self.known[name] for name, clients in self._at_work.items() if client_id in clients and name in self.known
        ]

    def goodbye(self, client_id: str) -> None:
        """A client is gone."""
        for clients in self._at_work.values():
            clients.discard(client_id)
        self._seen.pop(client_id, None)
        self._release()

    def forget(self, name: SessionName) -> None:
        """A session is no more."""
        del self.known[name]
        self.leaving.pop(name, None)
        self.told.pop(name, None)
        self._release()

    def _release(self) -> None:
        used = {session.directory for session in self.known.values()}.union(*self._seen.values())
        self.projects.release(used, self.known.values())

    async def change(self, name: SessionName, **changes: Any) -> SessionRecord:
        """Commit a change of some fields of a session; what others change meanwhile stays."""
        session = self.known[name] = replace(self.known[name], **changes)
        await self._records.save_session(session)
        return session

    async def tell(self, name: SessionName) -> None:
        """Commit that people are told from now on that a session's history goes."""
        self.told[name] = time.time()
        await self._records.tell(name, self.told[name])

    def runner_of(self, session: SessionRecord) -> Runner | None:
        """The session's current kernel, if it lives."""
        return self._kernels.runners.get(session.kernel_id) if session.kernel_id is not None else None

    async def living_runner(self, session: SessionRecord, so_far: str = "") -> Runner | None:
        """The session's current kernel; None where it has none yet. Raises RefusedError where it is dead, which says
        `so_far` first."""
        runner = await self.present_runner(session)
        if runner is None and session.kernel_id is not None:
            await self._refuse_dead(session, session.kernel_id, so_far)
        return runner

    async def present_runner(self, session: SessionRecord) -> Runner | None:
        """The session's current kernel, if it lives; where it died a moment ago, its explanation is on record now."""
        if session.kernel_id is not None and session.kernel_id in self._kernels.adoption:
            await self._reached(session.kernel_id)
        runner = self.runner_of(session)
        if runner is None or runner.kernel.alive:
            return runner
        await happens(runner.gone, _BURIAL_S)
        return None

    async def _reached(self, kernel_id: KernelId) -> None:
        """Give a kernel that is out of reach a moment: this client may just have brought what was missing."""
        end = time.monotonic() + _REACH_S
        while kernel_id in self._kernels.adoption and time.monotonic() < end:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def kernel_record(self, session: SessionRecord) -> KernelRecord | None:
        """The record of the session's current kernel, living or ended."""
        runner = self.runner_of(session)
        if runner is not None:
            return runner.kernel.record
        return await self._records.kernel(session.kernel_id) if session.kernel_id is not None else None

    async def default_interpreter(self, session: SessionRecord, asker: Asker) -> Interpreter:
        """What a session's default kernel runs where this client starts it, and why."""
        where = replace(asker.where, directory=Path(session.directory))
        return await apart("environments", default, where, asker.python or None)

    async def ready_runner(
        self, session: SessionRecord, asker: Asker, interpreter: Interpreter | None = None, directory: str = ""
    ) -> Runner:
        """The session's kernel, started if there is none yet: in `interpreter` and `directory`, else in the default one
        and the session's own.

        Raises RefusedError where it is dead (it is replaced only on request), UnavailableError where it
        cannot be started.
        """
        async with self.locks[session.name]:
            session = self.known[session.name]
            runner = await self.living_runner(session, "Not run: ")
            if runner is not None:
                return runner
            if interpreter is None:
                interpreter = await self.default_interpreter(session, asker)
            runner = self.kernel_in(session, interpreter)
            if runner is None:
                runner = await self._kernels.start(session.name, interpreter, asker, directory or session.directory)
            await self.change(session.name, kernel_id=runner.kernel.record.id)
            return runner

    def kernel_in(self, session: SessionRecord, interpreter: Interpreter) -> Runner | None:
        """A living kernel that this session started with this interpreter before."""
        for runner in self._kernels.runners.values():
            record = runner.kernel.record
            ours = runner.lives_on and record.session == session.name and record.owned
            if ours and record.interpreter.argv == interpreter.argv:
                return runner
        return None

    async def back(self, session: SessionRecord, kernel_id: KernelId, generation: int) -> tuple[str | WayOn, ...]:
        """How what went with a kernel can be had again: by running what succeeded last, where that was in a kernel of
        before, and from a checkpoint. Each begins with what joins it to the words before; empty for neither."""
        good, record = await self._records.last_good(session.name), await self.kernel_record(session)
        now = (record.id, record.generation) if record is not None and not record.ended else None
        restarts = record is not None and (record.owned or not record.ended)
        last = (good[-1].kernel_id, good[-1].generation) if good else now
        again = restarts and good and (last != now or last == (kernel_id, generation))
        replay = (WayOn("replay", (f"the {several(len(good), 'cell')}",)),) if again else ()
        offer = await self.offer(session, kernel_id)
        return (*replay, *(("; ", *offer) if offer else ()))

    async def _refuse_dead(self, session: SessionRecord, kernel_id: KernelId, so_far: str) -> None:
        """Raises RefusedError with what is known of a session's kernel that cannot be used."""
        record = await self._records.kernel(kernel_id)
        if record is not None and (why := self._kernels.adoption.why(record)):
            if self._kernels.adoption.stranded(record):
                raise RefusedError(f"kernel {kernel_id} cannot be reached: {why} ", way_around(record), ".")
            silent = f"kernel {kernel_id} lives but does not answer: {why}"
            raise RefusedError(f"{silent} Try again in a moment; ", way_around(record), ".")
        if record is not None and record.ended:
            back = await self.back(session, kernel_id, record.generation)
            gone = f"{so_far}{had_ended(record)}. Its variables are gone. "
            raise RefusedError(gone, record.way_on, *back, WayOn("see what ran"))
