"""What a predecessor left on its way: taken up with its kernel, settled where that is gone, or kept for its client."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import replace

from kernel_supervisor.core import life
from kernel_supervisor.core.model import Execution, ExecutionId, ExecutionStatus, KernelId, SessionName
from kernel_supervisor.records.database import Database
from kernel_supervisor.running import reading
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions.executions import Executions
from kernel_supervisor.sessions.kernels import Kernels
from kernel_supervisor.sessions.sessions import Sessions
from kernel_supervisor.tasks import Tasks

_CLAIM_S, _CLAIM_AGAIN_S = 30.0, 3.0
"""How long a queued execution of a dead daemon waits for its client to ask again, where its kernel is gone: since it
was committed, and at least since this daemon began, which a client that lives finds at once."""


class Left:
    """The executions that were queued or running when a daemon before this one ended."""

    def __init__(self, records: Database, kernels: Kernels, sessions: Sessions, executions: Executions) -> None:
        """Know none before `remember`."""
        self._records, self._kernels, self._sessions, self._executions = records, kernels, sessions, executions
        self._on_kernels: defaultdict[KernelId, list[Ticket]] = defaultdict(list)
        """What was left on kernels that are not reached yet, in order."""
        self.homeless: defaultdict[SessionName, list[Ticket]] = defaultdict(list)
        """What was left in sessions without a kernel."""
        self._tasks = Tasks()

    async def close(self) -> None:
        """Let go of everything; cells run on."""
        await self._tasks.close()

    def remember(self, executions: Iterable[Execution], sought: Container[KernelId]) -> None:
        """Take in what a predecessor left queued or running: on kernels that are `sought`, or on none (any more).

        Where its records were in memory, it may have told somebody what became of what is queued here: that is run
        where its client asks again.
        """
        doubted = []
        for execution in executions:
            ticket = self._executions.expect(execution)
            if self._records.doubts and not ticket.life.sent:
                doubted.append(self._keep_for_client(ticket))
            elif execution.kernel_id is not None and execution.kernel_id in sought:
                self._on_kernels[execution.kernel_id].append(ticket)
            else:
                self.homeless[execution.session].append(ticket)
                if not ticket.life.sent:
                    self._executions.unclaimed[execution.id] = ticket
        if self._records.doubts:
            self._tasks.begin(self._believe_after(doubted), "what was queued while nothing could be committed")

    def take_up(self, runner: Runner, theirs: Container[ExecutionId]) -> None:
        """Go on with what was left on a kernel that is reached, in order, but for what others run there."""
        record = runner.kernel.record
        for ticket in self._on_kernels.pop(record.id, ()):
            if ticket.settled.is_set() or ticket.execution.id in theirs:
                continue
            if ticket.life.sent and ticket.execution.generation != record.generation:
                self._end_without_kernel(ticket)
            else:
                runner.submit(ticket)

    def leave(self, kernel_id: KernelId, reason: str) -> None:
        """Have done with what was left on a kernel that is gone, and why."""
        for ticket in self._on_kernels.pop(kernel_id, ()):
            if ticket.settled.is_set():
                continue
            if ticket.life.sent:
                self._end_without_kernel(ticket, reason)
            else:
                not_run = f"it was not run: {reason}"
                self._tasks.begin(self._executions.call_off(ticket, not_run), f"execution {ticket.execution.id}")

    async def take_up_homeless(self, session: SessionName) -> None:
        """Go on with what was left in a session without a kernel, once it is known which of its kernels live."""
        for ticket in self.homeless.pop(session, ()):
            runner, unclaimed = await self._kernel_for(ticket.execution), self._executions.unclaimed
            if ticket.life.sent:
                self._end_without_kernel(ticket)
            elif ticket.execution.id not in unclaimed:
                continue  # it was called off, or its client asked again before this
            elif runner is not None:
                runner.submit(unclaimed.pop(ticket.execution.id))
            else:
                self._keep_for_client(ticket)

    def _keep_for_client(self, ticket: Ticket) -> asyncio.Task[None]:
        self._executions.unclaimed[ticket.execution.id] = ticket
        return self._tasks.begin(self._give_up_unclaimed(ticket), f"unclaimed execution {ticket.execution.id}")

    async def _believe_after(self, doubted: Iterable[asyncio.Task[None]]) -> None:
        await asyncio.gather(*doubted)
        await self._records.believe()

    def _end_without_kernel(self, ticket: Ticket, reason: str = "") -> None:
        self._tasks.begin(self._settle_without_kernel(ticket, reason), f"end of execution {ticket.execution.id}")

    async def _kernel_for(self, execution: Execution) -> Runner | None:
        """The living kernel that an execution was, or would have been, run on.

        One that was queued while its session's first kernel was being started knows no kernel yet.
        """
        if execution.kernel_id is not None:
            return self._kernels.runners.get(execution.kernel_id)
        session = self._sessions.known.get(execution.session)
        if session is None:
            return None
        runners = self._kernels.runners.values()
        started = [each for each in runners if each.kernel.record.session == session.name and each.kernel.record.owned]
        if session.kernel_id is None and len(started) == 1:
            session = await self._sessions.change(session.name, kernel_id=started[0].kernel.record.id)
        return self._sessions.runner_of(session)

    async def _settle_without_kernel(self, ticket: Ticket, reason: str) -> None:
        """Settle what was sent to a kernel that is gone by what its log has of it."""
        execution = ticket.execution
        found = await self._executions.folded(execution, without_outputs=True)
        record = await self._records.kernel(execution.kernel_id) if execution.kernel_id is not None else None
        status: ExecutionStatus = "dead" if found.reply is None else life.status_of(found.reply)
        reason = reason or (record.end_reason if record else "") or "its kernel is gone"
        region = execution.region
        if region is not None:
            region = replace(region, end=reading.log_size(region.log))
        reason, count = reason if found.reply is None else "", found.execution_count
        await self._executions.settle(ticket, status=status, reason=reason, region=region, execution_count=count)

    async def _give_up_unclaimed(self, ticket: Ticket) -> None:
        left_s = ticket.execution.queued_at + _CLAIM_S - time.time()
        await asyncio.sleep(min(max(left_s, _CLAIM_AGAIN_S), _CLAIM_S))
        if ticket.execution.id in self._executions.unclaimed:
            why = "its kernel was gone before it could run, and its client did not ask again"
            await self._executions.call_off(ticket, why)
