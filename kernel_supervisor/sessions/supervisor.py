"""The supervisor: sessions, what they run, and what became of it. The daemon has one; every tool calls it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from kernel_supervisor.core.errors import RefusedError, SupervisorError, UnavailableError
from kernel_supervisor.core.model import (
    EntryKind,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Interpreter,
    KernelId,
    KernelRecord,
    SessionName,
    SessionRecord,
)
from kernel_supervisor.core.outputs import Folded
from kernel_supervisor.environments.defaults import default
from kernel_supervisor.paths import Paths
from kernel_supervisor.records.database import Beside, Database
from kernel_supervisor.sessions import naming, reading
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.kernels import Kernels
from kernel_supervisor.sessions.others import Others
from kernel_supervisor.sessions.runner import Runner, new_msg_id, status_of
from kernel_supervisor.sessions.ticket import Ticket

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_CALLS_KEPT_S = 7 * 86_400.0
_INTERRUPT_LADDER_S = (2.0, 3.0)
"""How long an interrupted execution is given after each SIGINT."""
_BURIAL_S = 5.0
_REACH_S, _LOOK_AGAIN_S = 3.0, 0.1
_CLAIM_S = 30.0
"""How long a queued execution of a dead daemon waits for its client to ask again, where its kernel is gone."""


class Supervisor:
    """Everything that is owned: records, sessions, kernels, and the executions on their way."""

    def __init__(self, paths: Paths) -> None:
        """Name the folders; nothing is opened before `open`."""
        self.paths = paths
        self.records = Database(paths.records)
        self.kernels = Kernels(paths, self.records)
        self.others = Others(self.records, self._track)
        self.kernels.on_runner = self.others.watch
        self.sessions: dict[SessionName, SessionRecord] = {}
        self.tickets: dict[ExecutionId, Ticket] = {}
        self._locks: defaultdict[SessionName, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._at_work: defaultdict[SessionName, set[str]] = defaultdict(set)
        self.writing: defaultdict[SessionName, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Held while a session's notebook is written: each writer has to know what the one before it wrote."""
        self.catch_up: Callable[[SessionName], None] = lambda name: None
        """Called where a session has a notebook to be kept up to date, or another one than before."""

    async def open(self) -> None:
        """Open the records, adopt what lives, and go on with what was running."""
        await self.records.open()
        self.sessions = {session.name: session for session in await self.records.sessions()}
        await self.kernels.adopt_all()
        await self.records.forget_calls(_CALLS_KEPT_S)
        theirs = [await self.others.take_up(runner) for runner in self.kernels.runners.values()]
        for execution in await self.records.unsettled():
            if not any(execution.id in taken for taken in theirs):
                await self._take_up(execution)

    async def close(self) -> None:
        """Let go of everything; kernels and cells run on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.others.close()
        await self.kernels.close()
        await self.records.close()

    # Sessions

    async def session_of(self, asker: Asker, wanted: str = "") -> SessionRecord:
        """The session that a client means: the one it names, was told to use, or its directory's own."""
        name = naming.session_name(wanted or asker.session, asker.directory, self.sessions)
        known = self.sessions.get(name)
        return known or SessionRecord(name=name, directory=asker.directory, created_at=time.time())

    async def keep(self, session: SessionRecord) -> SessionRecord:
        """Commit a session that something is about to happen in; looking at one leaves no trace."""
        if session.name not in self.sessions:
            self.sessions[session.name] = session
            await self.records.save_session(session)
        return self.sessions[session.name]

    def enter(self, session: SessionName, client_id: str) -> int:
        """Note that a client works in a session; how many others do."""
        self._at_work[session].add(client_id)
        return len(self._at_work[session]) - 1

    def goodbye(self, client_id: str) -> None:
        """A client is gone."""
        for clients in self._at_work.values():
            clients.discard(client_id)

    async def change_session(self, name: SessionName, **changes: Any) -> SessionRecord:
        """Commit a change of some fields of a session; what others change meanwhile stays."""
        session = self.sessions[name] = replace(self.sessions[name], **changes)
        await self.records.save_session(session)
        return session

    def runner_of(self, session: SessionRecord) -> Runner | None:
        """The session's current kernel, if it lives."""
        return self.kernels.runners.get(session.kernel_id) if session.kernel_id is not None else None

    async def living_runner(self, session: SessionRecord) -> Runner | None:
        """The session's current kernel; None where it has none yet. Raises RefusedError where it is dead."""
        runner = await self.present_runner(session)
        if runner is None:
            await self.refuse_dead(session)
        return runner

    async def present_runner(self, session: SessionRecord) -> Runner | None:
        """The session's current kernel, if it lives; where it died a moment ago, its explanation is on record now."""
        if session.kernel_id in self.kernels.unreachable:
            await self._reached(session.kernel_id)
        runner = self.runner_of(session)
        if runner is None or runner.kernel.alive:
            return runner
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(runner.gone.wait(), _BURIAL_S)
        return None

    async def _reached(self, kernel_id: KernelId) -> None:
        """Give a kernel that is out of reach a moment: this client may just have brought what was missing."""
        end = time.monotonic() + _REACH_S
        while kernel_id in self.kernels.unreachable and time.monotonic() < end:  # noqa: ASYNC110 - no event
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def kernel_record(self, session: SessionRecord) -> KernelRecord | None:
        """The record of the session's current kernel, living or ended."""
        runner = self.runner_of(session)
        if runner is not None:
            return runner.kernel.record
        return await self.records.kernel(session.kernel_id) if session.kernel_id is not None else None

    def default_interpreter(self, asker: Asker) -> Interpreter:
        """What the default kernel of this client's sessions runs, and why. Blocks on files."""
        return default(asker.where, asker.python or None)

    async def ready_runner(self, session: SessionRecord, asker: Asker) -> Runner:
        """The session's kernel, started if there is none yet.

        Raises RefusedError where it is dead (it is replaced only on request), UnavailableError where it
        cannot be started.
        """
        async with self._locks[session.name]:
            session = self.sessions[session.name]
            runner = await self.living_runner(session)
            if runner is not None:
                return runner
            interpreter = await asyncio.to_thread(self.default_interpreter, asker)
            runner = self.kernel_in(session, interpreter)
            if runner is None:
                runner = await self.kernels.start(session.name, interpreter, asker, session.directory)
            await self.change_session(session.name, kernel_id=runner.kernel.record.id)
            return runner

    def kernel_in(self, session: SessionRecord, interpreter: Interpreter) -> Runner | None:
        """A living kernel that this session started with this interpreter before."""
        for runner in self.kernels.runners.values():
            record = runner.kernel.record
            if record.session == session.name and record.owned and record.interpreter.argv == interpreter.argv:
                return runner
        return None

    async def refuse_dead(self, session: SessionRecord) -> None:
        """Raises RefusedError with what is known of the session's kernel, where it has one that cannot be used."""
        if session.kernel_id is None:
            return
        if session.kernel_id in self.kernels.unreachable:
            tried = self.kernels.unreachable[session.kernel_id]
            raise RefusedError(f"kernel {session.kernel_id} lives but does not answer: {tried} Try again in a moment.")
        record = await self.records.kernel(session.kernel_id)
        if record is not None and record.ended:
            raise RefusedError(
                f"{record.end_reason.splitlines()[0]}. Its variables are gone. kernel_restart gives this session a "
                "fresh kernel; kernel_history shows what was run."
            )

    # Executions

    async def execute(
        self,
        session: SessionRecord,
        code: str,
        asker: Asker,
        client: str,
        call_key: str | None,
        replaces: ExecutionId | None = None,
    ) -> Ticket:
        """Commit an execution and put it in the queue; a call that is known already is joined, not repeated.

        It takes the place of the loaded entry that it `replaces`. Once begun it is carried through, whatever becomes
        of the caller. Raises RefusedError and UnavailableError as `ready_runner`.
        """
        work = self._execute(session, code, asker, client, call_key, replaces)
        return await asyncio.shield(self._hold(work, f"execute in session {session.name}"))

    async def _execute(
        self,
        session: SessionRecord,
        code: str,
        asker: Asker,
        client: str,
        call_key: str | None,
        replaces: ExecutionId | None,
    ) -> Ticket:
        runner = self.runner_of(session)
        ticket, fresh = await self._commit(session, "code", code, client, call_key, runner, replaces=replaces)
        if not fresh and (ticket.execution.settled or ticket.execution.id in self.tickets):
            return self.tickets.get(ticket.execution.id, ticket)
        self.tickets[ticket.execution.id] = ticket
        try:
            runner = await self.ready_runner(session, asker)
        except SupervisorError as error:
            del self.tickets[ticket.execution.id]
            ticket.execution = replace(ticket.execution, status="aborted", reason=str(error))
            await self.records.save_execution(ticket.execution)
            ticket.settle()  # the same call may have been sent again meanwhile, and wait here
            raise
        self._submit(ticket, runner)
        return ticket

    async def _commit(
        self,
        session: SessionRecord,
        kind: EntryKind,
        source: str,
        client: str,
        call_key: str | None,
        runner: Runner | None = None,
        beside: Beside | None = None,
        replaces: ExecutionId | None = None,
    ) -> tuple[Ticket, bool]:
        """Commit an entry; of a call that is known already, the entry that it made. Code that `runner` can take at
        once is committed as running: one commit instead of two."""
        await self.keep(session)
        entry = Execution(
            id=ExecutionId(0),
            session=session.name,
            kind=kind,
            source=source,
            status="queued" if kind == "code" else "ok",
            kernel_id=session.kernel_id,
            msg_id=new_msg_id() if kind == "code" else None,
            client=client,
            queued_at=time.time(),
            replaces=replaces,
        )
        if runner is not None and runner.free:
            entry = runner.begun(entry)
        execution, fresh = await self.records.add_execution(entry, call_key, beside)
        ticket = Ticket(execution=execution)
        if execution.settled:
            ticket.settle()
        return ticket, fresh

    def _submit(self, ticket: Ticket, runner: Runner) -> None:
        runner.submit(ticket)
        self._track(ticket)

    def _track(self, ticket: Ticket) -> None:
        """Know an execution that is on its way until it is over."""
        self.tickets[ticket.execution.id] = ticket
        self._hold(self._forget_when_settled(ticket), f"execution {ticket.execution.id}")

    async def _forget_when_settled(self, ticket: Ticket) -> None:
        await ticket.settled.wait()
        self.tickets.pop(ticket.execution.id, None)

    async def _take_up(self, execution: Execution) -> None:
        """An execution that a predecessor left queued or running."""
        runner = await self._kernel_for(execution)
        ticket = Ticket(execution=execution, sent=execution.status == "running")
        same_process = runner is not None and (
            execution.status == "queued" or runner.kernel.record.generation == execution.generation
        )
        if execution.kernel_id in self.kernels.unreachable:
            self.tickets[execution.id] = ticket  # the call that made it may be sent again meanwhile
            self._hold(self._take_up_once_reached(ticket), f"execution {execution.id} on a kernel out of reach")
        elif runner is not None and same_process:
            self._submit(ticket, runner)
        elif execution.status == "running":
            await self._settle_without_kernel(ticket)
        else:
            self._hold(self._give_up_unclaimed(execution), f"unclaimed execution {execution.id}")

    async def _take_up_once_reached(self, ticket: Ticket) -> None:
        kernel_id = ticket.execution.kernel_id
        while kernel_id in self.kernels.unreachable:  # noqa: ASYNC110 - it is asked from time to time, no more
            await asyncio.sleep(_LOOK_AGAIN_S)
        runner = self.kernels.runners.get(kernel_id) if kernel_id is not None else None
        begun = ticket.execution.status == "running"
        if runner is not None and not (begun and runner.kernel.record.generation != ticket.execution.generation):
            self._submit(ticket, runner)
        else:
            await self._settle_without_kernel(ticket)
            self.tickets.pop(ticket.execution.id, None)

    async def _kernel_for(self, execution: Execution) -> Runner | None:
        """The living kernel that an execution was, or would have been, run on.

        One that was queued while its session's first kernel was being started knows no kernel yet.
        """
        if execution.kernel_id is not None:
            return self.kernels.runners.get(execution.kernel_id)
        session = self.sessions[execution.session]
        runners = self.kernels.runners.values()
        started = [each for each in runners if each.kernel.record.session == session.name and each.kernel.record.owned]
        if session.kernel_id is None and len(started) == 1:
            session = await self.change_session(session.name, kernel_id=started[0].kernel.record.id)
        return self.runner_of(session)

    async def _settle_without_kernel(self, ticket: Ticket) -> None:
        execution = ticket.execution
        found = await reading.folded(execution, None)
        record = await self.records.kernel(execution.kernel_id) if execution.kernel_id is not None else None
        status: ExecutionStatus = "dead" if found.reply is None else status_of(found.reply)
        reason = "" if found.reply is not None else (record.end_reason if record else "its kernel is gone")
        region = execution.region
        if region is not None:
            region = replace(region, end=reading.log_size(region.log))
        settled = replace(execution, status=status, reason=reason, region=region, finished_at=time.time())
        ticket.execution = replace(settled, execution_count=found.execution_count)
        await self.records.save_execution(ticket.execution)
        ticket.settle()

    async def _give_up_unclaimed(self, execution: Execution) -> None:
        await asyncio.sleep(_CLAIM_S)
        if execution.id not in self.tickets:
            reason = "its kernel was gone before it could run, and its client did not ask again"
            await self.records.save_execution(replace(execution, status="aborted", reason=reason))

    async def find_execution(self, execution_id: int) -> tuple[Execution, Ticket | None]:
        """An execution, with its ticket while it is on its way. Raises RefusedError."""
        ticket = self.tickets.get(ExecutionId(execution_id))
        if ticket is not None:
            return ticket.execution, ticket
        execution = await self.records.execution(execution_id)
        if execution is None:
            raise RefusedError(f"there is no execution {execution_id}; kernel_history lists them")
        return execution, None

    async def folded(self, execution: Execution, ticket: Ticket | None) -> Folded:
        """What an execution has shown so far."""
        return await reading.folded(execution, ticket)

    async def add_entry(
        self,
        session: SessionRecord,
        kind: EntryKind,
        source: str,
        client: str,
        call_key: str | None = None,
        beside: Beside | None = None,
    ) -> Execution:
        """Commit markdown or a note to a session's history, at its end or `beside` an entry, once for each call."""
        ticket, _ = await self._commit(session, kind, source, client, call_key, beside=beside)
        return ticket.execution

    # Kernels

    async def restart(self, session: SessionRecord, asker: Asker, client: str, *, force: bool = False) -> Runner:
        """A fresh process for the session's kernel, with a note. Raises RefusedError, UnavailableError."""
        async with self._locks[session.name]:
            record = await self.kernel_record(await self.keep(session))
            if record is None:
                raise RefusedError("this session has no kernel yet: the first kernel_exec starts one")
            if not record.owned and not record.server:
                raise RefusedError("this kernel was started by somebody else: restart it there, or kernel_detach first")
            if not record.owned and not force:
                raise RefusedError(
                    "this kernel was started by somebody else, who may be working in it: kernel_detach leaves it; "
                    "force=true restarts it all the same"
                )
            return await self._restart(record, asker, client)

    async def restart_kernel(self, kernel_id: KernelId, asker: Asker, client: str, key: str) -> Runner:
        """A fresh process for a kernel of ours, whichever session works in it. Raises as `restart`.

        Clients that know the `key` of one that is dead can go on with the next.
        """
        record = await self.records.kernel(kernel_id)
        if record is None or not record.owned:
            raise RefusedError(f"there is no kernel {kernel_id} that could be restarted")
        async with self._locks[record.session]:
            record = await self.records.kernel(kernel_id) or record
            return await self._restart(record, asker, client, key)

    async def _restart(self, record: KernelRecord, asker: Asker, client: str, key: str = "") -> Runner:
        runner = await self.kernels.restart(record, asker, key)
        session = self.sessions[record.session]
        await self.add_entry(session, "note", "The kernel was restarted: its variables are gone.", client)
        return runner

    async def last_good_cells(self, session: SessionRecord) -> list[Execution]:
        """What succeeded on the latest generation of a kernel of this session that anything succeeded on, in order."""
        good = [
            each
            for each in await self.records.history(session.name)
            if each.kind == "code" and each.status == "ok" and each.kernel_id is not None
        ]
        if not good:
            return []
        latest = (good[-1].kernel_id, good[-1].generation)
        return [each for each in good if (each.kernel_id, each.generation) == latest]

    async def switch(self, session: SessionRecord, runner: Runner, client: str, note: str) -> SessionRecord:
        """Make another kernel the session's current one, with a note; the one left behind runs on."""
        session = await self.keep(session)
        if session.kernel_id == runner.kernel.record.id:
            return session
        await self.add_entry(session, "note", note, client)
        return await self.change_session(
            session.name, kernel_id=runner.kernel.record.id, previous_kernel_id=session.kernel_id
        )

    async def shut_down(self, kernel_id: KernelId, reason: str) -> None:
        """End a kernel; sessions that had it get a fresh one with their next execution. Raises RefusedError."""
        runner = self.kernels.runners.get(kernel_id)
        if runner is None:
            raise RefusedError(f"there is no living kernel {kernel_id}; kernel_list_running lists them")
        await self.kernels.end(runner, reason)
        for session in [each for each in self.sessions.values() if each.kernel_id == kernel_id]:
            await self.change_session(session.name, kernel_id=None)

    def call_attention(self) -> None:
        """Wake everybody who waits for an execution: the daemon stops."""
        for ticket in self.tickets.values():
            ticket.call_attention()

    async def end_all(self) -> None:
        """End every kernel that is ours, at the same time; their sessions start afresh."""
        reason = "the supervisor was stopped with its kernels"
        owned = [runner.kernel.record.id for runner in self.kernels.runners.values() if runner.kernel.record.owned]
        ends = await asyncio.gather(*(self.shut_down(kernel_id, reason) for kernel_id in owned), return_exceptions=True)
        for kernel_id, error in zip(owned, ends, strict=True):
            if isinstance(error, UnavailableError):
                log.error("kernel %s could not be ended: %s", kernel_id, error)
            elif error is not None:
                raise error
        await self.kernels.end_unreachable(reason)

    async def use(
        self,
        session: SessionRecord,
        interpreter: Interpreter,
        asker: Asker,
        client: str,
        fresh: bool,
        since: float,
    ) -> tuple[Runner, bool]:
        """Make a kernel of this interpreter the session's current one; whether it was there before.

        `since` is when the call was first made: a kernel that is younger is the one that this call started.
        """
        async with self._locks[session.name]:
            session = await self.keep(session)
            runner = self.kernel_in(session, interpreter)
            if runner is not None and fresh and runner.kernel.record.started_at < since:
                runner = None
            returned = runner is not None and runner.kernel.record.started_at < since
            if runner is None:
                runner = await self.kernels.start(session.name, interpreter, asker, session.directory)
            note = f"From here on in the environment {interpreter.name}."
            await self.switch(self.sessions[session.name], runner, client, note)
            return runner, returned

    async def leave(self, session: SessionRecord, client: str) -> SessionRecord:
        """Return to the session's default kernel, or to none where it has none; the kernel left runs on."""
        home = [
            runner.kernel.record.id
            for runner in self.kernels.runners.values()
            if runner.kernel.record.session == session.name and runner.kernel.record.interpreter.kind == "default"
        ]
        await self.add_entry(session, "note", "Back in the default kernel.", client)
        kernel_id = home[0] if home else None
        return await self.change_session(session.name, kernel_id=kernel_id, previous_kernel_id=session.kernel_id)

    async def stop_execution(self, ticket: Ticket, reason: str) -> bool:
        """Take an execution out of its queue, or interrupt it and see whether it stopped. Never hits another one."""
        for runner in self.kernels.runners.values():
            if await runner.withdraw(ticket, reason):
                return True
            for wait_s in _INTERRUPT_LADDER_S:
                if not await runner.interrupt(ticket, reason):
                    break
                try:
                    await asyncio.wait_for(ticket.settled.wait(), wait_s)
                except asyncio.TimeoutError:
                    continue
        return ticket.settled.is_set()

    def runner_with(self, ticket: Ticket) -> Runner | None:
        """The kernel that runs an execution now."""
        runners = self.kernels.runners.values()
        return next((each for each in runners if ticket in (each.current, *each.theirs.values())), None)

    def behind(self, ticket: Ticket) -> tuple[ExecutionId, ...]:
        """What a queued execution waits for, the one that runs first."""
        for runner in self.kernels.runners.values():
            waiting = runner.waiting
            if ticket in waiting:
                before = waiting[: waiting.index(ticket)]
                running = [runner.running] if runner.running is not None else []
                return tuple(each.execution.id for each in (*running, *before))
        return ()

    async def cells_of(self, execution: Execution) -> dict[int, int]:
        """Execution counts of one kernel's generation, with the executions that had them."""
        history = await self.records.history(execution.session)
        return {
            each.execution_count: each.id
            for each in history
            if each.execution_count is not None
            and (each.kernel_id, each.generation) == (execution.kernel_id, execution.generation)
        }

    def _hold(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Task[_T]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
