"""The owner of one kernel: a queue, and one task that sends one execution at a time and sees it through."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from kernel_supervisor.core import model
from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import Execution, ExecutionStatus, Message, Question, Region, count_of
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.servers.websocket import NotSentError
from kernel_supervisor.sessions.finished import Finished
from kernel_supervisor.sessions.reading import log_size, look_in_log, reaches
from kernel_supervisor.sessions.recording import Recording
from kernel_supervisor.sessions.ticket import Ticket

log = logging.getLogger(__name__)
IDLE_GRACE_S = 4.0
"""How long after its reply an execution's idle status may be missing (nbclient waits as long)."""
_REPLY_GRACE_S = 1.0
"""How long after its idle status an execution's reply may be missing before the kernel is asked: another socket."""
LOOK_S = 1.0
"""How often the message log of a running execution is looked at, in case its messages did not reach us."""
_LOST = (
    "it was sent, or about to be sent, when the daemon died, and was over before another listened; this kernel does "
    "not record itself, so nobody knows how it ended. It was not run again"
)
_LOG_GONE = (
    "it was over before another daemon listened, and its kernel's message log is gone or was cut off; so nobody knows "
    "how it ended. It was not run again"
)
_BROKEN_OFF = (
    "the connection to its kernel broke while it ran, and when that was back it was over and its reply gone, or it had "
    "never arrived; so nobody knows how it ended. It was not run again"
)
_NO_REPLY = (
    "its kernel was done with it and sent no reply, so nobody knows how it ended; kernels that do not record "
    "themselves do that where an interrupt comes as a cell ends. What it printed is whole. It was not run again"
)
_RESTARTED = "the kernel was restarted by somebody else: its variables are gone"
_IDLE_LOOKS = 2
"""How often a server may say that a kernel is idle whose execution we believe to run, before we ask it."""
_BEGIN_S = 1.0
"""How long an interrupt waits for its execution to begin: the kernel may be held by what is nobody's execution."""
_ATTENDED_S = 1.0
"""How long an adoption waits, at the most, until what was left running on a kernel is looked after."""
_COMMITS_S = 2.0
"""How long the commits that are under way may take when the kernel is let go of."""

Save = Callable[[Execution], Awaitable[None]]


