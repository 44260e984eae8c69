"""The supervisor: sessions, what they run, and what became of it. The daemon has one; every tool calls it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from kernel_supervisor import keeping
from kernel_supervisor.amounts import several
from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import Execution, Interpreter, KernelId, KernelRecord, SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.commands import Progress, silent
from kernel_supervisor.kernels import strays
from kernel_supervisor.kernels.checkpoints import why_not
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.database import Database
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import farewells, recovering, restoring
from kernel_supervisor.sessions.adopting import PATIENCE_S
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.checkpoints import Checkpoints
from kernel_supervisor.sessions.executions import Executions
from kernel_supervisor.sessions.imports import Imports
from kernel_supervisor.sessions.kernels import Kernels
from kernel_supervisor.sessions.left import Left
from kernel_supervisor.sessions.sessions import Sessions
from kernel_supervisor.tasks import Tasks

log = logging.getLogger(__name__)
_STOPPED = "the supervisor was stopped with its kernels"
BROUGHT_BACK = "Brought back from checkpoint"
"""What a note begins with of variables that are back."""
_HOME_S = 10.0
"""How long a call waits for its session's kernel to be found for what was left there without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Another interpreter that is wanted for a session."""

    session: SessionRecord
    interpreter: Interpreter
    asker: Asker
    client: str
    since: float
    """When the call was first made: a kernel that is younger is the one that this call started."""
    fresh: bool = False
    """Whether none will do that was there before."""
    tell: Progress = silent


