"""The owner of one kernel: a queue, and one task that sends one execution at a time and sees it through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice

from kernel_supervisor.core import model
from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.life import exits
from kernel_supervisor.core.model import Execution, ExecutionId, Message, Question
from kernel_supervisor.inside.questions import OVER
from kernel_supervisor.inside.recorder import UNRECORDED
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.records.bell import hang
from kernel_supervisor.records.messagelog import Entry, Passed
from kernel_supervisor.records.recording import Recording
from kernel_supervisor.records.stream import Stream
from kernel_supervisor.running.carrying import BEGIN_S, SILENT_S, Carrier, has_started
from kernel_supervisor.running.finished import Finished, read_by_a_predecessor
from kernel_supervisor.running.ledger import Ledger
from kernel_supervisor.running.others import Others
from kernel_supervisor.running.reader import Reader
from kernel_supervisor.running.reading import log_size
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.servers.websocket import NotSentError
from kernel_supervisor.tasks import Tasks, happens

log = logging.getLogger(__name__)
_RESTARTED = "the kernel was restarted by somebody else: its variables are gone"
_NO_END = "its kernel is done with it, and nothing of its end is on record"
_UNHEARD = "it was run by another client, and was over before a daemon listened; this kernel does not record itself"
_NO_OUTPUT = ("status", "execute_input", "execute_reply", "input_request", OVER)
_IDLE_LOOKS = 2
"""How often a server may say that a kernel is idle whose execution we believe to run, before we ask it."""
_NAMED = 3
"""Of those that wait before an execution."""
_ATTENDED_S = 1.0
"""How long an adoption waits, at the most, until what was left running on a kernel is looked after."""
_READ_S = 30.0
"""How long it may take to read what a kernel said before it was gone."""
_EXITS_S = 1.0
"""How long a kernel that said that it exits is given for that before it is asked whether it goes on."""
_COMMITS_S = 2.0
"""How long the commits that are under way may take when the kernel is let go of."""


class Runner:
    """Runs executions on one kernel. What becomes of one is committed to `ledger` before anything is sent."""

    def __init__(
        self,
        kernel: Kernel,
        ledger: Ledger,
        on_death: Callable[[Runner], None],
        on_restart: Callable[[Runner], None],
        *,
        gap: str = "",
    ) -> None:
        """Take a connected kernel over. `on_death` is called once, after its executions were settled;
        `on_restart` each time that somebody else restarted it. `gap` says why nobody listened until now: what was said
        meanwhile is taken up by `recall`.
        """
        self.kernel = kernel
        self._ledger, self._on_death, self._on_restart = ledger, on_death, on_restart
        record = kernel.record
        self._identity = record.channel_identity
        self._idle_looks = 0
        self._queue: deque[Ticket] = deque()
        self.current: Ticket | None = None
        self._wake = asyncio.Event()
        self._between = asyncio.Lock()
        """Held while an interrupt is on its way: no other execution begins before it has arrived."""
        self._pauses = 0
        self._bell = hang(record.connection_file) if kernel.recorder.get("bell") else None
        self.stream = Stream(record.message_log, self._bell)
        name = f"reader of kernel {record.id}"
        self.reader = Reader(self.stream, self._take, self._take_heard, lambda: bool(self.running), name)
        self.finished = Finished(record, ledger, self._save_late, lambda: self.reader.position)
        self.others = Others(record, ledger, self.finished)
        self._commits, self._looks, self._owner = Tasks(), Tasks(), Tasks()
        self._theirs: asyncio.Task[None] | None = None
        self._recording = Recording(record)
        self._carrier = Carrier(kernel, ledger, self.reader)
        self._doomed = ""
        self._last: Ticket | None = None
        """What ran as it was doomed."""
        self._exiting = False
        """Whether it said that it exits: nothing is begun in it that would be cut off."""
        self.gone = asyncio.Event()
        """Set once the kernel's end is on record."""
        self.dead_because = ""
        """Why the kernel is gone, once that is known."""
        self.last_used = time.time()
        self.execution_count = 0
        """The kernel's own, as far as we have seen."""
        if gap:
            self._recording.mark_gap(gap)
        else:
            self.reader.begin(0)
        kernel.hear_less()
        kernel.listen(self)
        self._owner.keep(self._own, f"owner of kernel {record.id}")

    @property
    def state(self) -> model.KernelState:
        """What the kernel is doing, as far as our own executions say."""
        if not self.kernel.alive:
            return "dead"
        if self.kernel.trouble:
            return "unreachable"
        if self.current is not None and self.current.question is not None:
            return "waiting for input"
        return "busy" if self.current is not None or self.others else "idle"

    @property
    def lives_on(self) -> bool:
        """Whether its kernel runs and is not about to be ended: one that ends is held until that is on record."""
        return self.kernel.alive and not self._carrier.ended

    @property
    def running(self) -> Ticket | None:
        """What runs on it: ours, else what another client runs."""
        return next(iter(self._all_running()), None)

    def before(self, ticket: Ticket) -> tuple[list[Ticket], int]:
        """The first of what is to be over before a queued execution begins, and how many that are; none for others."""
        if ticket.execution.status != "queued":
            return [], 0
        behind = next((index for index, each in enumerate(reversed(self._queue)) if each is ticket), None)
        if behind is None:
            return [], 0
        running, place = self._all_running()[:1], len(self._queue) - 1 - behind
        first = [*running, *islice(self._queue, min(place, _NAMED))]
        return first[:_NAMED], len(running) + place

    @property
    def idle_s(self) -> float:
        """How long ago it was used last."""
        return max(0.0, time.time() - self.last_used)

    @property
    def waiting(self) -> list[Ticket]:
        """What is queued, in order."""
        return list(self._queue)

    @property
    def free(self) -> bool:
        """Whether it can begin an execution at once, and would not begin it twice if we died in between."""
        idle = self.current is None and not self._queue and not self.others and not self._held
        return idle and not self._carrier.ended and self.kernel.record.recorded

    def begun(self, execution: Execution) -> Execution:
        """An execution as it is when this kernel runs it."""
        return self._carrier.begun(execution)

    def submit(self, ticket: Ticket) -> None:
        """Put a committed execution in the queue; one that a dead kernel can no longer run is aborted."""
        self._queue.append(ticket)
        self._wake.set()
        if self._carrier.ended:
            self._commits.begin(self.bury(), f"execution {ticket.execution.id} on a dead kernel")

    def runs(self, ticket: Ticket) -> bool:
        """Whether an execution runs here now, ours or another client's."""
        return ticket in self._all_running()

    def holds(self, ticket: Ticket) -> bool:
        """Whether an execution waits or runs here."""
        return ticket in self._queue or self.runs(ticket)

    def _all_running(self) -> list[Ticket]:
        ours = [self.current] if self.current is not None else []
        return [*ours, *self.others.tickets]

    async def withdraw(self, ticket: Ticket, reason: str) -> bool:
        """Take a queued execution out; False where it runs already, or a predecessor may have sent it."""
        if ticket not in self._queue or ticket.life.sent:
            return False
        self._queue.remove(ticket)
        ticket.step("cancelled", reason)
        await self._settle(ticket)
        return True

    async def interrupt(self, ticket: Ticket, reason: str) -> bool:
        """Interrupt this execution, and never another; False where it does not run (any more)."""
        async with self._between:
            if not self.runs(ticket) or ticket.settled.is_set():
                return False
            ticket.step("cancelled", reason)
            if ticket.life.sent:
                await ticket.until(has_started, BEGIN_S)  # an interrupt before it runs would reach nothing
                with suppress(ProcessLookupError):
                    await self.kernel.interrupt(ticket.execution.started_at)
            return True

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing that is queued here begins meanwhile; entered once what runs is over."""
        self._pauses += 1
        try:
            while running := self.running:
                await running.settled.wait()
                await asyncio.sleep(0)  # its owner lets go of it
            yield
        finally:
            self._pauses -= 1
            self._wake.set()

    @property
    def _held(self) -> bool:
        """Whether nothing is to begin now."""
        return self._exiting or self._pauses > 0

    # Adoption

    async def recall(self, over: Sequence[Execution]) -> frozenset[ExecutionId]:
        """Take up what was said while nobody listened. `over` is what a predecessor had settled here, in order.

        The ids of what others ran, and what was not over when it died.
        """
        self.last_used = max((each.finished_at or 0.0 for each in over), default=self.kernel.record.started_at)
        self.execution_count = max((each.execution_count or 0 for each in over), default=0)
        for execution in over:
            self.finished.add(execution)
        began = await self.others.recall()
        read = read_by_a_predecessor(over)
        self.reader.begin(read if began is None else min(began, read))
        await self.reader.caught_up.wait()
        if self.others and not self.kernel.record.recorded:
            await self.others.abandon("failed", _UNHEARD, self.reader.position)
        if self.others:
            self._learn_of_theirs()
        return self.others.left

    def _learn_of_theirs(self) -> None:
        running = frozenset(each.execution.id for each in self.others.tickets)
        self._looks.begin(self._learn_of_their_end(running), f"a request behind theirs on {self.kernel.record.id}")

    async def _learn_of_their_end(self, running: frozenset[ExecutionId]) -> None:
        """Learn of what others ran when we began to listen that it is over, also where its end was not recorded."""
        await self._carrier.pass_what_runs()
        await self.others.abandon("failed", _NO_END, self.reader.position, running)
        self._wake.set()

    async def _wait_for_theirs(self) -> None:
        """Have what others run come to an end, also where the kernel never says so."""
        while theirs := self.others.tickets:
            if not await happens(theirs[0].settled, SILENT_S):
                await self._learn_of_their_end(frozenset({theirs[0].execution.id}))

    async def attended(self) -> None:
        """Return once what a predecessor left running is looked after: before that nobody could say that it runs."""
        end = time.monotonic() + _ATTENDED_S
        while self._queue and self._queue[0].life.sent and not (self.current or self._carrier.ended or self.others):
            if time.monotonic() > end:
                return
            await asyncio.sleep(0)  # it is the next turn of the task that owns the queue

    # The queue

    async def _own(self) -> None:
        while not self._carrier.ended:
            if not self._queue or self.others or self._held:
                self._wake.clear()
                await self._wake.wait()
                continue
            async with self._between:
                if self._carrier.ended or self.others or self._held or not self._queue:  # it was withdrawn meanwhile
                    continue
                ticket = self.current = self._queue.popleft()
            self.last_used = time.time()
            try:
                await self._carrier.see_through(ticket)
            except NotSentError as error:
                ticket.step("refused", str(error))
            except SupervisorError as error:
                ticket.step("failed", str(error))
            except Exception as error:  # a fault of ours must not stop the queue
                log.exception("execution %s failed inside the supervisor", ticket.execution.id)
                ticket.step("failed", f"the supervisor failed: {type(error).__name__}: {error}")
            self.current = None
            await self._settle(ticket)

    async def answer(self, ticket: Ticket, question: Question, text: str) -> bool:
        """Answer a question of a running execution; False where it is over already. The text is kept nowhere."""
        if ticket is not self.current or ticket.question != question:
            return False
        ticket.close_question(question.id)
        await self.kernel.answer(question.id, text)
        self._recording.close_question(ticket.execution, question)  # not before: the next daemon would not ask again
        self.stream.rings.tell()
        return True

    async def _settle(self, ticket: Ticket) -> None:
        """Tell its end, and commit it; the other way round where the next daemon could not find it in the log."""
        region = ticket.execution.region
        execution = ticket.ended(time.time(), log_size(region.log) if region is not None else 0)
        self.last_used = time.time()
        committing = self._commits.begin(self._commit_end(ticket, execution), f"end of execution {execution.id}")
        if ticket.life.sent:
            self.finished.add(execution)
        else:
            await asyncio.wait({committing})
        ticket.settle(execution)
        self.stream.rings.tell()  # for those who follow it

    async def _commit_end(self, ticket: Ticket, execution: Execution) -> None:
        try:
            await self._ledger.save(execution)
        finally:
            ticket.committed.set()

    # What the kernel says

    def hear(self, message: Message) -> None:
        """Write what comes over a socket to the log of a kernel that does not write it; else it wakes the reader."""
        if message.channel == "control" or (message.channel == "shell" and message.msg_type != "execute_reply"):
            return
        if message.msg_type == UNRECORDED or not self._recording.hear(message):
            self.stream.keep(message)
        elif self.kernel.record.recorded and (message.channel != "iopub" or message.msg_type == "status"):
            self.reader.hear(message)
        self.stream.rings.tell()

    async def _take(self, entry: Entry) -> None:
        item = entry.item
        if isinstance(item, Message):
            self.execution_count = count_of(item.content) or self.execution_count
            self._take_exit(item)
            if (item.asked_in not in ("", self._identity) or item.beside) and self._ours(item.parent_id) is None:
                await self._take_what_is_not_ours(item, entry)
                self._wake.set()
                if self.others and (self._theirs is None or self._theirs.done()):
                    name = f"the end of theirs on kernel {self.kernel.record.id}"
                    self._theirs = self._looks.begin(self._wait_for_theirs(), name)
        if not isinstance(item, Message | Passed):
            self.finished.reach(item, entry.end)
            ticket = self._ours(item.parent_id)
            if ticket is not None:
                ticket.hear(item)
                ticket.printed = entry if item.goes_on else ticket.printed
            return
        if entry.start == entry.end:  # it is in no log
            self._lack(item.parent_id)
        ticket = self._ours(item.parent_id)
        if ticket is not None:
            ticket.hear(item)
            if item.msg_type == "stream":
                ticket.printed = entry
        elif item.msg_type not in _NO_OUTPUT and item.parent_id not in self.others:
            await self.finished.hear(item.parent_id, entry)

    async def _take_what_is_not_ours(self, message: Message, entry: Entry) -> None:
        """Somebody else's, or what a predecessor of ours sent: that is forgotten, or waits here to be sent again."""
        waiting = [each for each in self._queue if each.execution.msg_id == message.parent_id]
        if not waiting or not message.beside:
            await self.others.take(message, entry.start, entry.end)
            return
        if not waiting[0].life.sent:
            await self._carrier.begun_before(waiting[0], entry.start)
        waiting[0].hear(message)  # what the log could not take is said but once

    def _lack(self, msg_id: str) -> None:
        """Of what runs the log could not take a message: committed with the first, should we die, and at its end."""
        for ticket in self._all_running():
            if ticket.execution.msg_id == msg_id and ticket.lack():
                self._save_late(ticket.execution)

    async def _take_heard(self, message: Message) -> None:
        """A kernel that records itself said this: where it could not write it, nothing that the log has tells us."""
        self._take_exit(message)
        ticket = self._ours(message.parent_id)
        if ticket is not None:
            before = ticket.life, ticket.question
            ticket.hear(message)
            if (ticket.life, ticket.question) != before:
                self.stream.keep(message)
        elif message.msg_type == "status":
            await self.others.take(message, self.reader.position, self.reader.position)
            self._wake.set()

    def _take_exit(self, message: Message) -> None:
        if message.msg_type == "execute_reply" and exits(message.content) and not self._exiting:
            self._exiting = True
            self._looks.begin(self._learn_that_it_stays(), f"requests behind an exit of {self.kernel.record.id}")

    async def _learn_that_it_stays(self) -> None:
        """Go on with the queue where the kernel did not exit. One whose loop is about to stop may still answer a
        request, and none that comes behind that."""
        await asyncio.sleep(_EXITS_S)
        for _ in range(2):
            await self.kernel.pass_through_shell()
        self._exiting = False
        self._wake.set()

    def _ours(self, msg_id: str) -> Ticket | None:
        return self.current if self.current is not None and self.current.execution.msg_id == msg_id else None

    def _save_late(self, execution: Execution) -> None:
        self._commits.begin(self._ledger.save(execution), f"late output of execution {execution.id}")

    def resumed(self, gap: str) -> None:
        """Its connection was broken: something may be missing, a reply among it."""
        self._recording.mark_gap(gap)
        self._doubt()

    def _doubt(self) -> None:
        if self.current is not None and self.current.life.sent and self.current.life.reply is None:
            self.current.step("doubted", "broken off")
        if self.others:
            self._learn_of_theirs()

    def told_state(self, state: str) -> None:
        """What the kernel's server says: where that is idle for long, the execution we wait for is over."""
        ours = self.current is not None and self.current.life.sent and self.current.life.reply is None
        waiting = ours or bool(self.others)
        self._idle_looks = self._idle_looks + 1 if waiting and state == "idle" else 0
        if self._idle_looks >= _IDLE_LOOKS:
            self._idle_looks = 0
            self._doubt()

    def restarted(self) -> None:
        """Somebody else restarted it: what ran is over, what waited for its variables is not run."""
        if self._carrier.ended:
            return
        self._carrier.deaf, self._exiting = True, False
        self._recording.mark_gap(_RESTARTED)
        ended = self._end_all(_RESTARTED, *self._taken_out(_RESTARTED))
        self._commits.begin(ended, f"what a restart ended on kernel {self.kernel.record.id}")
        self._on_restart(self)

    # The end

    def died(self) -> None:
        """Its process is gone, or whoever had it says so."""
        if self._carrier.ended:  # it was ended on request, by somebody who goes on from there
            return
        self._carrier.ended = True
        self._commits.begin(self._mourn(), f"end of kernel {self.kernel.record.id}")

    def doom(self, reason: str) -> None:
        """It is about to be ended on request: nothing that waits here is begun any more.

        What runs may still come to its end before the kernel does.
        """
        self._carrier.ended, self._doomed, self._last = True, reason, self.current

    @property
    def cut_off(self) -> ExecutionId | None:
        """What ended with it as it was ended on request, rather than by itself; known once it is gone."""
        last = self._last.execution if self._last is not None else None
        return last.id if last is not None and last.status not in ("ok", "error") else None

    async def _mourn(self) -> None:
        try:
            self.dead_because = await asyncio.to_thread(self.kernel.post_mortem)
        except Exception:  # whatever cannot be found out, the kernel is gone
            log.exception("kernel %s: its end cannot be explained", self.kernel.record.id)
            self.dead_because = "the kernel died; why cannot be found out"
        try:
            await self.bury()
        finally:
            self._on_death(self)

    async def bury(self) -> None:
        """Settle what ran and what waited on a kernel that is gone, with the reason."""
        self.dead_because = self.dead_because or self._doomed
        running, waiting = self._taken_out(self.dead_because)
        await self._end_all(self.dead_because, running, waiting)
        self.finished.flush()
        for ticket in running:
            await ticket.settled.wait()

    def _taken_out(self, reason: str) -> tuple[list[Ticket], list[Ticket]]:
        """What runs, and what waited, which is out of the queue now; what was not sent yet will not be any more."""
        running, waiting = [self.current] if self.current is not None else [], list(self._queue)
        self._queue.clear()
        for ticket in (*running, *waiting):
            if not ticket.life.sent:
                ticket.step("gone", reason)
        return running, waiting

    async def _end_all(self, reason: str, running: Sequence[Ticket], waiting: Sequence[Ticket]) -> None:
        """End what ran by whatever it said before its process was gone, and what waited."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.reader.to_end(), _READ_S)
        for ticket in (*running, *waiting):
            ticket.step("gone", reason)
        for ticket in waiting:
            await self._settle(ticket)
        await self.others.abandon("gone", reason, self.reader.position)
        self._wake.set()

    async def close(self) -> None:
        """Let go of the kernel, which runs on, and of everything that waits here."""
        await self._owner.close()
        await self.reader.close()
        self.finished.close()
        if self._bell is not None:
            self._bell.close()
        await self._looks.close()
        await self._commits.close(_COMMITS_S)
        await self.kernel.close()
        self._recording.close()