class Runner:
    """Runs executions on one kernel. `save` commits an execution; it is awaited before anything is sent."""

    def __init__(
        self,
        kernel: Kernel,
        save: Save,
        on_death: Callable[[Runner], None],
        on_restart: Callable[[Runner], None],
        *,
        gap: str = "",
    ) -> None:
        """Take a connected kernel over. `on_death` is called once, after its executions were settled;
        `on_restart` each time that somebody else restarted it. `gap` says why nobody listened until now.
        """
        self.kernel = kernel
        self._save, self._on_death, self._on_restart = save, on_death, on_restart
        self._idle_looks = 0
        self._queue: deque[Ticket] = deque()
        self.current: Ticket | None = None
        self.theirs: dict[str, Ticket | None] = {}
        """What other clients of the kernel run now, by msg_id; None until it is on record."""
        self.on_theirs: Callable[[Message | None], None] = lambda message: None
        """Called with each message that another client's request caused, and with None where the kernel died."""
        self._wake = asyncio.Event()
        self._between = asyncio.Lock()
        """Held while an interrupt is on its way: no other execution begins before it has arrived."""
        self.finished = Finished(lambda each: self._hold(save(each), f"late output of execution {each.id}"))
        self._tasks: set[asyncio.Task[None]] = set()
        self._recording = Recording(kernel.record)
        self._over = False
        self._deaf = False
        """Whether somebody else restarted it, and nothing was heard of the new process yet."""
        self._doomed = ""
        self.gone = asyncio.Event()
        """Set once the kernel's end is on record."""
        self.dead_because = ""
        """Why the kernel is gone, once that is known."""
        self.last_used = time.time()
        self.execution_count = 0
        """The kernel's own, as far as we have seen."""
        self._identity = kernel.record.channel_identity
        if gap:
            self._recording.mark_gap(gap)
        kernel.on_death, kernel.on_resumed = self._died, self._resumed
        kernel.on_restarted, kernel.on_state = self._restarted, self._told_state
        kernel.listen(self._hear)
        self._owner = asyncio.create_task(self._own(), name=f"owner of kernel {kernel.record.id}")

    @property
    def state(self) -> model.KernelState:
        """What the kernel is doing, as far as our own executions say."""
        if not self.kernel.alive:
            return "dead"
        if self.kernel.trouble:
            return "unreachable"
        if self.current is not None and self.current.question is not None:
            return "waiting for input"
        return "busy" if self.current is not None or self.theirs else "idle"

    @property
    def running(self) -> Ticket | None:
        """What runs on it: ours, else what another client runs."""
        return self.current or next(filter(None, self.theirs.values()), None)

    @property
    def waiting(self) -> list[Ticket]:
        """What is queued, in order."""
        return list(self._queue)

    @property
    def free(self) -> bool:
        """Whether it can begin an execution at once, and would not begin it twice if we died in between."""
        idle = self.current is None and not self._queue and not self.theirs
        return idle and not self._over and self.kernel.record.recorded

    def begun(self, execution: Execution) -> Execution:
        """An execution as it is when this kernel runs it, its messages expected from here on in the log."""
        record = self.kernel.record
        start = log_size(record.message_log)
        return replace(
            execution,
            status="running",
            started_at=time.time(),
            kernel_id=record.id,
            generation=record.generation,
            region=Region(log=record.message_log, start=start, end=start),
        )

    def submit(self, ticket: Ticket) -> None:
        """Put a committed execution in the queue; one that a dead kernel can no longer run is aborted."""
        self._queue.append(ticket)
        self._wake.set()
        if self._over:
            self._hold(self.bury(), f"execution {ticket.execution.id} on a dead kernel")

    async def attended(self) -> None:
        """Return once what a predecessor left running is looked after: before that nobody could say that it runs."""
        end = time.monotonic() + _ATTENDED_S
        while self._queue and self._queue[0].sent and not (self._over or self.theirs):
            if time.monotonic() > end:
                return
            await asyncio.sleep(0)  # it is the next turn of the task that owns the queue

    def is_over(self, msg_id: str) -> None:
        """What another client ran is over: what waits here goes on."""
        self.theirs.pop(msg_id, None)
        self._wake.set()

    def holds(self, ticket: Ticket) -> bool:
        """Whether an execution waits or runs here."""
        return ticket in (self.current, *self._queue, *self.theirs.values())

    async def withdraw(self, ticket: Ticket, reason: str) -> bool:
        """Take a queued execution out; False where it runs already."""
        if ticket not in self._queue:
            return False
        self._queue.remove(ticket)
        await self._settle(ticket, "aborted", reason)
        return True

    async def interrupt(self, ticket: Ticket, reason: str) -> bool:
        """Interrupt this execution, and never another; False where it does not run (any more)."""
        async with self._between:
            if ticket not in (self.current, *self.theirs.values()) or ticket.settled.is_set():
                return False
            ticket.cancelled = reason
            if ticket.sent:
                with contextlib.suppress(asyncio.TimeoutError):  # an interrupt before it runs would reach nothing
                    await asyncio.wait_for(ticket.begun.wait(), _BEGIN_S)
                with contextlib.suppress(ProcessLookupError):
                    await self.kernel.interrupt()
            return True

    async def _own(self) -> None:
        while not self._over:
            if not self._queue or self.theirs:
                self._wake.clear()
                await self._wake.wait()
                continue
            async with self._between:
                if self._over or self.theirs or not self._queue:  # it was withdrawn meanwhile
                    continue
                ticket = self.current = self._queue.popleft()
            try:
                await self._run(ticket)
            except NotSentError as error:
                await self._settle(ticket, "aborted", f"it was not run: {error}")
            except SupervisorError as error:
                await self._settle(ticket, "lost", str(error))
            except Exception as error:  # a fault of ours must not stop the queue
                log.exception("execution %s failed inside the supervisor", ticket.execution.id)
                await self._settle(ticket, "lost", f"the supervisor failed: {type(error).__name__}: {error}")
            finally:
                self.current = None

    async def _run(self, ticket: Ticket) -> None:
        record = self.kernel.record
        self.last_used = time.time()
        if ticket.execution.status == "queued" or not (ticket.sent or self._is_here(ticket.execution)):
            ticket.execution = self.begun(ticket.execution)
            await self._save(ticket.execution)
        assert ticket.execution.region is not None
        assert ticket.execution.msg_id is not None
        ticket.scanned = ticket.execution.region.start
        if ticket.sent:
            await look_in_log(ticket)
        ticket.caught_up.set()
        if ticket.sent and not (record.recorded and reaches(record.message_log, ticket.execution.region.start)):
            await (self._find_out(ticket) if ticket.reply is None else self._see_through(ticket))
            return
        if ticket.cancelled and not ticket.sent:
            await self._settle(ticket, "aborted", "")
            return
        if self._deaf:
            self._deaf = False
            await self.kernel.hear_again()
        if not (ticket.reply and ticket.idle) and not self._over:
            ticket.sent = True
            # sent again where a predecessor may have sent it: the recorder begins each msg_id only once
            await self.kernel.execute(ticket.execution.msg_id, ticket.execution.source)
            self.kernel.watch_memory()  # while the kernel is busy anyway
        await self._see_through(ticket)

    def _is_here(self, execution: Execution) -> bool:
        """Whether an execution was committed to this kernel; it may have been replaced since, or left for another."""
        record = self.kernel.record
        return (execution.kernel_id, execution.generation) == (record.id, record.generation)

    async def _find_out(self, ticket: Ticket) -> None:
        """What became of an execution whose record is gone or never was, which a predecessor sent or meant to send."""
        if await self._passed_over(ticket):
            await self._settle(ticket, "lost", _LOG_GONE if self.kernel.record.recorded else _LOST)
        else:
            await self._see_through(ticket)

    async def _passed_over(self, ticket: Ticket) -> bool:
        """Whether an execution can have no reply any more. It is never sent again on a guess.

        A request on the same channel is answered behind it: if its reply has not come by then, it came while nobody
        listened, or the request never arrived.
        """
        behind = asyncio.create_task(self.kernel.pass_through_shell(), name="barrier")
        behind.add_done_callback(lambda _: ticket.changed.set())
        try:
            while not (ticket.reply or behind.done() or self.dead_because or ticket.ended_because):
                ticket.changed.clear()
                await ticket.changed.wait()
        finally:
            behind.cancel()
            await asyncio.gather(behind, return_exceptions=True)
        return not (ticket.reply or self.dead_because or ticket.ended_because)

    async def _see_through(self, ticket: Ticket) -> None:
        """Wait for the end, by live messages; the log is looked at where they may have been lost."""
        half_over_at: float | None = None
        while not (ticket.reply and ticket.idle) and not (self.dead_because or ticket.ended_because):
            if ticket.in_doubt and ticket.reply is None:
                ticket.in_doubt = False
                if await self._passed_over(ticket):
                    await self._settle(ticket, "lost", _NO_REPLY if ticket.idle else _BROKEN_OFF)
                    self.finished.add(ticket.execution)
                    return
            if ticket.reply is not None or ticket.idle:
                half_over_at = half_over_at or time.monotonic()
                grace_s = IDLE_GRACE_S if ticket.reply is not None else _REPLY_GRACE_S
                if time.monotonic() - half_over_at > grace_s:
                    if ticket.reply is not None:
                        break
                    ticket.in_doubt = True
                    continue
            ticket.changed.clear()
            try:
                await asyncio.wait_for(ticket.changed.wait(), LOOK_S)
            except asyncio.TimeoutError:
                await look_in_log(ticket)
        if ticket.reply is None:
            await look_in_log(ticket)
        if ticket.reply is None and not ticket.sent:
            await self._settle(ticket, "aborted", f"it was not run: {self.dead_because or ticket.ended_because}")
        elif ticket.reply is None:
            await self._settle(ticket, "dead", self.dead_because or ticket.ended_because)
        else:
            await self._settle(ticket, status_of(ticket.reply), "")
        self.finished.add(ticket.execution)

    async def answer(self, ticket: Ticket, question: Question, text: str) -> bool:
        """Answer a question of a running execution; False where it is over already. The text is kept nowhere."""
        if ticket is not self.current or ticket.question != question:
            return False
        ticket.close_question(question.id)
        await self.kernel.answer(question.id, text)
        self._recording.close_question(ticket.execution, question)  # not before: the next daemon would not ask again
        return True

    async def _settle(self, ticket: Ticket, status: ExecutionStatus, reason: str) -> None:
        region = ticket.execution.region
        if region is not None:
            region = replace(region, end=log_size(region.log))
        count = count_of(ticket.reply or {})
        ticket.execution = replace(
            ticket.execution,
            status=status,
            reason="; ".join(dict.fromkeys(filter(None, (reason, ticket.cancelled)))),
            finished_at=time.time(),
            execution_count=ticket.execution.execution_count if count is None else count,
            region=region,
        )
        # The caller need not wait for this commit: were it lost, the next daemon would find the end in the log.
        self._hold(self._commit_end(ticket), f"end of execution {ticket.execution.id}")
        self.last_used = time.time()
        ticket.settle()

    async def _commit_end(self, ticket: Ticket) -> None:
        try:
            await self._save(ticket.execution)
        finally:
            ticket.committed.set()

    # Messages

    def _hear(self, message: Message) -> None:
        if message.channel == "control" or (message.channel == "shell" and message.msg_type != "execute_reply"):
            return
        self._recording.hear(message)
        self.execution_count = count_of(message.content) or self.execution_count
        parent_id = message.parent_id
        if message.channel == "iopub" and message.asked_in not in ("", self._identity):
            self.on_theirs(message)
        ticket = self.theirs.get(parent_id) or self.current
        if ticket is not None and parent_id == ticket.execution.msg_id:
            ticket.hear(message)
        elif parent_id in self.finished and message.msg_type != "status":
            self.finished.hear(parent_id)

    def _resumed(self, gap: str) -> None:
        """Its connection was broken: something may be missing, a reply among it."""
        self._recording.mark_gap(gap)
        self._doubt()

    def _doubt(self) -> None:
        ticket = self.current
        if ticket is not None and ticket.sent and ticket.reply is None:
            ticket.in_doubt = True
            ticket.changed.set()

    def _told_state(self, state: str) -> None:
        """What the kernel's server says: where that is idle for long, the execution we wait for is over."""
        waiting = self.current is not None and self.current.sent and self.current.reply is None
        self._idle_looks = self._idle_looks + 1 if waiting and state == "idle" else 0
        if self._idle_looks >= _IDLE_LOOKS:
            self._idle_looks = 0
            self._doubt()

    def _restarted(self) -> None:
        """Somebody else restarted it: what ran is over, what waited for its variables is not run."""
        if self._over:
            return
        if self.current is not None and self.current.sent:
            self.current.ended_because = _RESTARTED
            self.current.changed.set()
        self._deaf = True
        self._recording.mark_gap(_RESTARTED)
        self._hold(self._abort_waiting(_RESTARTED), f"queue of kernel {self.kernel.record.id}")
        self._on_restart(self)

    def _hold(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            try:
                await work
            except SupervisorError as error:
                log.error("%s: %s", name, error)

        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # The end

    def _died(self) -> None:
        if self._over:  # it was ended on request, by somebody who goes on from there
            return
        self._over = True
        self._hold(self._mourn(), f"end of kernel {self.kernel.record.id}")

    def doom(self, reason: str) -> None:
        """It is about to be ended on request: nothing that waits here is begun any more.

        What runs may still come to its end before the kernel does.
        """
        self._over, self._doomed = True, reason

    async def _mourn(self) -> None:
        self.dead_because = await asyncio.to_thread(self.kernel.post_mortem)
        self.on_theirs(None)
        await self.bury()
        self._on_death(self)

    async def bury(self) -> None:
        """Settle what ran and what waited on a kernel that is gone, with the reason."""
        self.dead_because = self.dead_because or self._doomed
        current = self.current
        if current is not None:
            current.changed.set()
            await current.settled.wait()
        await self._abort_waiting(self.dead_because)

    async def _abort_waiting(self, reason: str) -> None:
        while self._queue:
            await self._settle(self._queue.popleft(), "aborted", f"it was not run: {reason}")

    async def close(self) -> None:
        """Let go of the kernel, which runs on, and of everything that waits here."""
        self._owner.cancel()
        self.finished.close()
        await asyncio.gather(self._owner, return_exceptions=True)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_COMMITS_S)
            for task in late:
                task.cancel()
        await self.kernel.close()
        self._recording.close()


def status_of(reply: dict[str, Any]) -> ExecutionStatus:
    """The status that an execute_reply means."""
    match reply.get("status"):
        case "ok":
            return "ok"
        case "aborted" | "abort":
            return "aborted"
        case _:
            return "error"