class Supervisor:
    """Everything that is owned: records, sessions, kernels, and the executions on their way."""

    def __init__(self, paths: Paths) -> None:
        """Name the folders; nothing is opened before `open`."""
        self.paths, self.began = paths, time.time()
        self.records = Database(paths.records, before=paths.records_before, on_network=paths.on_network)
        self.kernels = Kernels(paths, self.records)
        self.sessions = Sessions(self.records, self.kernels)
        self.executions = Executions(self.records, self.kernels, self.sessions)
        self.records.watchers.append(lambda entry: self.executions.news.tell())
        self.records.watchers.append(lambda entry: self.kernels.spares.stir())
        self.imports = Imports()
        self.checkpoints = Checkpoints(paths, self.records)
        self.sessions.offer = self.checkpoints.offer
        self.checkpoints.settle = partial(farewells.settle, self.checkpoints, self._lives)
        self.checkpoints.waiting = self.executions.waiting
        self.kernels.ledger, self.kernels.take_up = self.executions, self._take_up
        self.left = Left(self.records, self.kernels, self.sessions, self.executions)
        self.kernels.leave = self.left.leave
        self._tasks = Tasks()
        self._homes: dict[SessionName, asyncio.Task[None]] = {}
        """By session: finding a kernel for what was left there without one."""
        self._gates: defaultdict[SessionName, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held by the call that waits for a session's kernels; those behind it stand in line."""
        self.writing: defaultdict[SessionName, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a session's notebook is written: each writer has to know what the one before it wrote."""
        self.look_after: Callable[[SessionName], None] = lambda name: None
        """Called where a session is to be saved by itself from now on."""
        self.catch_up: Callable[[SessionName], None] = lambda name: None
        """Called where a session has a notebook to be kept up to date, or another one than before."""

    def _lives(self, kernel_id: KernelId, generation: int) -> bool:
        """Whether a kernel is held here, or sought, in that generation."""
        runner = self.kernels.runners.get(kernel_id)
        sought = [each.generation for each in self.kernels.adoption.records if each.id == kernel_id]
        held = [runner.kernel.record.generation] if runner is not None and runner.kernel.alive else []
        return generation in (*held, *sought)

    async def open(self) -> None:
        """Open the records, and begin to look for what lives. Calls may come from now on: see `reached`."""
        await self.records.open()
        await self.sessions.open()
        await self.kernels.spares.end_left()
        await self._take_in_strays()
        await recovering.recover(self.paths.logs, self.records, self.executions)
        await self.records.forget_calls(keeping.CALLS_S)
        living = await self.records.living_kernels()
        self.left.remember(await self.records.unsettled(), {record.id for record in living})
        for record in living:
            self.kernels.adoption.seek(record)
        for name in self.left.homeless:
            self._homes[name] = self._tasks.begin(self._find_home(name), f"what was left in session {name}")

    async def _take_in_strays(self) -> None:
        """Have on record what runs as a kernel of ours and is on none."""
        for stray in await asyncio.to_thread(strays.find, self.paths.connections):
            known = await self.records.kernel(stray.id)
            if known is not None and not known.ended and known.process == stray.process:
                continue
            record = strays.record_of(stray, known, self.paths.logs)
            log.warning("kernel %s, pid %s, runs and is on no record", record.id, stray.process.pid)
            record = replace(record, session=await self.sessions.of_stray(record))
            await self.records.save_kernel(record)

    async def _take_up(self, runner: Runner) -> None:
        over = await self.records.settled_on(runner.kernel.record, keeping.FINISHED)
        self.left.take_up(runner, await runner.recall(over))
        await runner.attended()

    async def _find_home(self, name: SessionName) -> None:
        await self.kernels.adoption.tried(self._sought(name, None))
        await self.left.take_up_homeless(name)

    def _sought(self, name: SessionName, kernel_id: KernelId | None) -> list[KernelId]:
        return [each.id for each in self.kernels.adoption.records if each.session == name or each.id == kernel_id]

    async def reached(self, session: SessionRecord) -> None:
        """Return once a session's own kernels are found again, with what was left there; or gone, or tried in vain.

        In the order of the calls: one that waits here is not overtaken by one that comes when the wait is over.
        """
        began = time.monotonic()
        async with self._gates[session.name]:
            sought = self._sought(session.name, session.kernel_id)
            await self.kernels.adoption.tried(sought, max(0.0, began + PATIENCE_S - time.monotonic()))
            home = self._homes.get(session.name)
            if home is not None and not home.done():
                await asyncio.wait({home}, timeout=max(0.0, began + PATIENCE_S + _HOME_S - time.monotonic()))

    async def stop(self, execution: Execution, reason: str) -> None:
        """Have an execution not run, or interrupted; also one that a predecessor left, once its kernel is reached."""
        _, ticket = await self.executions.find(execution.id)
        if ticket is not None:
            await self.reached_for(ticket)
            await self.executions.stop(ticket, reason)

    async def reached_for(self, ticket: Ticket) -> None:
        """Return once the kernel is found again that has an execution; what none has yet is called off without it."""
        session = self.sessions.known.get(ticket.execution.session)
        if ticket.life.sent and session is not None:
            await self.reached(session)

    async def close(self) -> None:
        """Let go of everything; kernels and cells run on."""
        await self._tasks.close()
        await self.kernels.adoption.close()
        await self.left.close()
        await self.executions.close()
        await self.kernels.close()
        await self.records.close()

    async def restart(self, session: SessionRecord, asker: Asker, client: str, *, force: bool = False) -> Runner:
        """A fresh process for the session's kernel, with a note. Raises RefusedError, UnavailableError."""
        async with self.sessions.locks[session.name]:
            record = await self.sessions.kernel_record(await self.sessions.keep(session))
            if record is None:
                raise RefusedError("this session has no kernel yet", WayOn("first exec"))
            return await self._fresh(session.name, record, asker, client, force=force)

    async def _fresh(
        self, name: SessionName, record: KernelRecord, asker: Asker, client: str, *, force: bool
    ) -> Runner:
        if not record.owned and record.ended:
            raise RefusedError("this kernel was somebody else's, and is gone", WayOn("detach"))
        if not record.owned and not kind_of(record).restarts:
            raise RefusedError("this kernel was started by somebody else", WayOn("detach first"))
        if not record.owned and not force:
            theirs = "this kernel was started by somebody else, who may be working in it"
            raise RefusedError(theirs, WayOn("detach or restart"))
        if record.damaged:
            return await self._start_anew(self.sessions.known[name], asker, client)
        return await self._restart(record, asker, client)

    async def restore(
        self,
        session: SessionRecord,
        checkpoint: Checkpoint,
        asker: Asker,
        client: str,
        *,
        restarts: bool,
        force: bool,
    ) -> tuple[Runner, restoring.Restored]:
        """The variables of a checkpoint in a kernel of this session: a fresh one where it has none, or `restarts`.

        Where that is not so its kernel is one that a predecessor of ours has restarted for this. Raises RefusedError,
        UnavailableError; where the checkpoint cannot be used, before anything is changed.
        """
        async with self.sessions.locks[session.name]:
            await restoring.checked(self.checkpoints, checkpoint)
            session = await self.sessions.keep(session)
            record = await self.sessions.kernel_record(session)
            runner = self.sessions.runner_of(session)
            if runner is not None and (why := why_not(runner.kernel)):
                raise RefusedError(f"{why}: no variables can be brought back there")
            if record is None:
                runner = await self._first(session, checkpoint.interpreter, asker)
            elif restarts or runner is None:
                runner = await self._fresh(session.name, record, asker, client, force=force)
            kernel_id = runner.kernel.record.id

            async def anew() -> Runner:
                known = await self.records.kernel(kernel_id)
                assert known is not None
                return await self._restart(known, asker, client)

            runner, restored = await restoring.restore(self.checkpoints, runner, checkpoint, anew, replace=restarts)
            back = f"{len(restored.back)} of {several(checkpoint.total, 'variable')}"
            note = f"{BROUGHT_BACK} {checkpoint.called} of session {checkpoint.session}: {back}."
            await self.executions.add_entry(session, "note", note, client)
            return runner, restored

    async def _first(self, session: SessionRecord, interpreter: Interpreter, asker: Asker) -> Runner:
        """The first kernel of a session: in this interpreter, or in the default one where that is gone, or nobody knows
        it, as of a kernel of others'."""
        runner = None
        if interpreter.argv:
            try:
                runner = await self.kernels.start(session.name, interpreter, asker, session.directory)
            except UnavailableError as error:
                log.warning("session %s: no kernel in %s: %s", session.name, interpreter.name, error)
        if runner is None:
            usual = await self.sessions.default_interpreter(session, asker)
            runner = await self.kernels.start(session.name, usual, asker, session.directory)
        await self.sessions.change(session.name, kernel_id=runner.kernel.record.id)
        return runner

    async def restart_kernel(self, kernel_id: KernelId, asker: Asker, client: str, key: str) -> Runner:
        """A fresh process for a kernel of ours, whichever session works in it. Raises as `restart`.

        Clients that know the `key` of one that is dead can go on with the next.
        """
        record = await self.records.kernel(kernel_id)
        if record is None or record.damaged or not record.owned:
            raise RefusedError(f"there is no kernel {kernel_id} that could be restarted")
        async with self.sessions.locks[record.session]:
            record = await self.records.kernel(kernel_id) or record
            return await self._restart(record, asker, client, key)

    async def _restart(self, record: KernelRecord, asker: Asker, client: str, key: str = "") -> Runner:
        runner = await self.kernels.restart(record, asker, key)
        session = self.sessions.known[record.session]
        if session.kernel_id is None:  # it was shut down at the same time
            await self.sessions.change(session.name, kernel_id=record.id)
        await self.executions.add_entry(session, "note", "The kernel was restarted: its variables are gone.", client)
        return runner

    async def _start_anew(self, session: SessionRecord, asker: Asker, client: str) -> Runner:
        """Another kernel in place of one of which nothing is known."""
        interpreter = await self.sessions.default_interpreter(session, asker)
        runner = await self.kernels.start(session.name, interpreter, asker, session.directory)
        await self.switch(session, runner, client, "A fresh kernel: the one before cannot be found any more.")
        return runner

    async def switch(self, session: SessionRecord, runner: Runner, client: str, note: str) -> SessionRecord:
        """Make another kernel the session's current one, with a note; the one left behind runs on."""
        session = await self.sessions.keep(session)
        if session.kernel_id == runner.kernel.record.id:
            return session
        await self.executions.add_entry(session, "note", note, client)
        return await self.sessions.change(session.name, kernel_id=runner.kernel.record.id)

    async def shut_down(self, kernel_id: KernelId, reason: str) -> None:
        """End a kernel; sessions that had it get a fresh one with their next execution. Raises RefusedError."""
        if kernel_id not in self.kernels.runners and kernel_id not in self.kernels.adoption:
            raise RefusedError(f"there is no living kernel {kernel_id}", WayOn("see kernels"))
        await self.kernels.end(kernel_id, reason)
        await self.part_from(kernel_id)

    async def part_from(self, kernel_id: KernelId) -> None:
        """Have the sessions of a kernel that was ended on request start afresh."""
        for session in [each for each in self.sessions.known.values() if each.kernel_id == kernel_id]:
            await self.sessions.change(session.name, kernel_id=None)

    async def end_all(self, why: str = "") -> None:
        """End every kernel that is ours, at the same time; their sessions start afresh.

        Where nobody asked for it they are told `why`, as of a kernel that died.
        """
        end, reason = (self.kernels.end, why) if why else (self.shut_down, _STOPPED)
        await self.kernels.adoption.end_all(reason)
        owned = [runner.kernel.record.id for runner in self.kernels.runners.values() if runner.kernel.record.owned]
        ends = await asyncio.gather(*(end(kernel_id, reason) for kernel_id in owned), return_exceptions=True)
        for kernel_id, error in zip(owned, ends, strict=True):
            if isinstance(error, UnavailableError):
                log.error("kernel %s could not be ended: %s", kernel_id, error)
            elif error is not None:
                raise error

    async def use(self, change: Change) -> tuple[Runner, bool]:
        """Make a kernel of that interpreter the session's current one; whether it was there before."""
        interpreter = change.interpreter
        async with self.sessions.locks[change.session.name]:
            session = await self.sessions.keep(change.session)
            runner = self.sessions.kernel_in(session, interpreter)
            returned = runner is not None and runner.kernel.record.started_at < change.since
            if runner is None or (returned and change.fresh):
                change.tell(f"starting a kernel in {interpreter.name}")
                directory, returned = session.directory, False
                runner = await self.kernels.start(session.name, interpreter, change.asker, directory, change.tell)
            note = f"From here on in the environment {interpreter.name}."
            await self.switch(self.sessions.known[session.name], runner, change.client, note)
            return runner, returned

    async def leave(self, session: SessionRecord, client: str) -> SessionRecord:
        """Return to the session's default kernel, or to none where it has none; the kernel left runs on."""
        records = [runner.kernel.record for runner in self.kernels.runners.values() if runner.lives_on]
        home = [each.id for each in records if each.session == session.name and each.interpreter.kind == "default"]
        await self.executions.add_entry(session, "note", "Back in the default kernel.", client)
        return await self.sessions.change(session.name, kernel_id=home[0] if home else None)
