"""Executions: committed, queued, followed while they are on their way, and found again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernel_supervisor.core import life, names
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import (
    Beside,
    EntryKind,
    Execution,
    ExecutionId,
    KernelId,
    KernelRecord,
    Mark,
    Message,
    SessionName,
    SessionRecord,
)
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.outputs.folding import Folded
from kernel_supervisor.outputs.tracebacks import cell_counts
from kernel_supervisor.records.beside import Forgotten, facts
from kernel_supervisor.records.database import Database
from kernel_supervisor.records.recording import msg_id_of
from kernel_supervisor.records.stream import Place, Stream
from kernel_supervisor.running import others, reading
from kernel_supervisor.running.earlier import Earlier
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.kernels import Kernels
from kernel_supervisor.sessions.late import Late
from kernel_supervisor.sessions.sessions import Sessions
from kernel_supervisor.tasks import News, Tasks, apart, happens

log = logging.getLogger(__name__)
_LAST = (1 << 63) - 1
"""The highest number that there can be."""
_GIANT = 8 << 20
_INTERRUPT_LADDER_S = (2.0, 3.0)
"""How long an interrupted execution is given after each SIGINT."""
_FORCED_LADDER_S = (*(0.05,) * 40, 3.0)
"""Likewise, of one that takes interrupts and goes on: those that follow come while it deals with the one before."""


class Executions:
    """The entries of all sessions, and a ticket for each that is on its way."""

    def __init__(self, records: Database, kernels: Kernels, sessions: Sessions) -> None:
        """Know none that is on its way."""
        self._records, self._kernels, self._sessions = records, kernels, sessions
        self._began = time.time()
        self.tickets: dict[ExecutionId, Ticket] = {}
        self.unclaimed: dict[ExecutionId, Ticket] = {}
        """Those of them that never ran and wait for their clients to ask again."""
        self._becoming_known: dict[str, asyncio.Task[Any]] = {}
        """By call key: what is being committed."""
        self.late: defaultdict[SessionName, Late] = defaultdict(Late)
        self.news = News()
        """Told by whoever hears of commits when an entry was committed, new or changed."""
        self._tasks = Tasks()
        self.earlier = Earlier()

    async def close(self) -> None:
        """Let go of everything; cells run on."""
        await self._tasks.close()

    async def execute(
        self,
        session: SessionRecord,
        code: str,
        asker: Asker,
        client: str,
        call_key: str | None,
        replaces: ExecutionId | None = None,
        *,
        again: bool = False,
    ) -> Ticket:
        """Commit an execution and put it in the queue; a call that is known already is joined, not repeated.

        One that comes `again` and is not known may have been sent by a predecessor whose records were lost: no kernel
        gets it that would begin it twice.

        It takes the place of the loaded entry that it `replaces`. Once begun it is carried through, whatever becomes
        of the caller. Raises RefusedError and UnavailableError as `ready_runner`.
        """
        name = f"execute in session {session.name}"
        entry = _entry(session, "code", code, client, msg_id=msg_id_of(call_key), replaces=replaces)
        known = self._tasks.begin(self._know(session, entry, call_key, again=again), name, awaited=True)
        if call_key is not None:
            self._becoming_known[call_key] = known
            known.add_done_callback(lambda _: self._becoming_known.pop(call_key, None))
        return await asyncio.shield(self._tasks.begin(self._place(known, session, asker), name, awaited=True))

    async def _know(
        self, session: SessionRecord, entry: Execution, call_key: str | None, *, again: bool
    ) -> tuple[Ticket, bool]:
        """The ticket of a committed execution, and whether it has still to be placed."""
        ticket, fresh = await self._commit(session, entry, call_key, self._sessions.runner_of(session), None)
        if fresh and again and self._records.forgot:
            ticket.life = replace(ticket.life, forgotten=True)
        number = ticket.execution.id
        if not fresh and (ticket.execution.settled or (number in self.tickets and number not in self.unclaimed)):
            return self.tickets.get(number, ticket), False
        ticket = self.unclaimed.pop(number, ticket)
        if ticket.execution.status == "running":
            ticket.step("begun" if fresh else "left")
        self.track(ticket)
        return ticket, True

    async def _place(self, known: asyncio.Task[tuple[Ticket, bool]], session: SessionRecord, asker: Asker) -> Ticket:
        ticket, to_be_placed = await known
        if not to_be_placed:
            return ticket
        try:
            runner = await self._sessions.ready_runner(session, asker)
        except Exception as error:  # a fault of ours, too: what stays queued would be run by the next daemon
            await self.call_off(ticket, str(error))  # the same call may have been sent again meanwhile, and wait here
            if ticket.execution.status == "lost":
                return ticket
            raise
        if ticket.life.forgotten and not self._knows_whether_it_ran(runner):
            await self.call_off(ticket, "")
        if not ticket.life.over:
            runner.submit(ticket)
        return ticket

    def _knows_whether_it_ran(self, runner: Runner) -> bool:
        """Whether a kernel begins nothing twice that a predecessor sent: it lived then, and has the recorder."""
        return runner.kernel.record.recorded and runner.kernel.record.started_at < self._began

    async def call_off(self, ticket: Ticket, reason: str) -> bool:
        """Have an execution not run that no kernel has yet; False where it was sent by a predecessor."""
        self.unclaimed.pop(ticket.execution.id, None)  # before anything is awaited: who asks again joins this
        if ticket.life.over:
            await ticket.settled.wait()
        elif not ticket.life.sent:
            status, reason = life.not_run(ticket.life, reason)
            ticket.step("cancelled", reason)
            await self.settle(ticket, status=status, reason=reason)
        return ticket.settled.is_set()

    async def _commit(
        self, session: SessionRecord, entry: Execution, key: str | None, runner: Runner | None, beside: Beside | None
    ) -> tuple[Ticket, bool]:
        """Commit an entry; of a call that is known already, the entry that it made. Code that `runner` can take at
        once is committed as running: one commit instead of two."""
        await self._sessions.keep(session)
        if runner is not None and runner.free:
            entry = runner.begun(entry)
        execution, fresh = await self._records.add_execution(entry, key, beside)
        ticket = Ticket(execution=execution, call_key=key or "")
        if execution.settled:
            ticket.settle(execution)
        return ticket, fresh

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
        entry = _entry(session, kind, source, client)
        return (await self._commit(session, entry, call_key, None, beside))[0].execution

    def track(self, ticket: Ticket) -> None:
        """Know an execution that is on its way until it is over."""
        self.tickets[ticket.execution.id] = ticket
        self._tasks.begin(self._forget_when_settled(ticket), f"execution {ticket.execution.id}")

    async def _forget_when_settled(self, ticket: Ticket) -> None:
        await ticket.settled.wait()
        await ticket.committed.wait()  # a call that is sent again meanwhile may have read that it runs
        self.tickets.pop(ticket.execution.id, None)

    def expect(self, execution: Execution) -> Ticket:
        """The ticket of an entry that is on its way: what waits for it waits on, also before its kernel is reached."""
        ticket = self.tickets.get(execution.id)
        if ticket is None:
            queued = life.Life(forgotten=self._records.doubts)
            ticket = Ticket(execution=execution, life=life.LEFT if execution.status == "running" else queued)
            self.track(ticket)
        return ticket

    async def settle(self, ticket: Ticket, **how: Any) -> None:
        """Commit what became of an execution that no kernel has, then tell everybody who waits."""
        execution = replace(ticket.execution, finished_at=time.time(), **how)
        try:
            await self._records.save_execution(execution)
        finally:
            ticket.committed.set()
            ticket.settle(execution)

    # What the owners of kernels commit

    async def save(self, execution: Execution) -> None:
        """Commit what became of an execution."""
        await self._records.save_execution(execution)

    async def enter(self, execution: Execution, call_key: str) -> Execution:
        """Commit what another client runs as an entry of its session's history, once; the entry as it stands."""
        return (await self._records.add_execution(execution, call_key))[0]

    async def known(self, msg_id: str) -> Execution | None:
        """The entry that a request was sent for."""
        return await self._records.entry_of_message(msg_id)

    def went_on(self, execution: Execution, start: int) -> None:
        """Remember to tell that an entry has shown more since it was over, or shows what no cell does: what its log has
        of it behind `start`."""
        self.late[execution.session].add(execution, start)
        self.news.tell()

    async def read_late(self, execution: Execution, start: int) -> list[Message | Mark]:
        """What an entry that is over has shown behind that place of its log."""
        region, found = execution.region, list[Message | Mark]()
        stream = self._stream_of(execution) or (Stream(region.log) if region is not None else None)
        place, kept = Place(start), stream.unrecorded()[1] if stream is not None else 0
        while stream is not None and region is not None:
            more, place = await stream.more(execution.msg_id or "", place._replace(kept=kept), region.end)
            if not more:
                break
            found += more
        return found

    async def restore(self, forgotten: Forgotten) -> Execution | None:
        """Commit an execution of ours that the records have forgotten, in its session; None where they have not."""
        execution = await self._in_its_session(forgotten)
        if not execution.session:
            return None
        restored = await self._records.restore_execution(execution, forgotten.call_key)
        if restored is not None:
            log.info("session %s: execution %s is on record again", restored.session, restored.id)
        return restored

    async def _in_its_session(self, forgotten: Forgotten) -> Execution:
        """With its session, which is on record from now on; empty where nothing tells which it was."""
        execution = forgotten.execution
        kernel = await self._records.kernel(execution.kernel_id) if execution.kernel_id is not None else None
        name = execution.session
        if name not in self._sessions.known and not names.fits(*name.partition("/")[::2]):
            name = kernel.session if kernel is not None else SessionName("")
        if name and name not in self._sessions.known:
            directory = forgotten.directory or (kernel.directory if kernel is not None else "")
            known = SessionRecord(name=name, directory=directory, created_at=execution.queued_at)
            await self._sessions.keep(replace(known, kernel_id=execution.kernel_id))
        return replace(execution, session=name)

    def beside(self, ticket: Ticket) -> str:
        """What is to travel beside the request for an execution."""
        session = self._sessions.known.get(ticket.execution.session)
        directory = session.directory if session is not None else ""
        return facts(ticket.execution, ticket.call_key, directory, recorded=not self._records.not_recorded)

    async def entered(self, kernel: KernelRecord) -> list[Execution]:
        """The entries of other clients' that stand in this kernel's log."""
        found = await self._records.entries_of_call(others.prefix(kernel.id))
        return [each for each in found if each.region is not None and each.region.log == kernel.message_log]

    # What others ask for

    async def find(self, execution_id: int) -> tuple[Execution, Ticket | None]:
        """An execution, with its ticket while it is on its way. Raises RefusedError."""
        ticket = self.tickets.get(ExecutionId(execution_id))
        if ticket is not None:
            return ticket.execution, ticket
        execution = await self._records.execution(execution_id) if execution_id <= _LAST else None
        if execution is None:
            raise RefusedError(f"there is no execution {execution_id}", WayOn("see executions"))
        return execution, None

    async def of_call(self, call_key: str) -> list[Execution]:
        """What a call began: its execution, or those that it runs one after another."""
        if committing := [task for key, task in self._becoming_known.items() if f"{key}:".startswith(f"{call_key}:")]:
            await asyncio.wait(committing)
        own = await self._records.execution_of_call(call_key)
        return [*filter(None, [own]), *await self._records.entries_of_call(f"{call_key}:")]

    async def folded(self, execution: Execution, *, without_outputs: bool = False) -> Folded:
        """What an execution has shown so far, or of that its errors and its end alone."""
        return await reading.folded(
            execution, self.unrecorded(execution), self.earlier, without_outputs=without_outputs
        )

    def is_giant(self, execution: Execution) -> bool:
        """Whether so much is recorded of an execution that it is not to be read in this process."""
        return self.recorded(execution) > _GIANT

    def recorded(self, execution: Execution) -> int:
        """How many bytes of log it has; those of others may be among them."""
        region = execution.region
        if region is None:
            return 0
        return (region.end if execution.settled else reading.log_size(region.log)) - region.start

    def unrecorded(self, execution: Execution) -> Sequence[Message | Mark]:
        """What the log that an execution's messages stand in could not take, of all that are in it."""
        stream = self._stream_of(execution)
        return stream.unrecorded()[0] if stream is not None else ()

    def _stream_of(self, execution: Execution) -> Stream | None:
        runner = self._kernels.that_ran(execution)
        region = execution.region
        return runner.stream if runner and region and runner.stream.log == region.log else None

    async def read_on(
        self, execution: Execution, ticket: Ticket | None, place: Place | None
    ) -> tuple[list[Message | Mark], Place | None]:
        """What an execution prints, shows and asks next, and where to go on; None where that is all."""
        return await reading.read_on(execution, ticket, self._stream_of, place)

    async def cells_of(self, execution: Execution, errors: Sequence[Mapping[str, Any]]) -> dict[int, int]:
        """The execution counts that an execution's `error` outputs name, with the executions that had them."""
        if not errors:
            return {}
        counts = await apart("results", lambda: frozenset[int]().union(*map(cell_counts, errors)))
        if not counts or execution.kernel_id is None:
            return {}
        return await self._records.cells(execution.session, execution.kernel_id, execution.generation, counts)

    def behind(self, ticket: Ticket) -> tuple[tuple[ExecutionId, ...], int]:
        """The first of what a queued execution waits for, the one that runs first, and how many that are."""
        for runner in self._kernels.runners.values():
            first, count = runner.before(ticket)
            if first:
                return tuple(each.execution.id for each in first), count
        return (), 0

    def waiting(self, session: SessionName, kernel_id: KernelId) -> list[ExecutionId]:
        """A session's executions that are not over and that this kernel has, or is to get; none that is unclaimed."""
        return [
            number
            for number, ticket in self.tickets.items()
            if not ticket.settled.is_set()
            and number not in self.unclaimed
            and ticket.execution.session == session
            and ticket.execution.kernel_id in (None, kernel_id)
        ]

    def runner_with(self, ticket: Ticket) -> Runner | None:
        """The kernel that runs an execution now."""
        runners = self._kernels.runners.values()
        return next((each for each in runners if each.runs(ticket)), None)

    async def stop(self, ticket: Ticket, reason: str, *, force: bool = False) -> bool:
        """Take an execution out of its queue, or interrupt it and see whether it stopped. Never hits another one.

        With `force` many interrupts follow each other at once, which may reach it while it cleans up.
        """
        runner = next((each for each in self._kernels.runners.values() if each.holds(ticket)), None)
        if runner is None:
            return await self.call_off(ticket, reason)
        if await runner.withdraw(ticket, reason):
            return True
        for wait_s in _FORCED_LADDER_S if force else _INTERRUPT_LADDER_S:
            if not await runner.interrupt(ticket, reason):
                break
            await happens(ticket.settled, wait_s)
        return ticket.settled.is_set()

    def call_attention(self) -> None:
        """Wake everybody who waits for an execution: the daemon stops."""
        for ticket in self.tickets.values():
            ticket.attention.tell()


def _entry(session: SessionRecord, kind: EntryKind, source: str, client: str, **more: Any) -> Execution:
    return Execution(
        id=ExecutionId(0),
        session=session.name,
        kind=kind,
        source=source,
        status="queued" if kind == "code" else "ok",
        kernel_id=session.kernel_id,
        client=client,
        queued_at=time.time(),
        **more,
    )
