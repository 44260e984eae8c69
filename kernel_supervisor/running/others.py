"""What other clients run on one kernel of ours (JupyterLab, a console, nbclient): committed to the session's history.

Also what a predecessor of ours had sent whose records could not be written, and no record tells of.

It is found in the kernel's stream, so that it makes no difference whether a daemon listened: a cell that ran while none
did is committed when the next one adopts the kernel. The call key makes it the same entry both times.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from kernel_supervisor.core.life import Event, status_of
from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    ExecutionStatus,
    KernelId,
    KernelRecord,
    Message,
    Region,
)
from kernel_supervisor.records.beside import forgotten
from kernel_supervisor.running.finished import Finished
from kernel_supervisor.running.ledger import Ledger
from kernel_supervisor.running.ticket import Ticket

_NAMELESS = "a Jupyter client"


@dataclass(slots=True, kw_only=True)
class _Theirs:
    ticket: Ticket
    shown: ExecutionStatus = "ok"
    """What the errors that it showed mean; it stands in for a reply that is not recorded."""


class Others:
    """What others run on one kernel of ours, and our own queue waits for; of a kernel that is theirs it is nothing."""

    def __init__(self, record: KernelRecord, ledger: Ledger, finished: Finished) -> None:
        """Know nothing of theirs yet."""
        self._record, self._ledger, self._finished = record, ledger, finished
        self._running: dict[str, _Theirs | None] = {}
        """By msg_id; None until it is on record."""
        self.left: frozenset[ExecutionId] = frozenset()
        """What was not over when a predecessor died."""

    def __bool__(self) -> bool:
        """Whether something of theirs runs."""
        return bool(self._running)

    def __contains__(self, msg_id: object) -> bool:
        """Whether that runs."""
        return msg_id in self._running

    @property
    def tickets(self) -> list[Ticket]:
        """Of what runs."""
        return [each.ticket for each in self._running.values() if each is not None]

    async def recall(self) -> int | None:
        """Take up what a predecessor had on record as running; where the first of it begins."""
        running = [each for each in await self._ledger.entered(self._record) if not each.settled]
        self.left = frozenset(each.id for each in running)
        for each in running:
            self._begin(each)
        return min((each.region.start for each in running if each.region is not None), default=None)

    async def take(self, message: Message, start: int, end: int) -> None:
        """Take what the kernel said to another client, and where that stands."""
        msg_id = message.parent_id
        known = msg_id in self._running or msg_id in self._finished
        wanted = self._record.owned or bool(message.beside)
        if message.msg_type == "execute_input" and wanted and not known:
            self._running[msg_id] = None
            try:
                await self._enter(message, start)
            finally:
                if self._running.get(msg_id) is None:  # it was over before, or cannot be told
                    self._running.pop(msg_id, None)
            return
        theirs = self._running.get(msg_id)
        if theirs is None:
            return
        if message.msg_type == "error":
            theirs.shown = status_of(message.content, stopped=bool(theirs.ticket.life.cancelled))
        elif message.msg_type in ("execute_reply", "status"):
            theirs.ticket.hear(message)
            if theirs.ticket.life.phase in ("idle", "over"):
                await self._settle(theirs, end)

    async def _enter(self, message: Message, start: int) -> None:
        record = self._record
        region = Region(log=record.message_log, start=start, end=start)
        told = forgotten(message, record.id, record.generation, region)
        execution: Execution | None
        if message.beside:
            execution = await self._ledger.restore(told)
        else:
            begun, client = told.execution.started_at or time.time(), message.username or _NAMELESS
            key = f"{prefix(record.id)}{record.generation}:{message.parent_id}"
            entry = replace(told.execution, session=record.session, client=client, queued_at=begun, started_at=begun)
            execution = await self._ledger.enter(entry, key)
        if execution is not None and not execution.settled:
            self._begin(execution)

    def _begin(self, execution: Execution) -> None:
        ticket = self._ledger.expect(execution)
        ticket.step("started")
        self._running[str(execution.msg_id)] = _Theirs(ticket=ticket)

    async def _settle(self, theirs: _Theirs, end: int) -> None:
        """Commit an end, the reply of which may be recorded nowhere."""
        ticket = theirs.ticket
        if self._running.pop(str(ticket.execution.msg_id), None) is None:
            return  # somebody else has done with it
        if ticket.life.reply is None:
            ticket.step("replied", reply=theirs.shown)
        ticket.step("went idle")
        execution = ticket.ended(time.time(), end)
        try:
            await self._ledger.save(execution)
        finally:
            self._finished.add(execution)
            ticket.committed.set()
            ticket.settle(execution)

    async def abandon(self, event: Event, why: str, end: int, only: frozenset[ExecutionId] | None = None) -> None:
        """Have done with what runs, or of that with `only` these: nothing of its end is known."""
        for theirs in [each for each in self._running.values() if each is not None]:
            if only is None or theirs.ticket.execution.id in only:
                theirs.ticket.step(event, why)
                await self._settle(theirs, end)


def prefix(kernel_id: KernelId) -> str:
    """With which the call keys of what others run on a kernel begin. A client's id is never of this form."""
    return f"jupyter-{kernel_id}:"
