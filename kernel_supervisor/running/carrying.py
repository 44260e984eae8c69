"""Carrying out what an execution's life wants, on one kernel, until it is over."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from kernel_supervisor.core import life
from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.life import Life
from kernel_supervisor.core.model import Execution, Region
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.running.ledger import Ledger
from kernel_supervisor.running.reader import Reader
from kernel_supervisor.running.reading import control_of, log_size, reaches
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.tasks import happens

BEGIN_S = 1.0
"""How long an execution that was sent is given to begin: the kernel may be held by what is nobody's execution."""
SILENT_S = 5.0
"""After how long an execution that says nothing of its end is looked after: what tells it can be lost."""
_PLACE_S, _LOOK_AGAIN_S = 2.0, (5.0, 60.0)


class Carrier:
    """Sends executions to one kernel. What becomes of one is committed to `ledger` before that."""

    def __init__(self, kernel: Kernel, ledger: Ledger, reader: Reader) -> None:
        """`reader` takes in what the kernel says, and steps on the lives of what was sent."""
        self._kernel, self._ledger, self._reader = kernel, ledger, reader
        self.ended = False
        """Whether nothing is to be sent any more: the kernel is gone, or is about to be."""
        self.deaf = False
        """Whether somebody else restarted it, and nothing was heard of the new process yet."""

    def begun(self, execution: Execution) -> Execution:
        """An execution as it is when this kernel runs it, its messages expected from here on in the log."""
        record = self._kernel.record
        start = log_size(record.message_log)
        return replace(
            execution,
            status="running",
            started_at=time.time(),
            kernel_id=record.id,
            generation=record.generation,
            region=Region(log=record.message_log, start=start, end=start),
        )

    async def see_through(self, ticket: Ticket) -> None:
        """Do what its life wants, until it is over."""
        again = await self._take_up(ticket)
        ticket.caught_up.set()
        behind: asyncio.Task[None] | None = None
        if ticket.life.sent and again and not ticket.life.over:
            behind = self._look_behind(ticket, "log gone")
        try:
            while (wanted := life.wants(ticket.life, sending_again_is_safe=again)) != "settle":
                if wanted == "begin":
                    await self._begin(ticket)
                elif wanted == "send" and not self.ended:
                    await self._send(ticket)
                elif wanted == "doubt":
                    ticket.step("doubted", "log gone" if self._kernel.record.recorded else "nobody listened")
                elif wanted == "look" and behind is None:
                    behind = self._look_behind(ticket, "log gone")
                elif wanted == "ask" and behind is None:
                    behind = asyncio.create_task(self._ask_behind(ticket), name="a request behind ours")
                elif await _stands_still(ticket) and self._kernel.record.recorded and ticket.life.sent and not behind:
                    behind = self._look_behind(ticket, "unsaid")
        finally:
            if behind is not None:
                behind.cancel()
                await asyncio.gather(behind, return_exceptions=True)

    async def _take_up(self, ticket: Ticket) -> bool:
        """Take in what the log has of what a predecessor may have sent; whether sending it again would be safe."""
        execution, record = ticket.execution, self._kernel.record
        is_here = (execution.kernel_id, execution.generation) == (record.id, record.generation)
        if ticket.life.phase == "begun" and not is_here:
            ticket.step("moved")
        if ticket.life.phase != "left" or execution.region is None:
            return record.recorded
        for message in await asyncio.to_thread(control_of, execution):
            ticket.hear(message)
        return record.recorded and await asyncio.to_thread(reaches, record.message_log, execution.region.start)

    async def _begin(self, ticket: Ticket) -> None:
        ticket.execution = self.begun(ticket.execution)
        await self._ledger.save(ticket.execution)
        ticket.step("begun")

    async def begun_before(self, ticket: Ticket, start: int) -> None:
        """What waits here runs already, and its messages stand in the log from `start` on: a predecessor sent it."""
        begun = self.begun(ticket.execution)
        assert begun.region is not None
        ticket.execution = replace(begun, region=replace(begun.region, start=start))
        ticket.step("left")
        await self._ledger.save(ticket.execution)

    async def _send(self, ticket: Ticket) -> None:
        """Send it; again where a predecessor may have sent it: the recorder begins each msg_id only once."""
        while self.deaf:  # it may be restarted once more meanwhile, and whatever ends an execution may come
            self.deaf = False
            await self._kernel.hear_again()
        if ticket.life.over or self.ended:
            return
        assert ticket.execution.msg_id is not None
        ticket.step("sent")
        beside = self._ledger.beside(ticket)
        await self._kernel.execute(ticket.execution.msg_id, ticket.execution.source, beside)

    async def _ask_behind(self, ticket: Ticket) -> None:
        """A request on the same channel is answered behind it: if its reply has not come by then, it came while nobody
        listened, or the request never arrived. It is never sent again on a guess."""
        try:
            await self._kernel.pass_through_shell()
        except SupervisorError as error:
            ticket.step("failed", str(error))
        await self._reader.to_end()
        ticket.step("passed")

    def _look_behind(self, ticket: Ticket, doubt: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._learn_of_its_end(ticket, doubt), name="an end that nothing tells")

    async def _learn_of_its_end(self, ticket: Ticket, doubt: str) -> None:
        """Learn of what was sent that it is over, also where nothing says so."""
        await ticket.until(has_started, BEGIN_S)
        await self.pass_what_runs()
        ticket.step("doubted", doubt)
        ticket.step("passed")

    async def pass_what_runs(self) -> None:
        """Return once the kernel is done with what it ran, and all is read that it said of that.

        No request is put behind a cell that is seen to run: some ipykernels do not bear two at a time.
        """
        look_again_s = _LOOK_AGAIN_S[0]
        while self._kernel.language == "python" and await _runs_a_cell(self._kernel):
            await asyncio.sleep(look_again_s)  # a kernel is asked, it does not tell
            look_again_s = min(2 * look_again_s, _LOOK_AGAIN_S[1])
        await self._kernel.pass_through_shell()
        await self._reader.to_end()


def has_started(each: Life) -> bool:
    """Whether its kernel has begun with it, as far as is known."""
    return each.started


async def _stands_still(ticket: Ticket) -> bool:
    """Wait for the next step of its life, or until the grace for what is missing is over; whether nothing was said."""
    before, grace_s = ticket.life, life.grace_s(ticket.life)
    if await happens(ticket.changed.next, grace_s or SILENT_S) or ticket.life != before:
        return False
    if grace_s is not None:
        ticket.step("waited")
    return grace_s is None


async def _runs_a_cell(kernel: Kernel) -> bool:
    """Whether a kernel runs a cell now, or does not even say. Older recorders only knew lines, not what awaits."""
    try:
        place = await kernel.place(_PLACE_S)
        return bool(place.get("running") or place.get("line"))
    except TimeoutError:
        return True
