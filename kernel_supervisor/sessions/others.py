"""What other clients run on our kernels (JupyterLab, a console, nbclient): committed to the session's history.

It is found in the kernel's message log, so that it makes no difference whether a daemon listened: a cell that ran
while none did is committed when the next one adopts the kernel. The call key makes it the same entry both times.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    ExecutionStatus,
    Message,
    MessageId,
    Region,
    count_of,
)
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.database import Database
from kernel_supervisor.sessions.reading import log_size
from kernel_supervisor.sessions.runner import LOOK_S, Runner, status_of
from kernel_supervisor.sessions.ticket import Ticket

log = logging.getLogger(__name__)
_KINDS = ("execute_input", "execute_reply", "status", "error")
_NAMELESS = "a Jupyter client"
_PLACE_S, _LOOK_AGAIN_S = 2.0, 5.0
_NO_END = "its kernel is done with it, and nothing of its end is on record"
_GAP = "it was run by another client, and was over before a daemon listened; this kernel does not record itself"


@dataclass(slots=True, kw_only=True)
class _Watch:
    """How far one kernel's log was read, and what others run on it."""

    runner: Runner
    position: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once what happened before is on record."""
    left: set[ExecutionId] = field(default_factory=set)
    """What was not over when a predecessor died."""
    running: dict[str, _Theirs] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    """What the kernel was done with when it answered a request behind it, by whatever the log has of its end."""
    over: set[str] = field(default_factory=set)
    """What was heard to be over, and is not yet known to be so from the log."""
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, kw_only=True)
class _Theirs:
    ticket: Ticket
    failed: bool = False
    """Whether an error was shown; it stands in for a reply that is not recorded."""


class Others:
    """Watches every kernel of ours for what we did not ask for. `expect` gives the ticket of an entry that runs."""

    def __init__(self, records: Database, expect: Callable[[Execution], Ticket]) -> None:
        self._records, self._expect = records, expect
        self._watches: dict[Runner, _Watch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, runner: Runner) -> None:
        """Listen to a kernel that was started or adopted; what is not ours is left to those it belongs to."""
        if not runner.kernel.record.owned:
            return
        for gone in [each for each in self._watches if each.gone.is_set()]:
            del self._watches[gone]
        watch = self._watches[runner] = _Watch(runner=runner)
        runner.on_theirs = lambda message: self._heard(watch, message)
        if log_size(runner.kernel.record.message_log):
            self._follow(watch)
        else:
            watch.caught_up.set()

    def _heard(self, watch: _Watch, message: Message | None) -> None:
        if message is None:  # its last cell may have ended it before we heard of it
            watch.news.set()
            self._follow(watch)
            return
        theirs, msg_id = watch.runner.theirs, message.parent_id
        if message.msg_type == "execute_input" and msg_id not in watch.runner.finished:
            theirs.setdefault(msg_id, None)
        elif message.msg_type == "status" and message.content.get("execution_state") == "idle":
            watch.over |= {msg_id} & theirs.keys()
        if theirs:
            watch.news.set()
            self._follow(watch)

    async def take_up(self, runner: Runner) -> set[ExecutionId]:
        """Wait until it is on record what others ran on an adopted kernel while no daemon listened.

        The ids of what is theirs and was not over when a predecessor died.
        """
        watch = self._watches.get(runner)
        if watch is None:
            return set()
        await watch.caught_up.wait()
        return watch.left

    async def close(self) -> None:
        """Let go of everything; it runs on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _follow(self, watch: _Watch) -> None:
        if watch.task is None or watch.task.done():
            name = f"what others run on kernel {watch.runner.kernel.record.id}"
            watch.task = asyncio.create_task(self._keep_reading(watch), name=name)
            self._tasks.add(watch.task)
            watch.task.add_done_callback(self._tasks.discard)

    async def _keep_reading(self, watch: _Watch) -> None:
        try:
            await self._read_on(watch)
        except Exception as error:  # whatever it is: the kernel's own queue must not wait for ever
            log.exception("kernel %s: what others run cannot be followed", watch.runner.kernel.record.id)
            with suppress(SupervisorError):
                await self._abandon(watch, "lost", f"it cannot be followed: {type(error).__name__}: {error}")
        watch.caught_up.set()
        for msg_id in list(watch.runner.theirs):
            watch.runner.is_over(msg_id)

    async def _read_on(self, watch: _Watch) -> None:
        """Read until nothing of theirs runs any more."""
        if not watch.caught_up.is_set():
            await self._recall(watch)
        await self._read(watch)
        watch.caught_up.set()
        asking = self._ask_behind(watch, set(watch.running)) if watch.running else None
        try:
            while (watch.running or watch.runner.theirs) and not watch.runner.dead_because:
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(watch.news.wait(), LOOK_S)
                watch.news.clear()
                await self._read(watch)
        finally:  # nothing is awaited here: what begins meanwhile would be followed by nobody
            if asking is not None:
                asking.cancel()
        if watch.running:
            await self._read(watch)
            await self._abandon(watch, "dead", watch.runner.dead_because)

    def _ask_behind(self, watch: _Watch, running: set[str]) -> asyncio.Task[None]:
        asking = asyncio.create_task(self._learn_of_the_end(watch, running), name="a request behind theirs")
        self._tasks.add(asking)
        asking.add_done_callback(self._tasks.discard)
        return asking

    async def _learn_of_the_end(self, watch: _Watch, running: set[str]) -> None:
        """Learn of what ran when we began to listen that it is over, also where its end was not recorded.

        No request is put behind a cell that is seen to run: some ipykernels do not bear two at a time.
        """
        while await _is_in_a_cell(watch.runner.kernel):  # noqa: ASYNC110 - a kernel is asked, it does not tell
            await asyncio.sleep(_LOOK_AGAIN_S)
        await watch.runner.kernel.pass_through_shell()
        watch.behind |= running
        watch.news.set()

    async def _recall(self, watch: _Watch) -> None:
        """Take up what is on record of theirs: from the last one on the log is to be read."""
        record = watch.runner.kernel.record
        for execution in await self._records.entries_of_call(_prefix(record.id)):
            if execution.region is None or execution.region.log != record.message_log:
                continue
            watch.position = max(watch.position, execution.region.start)
            if not execution.settled:
                watch.left.add(execution.id)
                self._begin(watch, execution)
        if watch.running and record.recorded:
            watch.position = min(each.ticket.scanned for each in watch.running.values())
        elif watch.running:
            await self._abandon(watch, "lost", _GAP)

    async def _read(self, watch: _Watch) -> None:
        """Take what is new in the log, in order; what it could not take is known to be over all the same."""
        over, watch.over = watch.over, set()
        behind, watch.behind = watch.behind, set()
        for start, end, message in await asyncio.to_thread(_news, watch):
            try:
                await self._take(watch, message, start, end)
            except Exception:  # an odd message spoils itself alone
                log.exception("kernel %s: a message of another client's", watch.runner.kernel.record.id)
        for msg_id in over:
            if msg_id in watch.running:
                theirs = watch.running[msg_id]
                await self._settle(watch, theirs, "error" if theirs.failed else "ok", "", watch.position)
            watch.runner.is_over(msg_id)
        for msg_id in behind & watch.running.keys():
            await self._settle(watch, watch.running[msg_id], "lost", _NO_END, watch.position)

    async def _take(self, watch: _Watch, message: Message, start: int, end: int) -> None:
        if message.msg_type == "execute_input":
            await self._commit(watch, message, start)
        elif message.parent_id in watch.running:
            await self._hear(watch, watch.running[message.parent_id], message, end)

    async def _commit(self, watch: _Watch, message: Message, start: int) -> None:
        if message.parent_id in watch.running or message.parent_id in watch.runner.finished:
            return
        record = watch.runner.kernel.record
        begun = _seconds(message.date)
        execution = Execution(
            id=ExecutionId(0),
            session=record.session,
            kind="code",
            source=str(message.content.get("code", "")),
            status="running",
            kernel_id=record.id,
            generation=record.generation,
            msg_id=MessageId(message.parent_id),
            execution_count=count_of(message.content),
            client=message.username or _NAMELESS,
            queued_at=begun,
            started_at=begun,
            region=Region(log=record.message_log, start=start, end=start),
        )
        key = _prefix(record.id) + f"{record.generation}:{message.parent_id}"
        execution, _ = await self._records.add_execution(execution, key)
        if not execution.settled:
            self._begin(watch, execution)

    def _begin(self, watch: _Watch, execution: Execution) -> None:
        assert execution.region is not None
        ticket = self._expect(execution)
        ticket.sent, ticket.scanned = True, execution.region.start
        ticket.begun.set()
        watch.running[str(execution.msg_id)] = _Theirs(ticket=ticket)
        watch.runner.theirs[str(execution.msg_id)] = ticket

    async def _hear(self, watch: _Watch, theirs: _Theirs, message: Message, end: int) -> None:
        ticket = theirs.ticket
        match message.msg_type:
            case "execute_reply":
                ticket.reply = message.content
            case "error":
                theirs.failed = True
            case "status" if message.content.get("execution_state") == "idle":
                status = status_of(ticket.reply or {"status": "error" if theirs.failed else "ok"})
                await self._settle(watch, theirs, status, "", end)
            case _:
                pass

    async def _settle(self, watch: _Watch, theirs: _Theirs, status: ExecutionStatus, reason: str, end: int) -> None:
        ticket = theirs.ticket
        assert ticket.execution.region is not None
        ticket.execution = replace(
            ticket.execution,
            status=status,
            reason=ticket.cancelled or reason,
            finished_at=time.time(),
            region=replace(ticket.execution.region, end=end),
        )
        await self._records.save_execution(ticket.execution)
        ticket.committed.set()
        del watch.running[str(ticket.execution.msg_id)]
        watch.runner.finished.add(ticket.execution)
        watch.runner.last_used = time.time()
        ticket.settle()
        watch.runner.is_over(str(ticket.execution.msg_id))

    async def _abandon(self, watch: _Watch, status: ExecutionStatus, reason: str) -> None:
        end = log_size(watch.runner.kernel.record.message_log)
        for theirs in list(watch.running.values()):
            await self._settle(watch, theirs, status, reason, end)


async def _is_in_a_cell(kernel: Kernel) -> bool:
    """Whether a kernel runs lines of a cell now, or does not even say."""
    try:
        return bool((await kernel.place(_PLACE_S)).get("line"))
    except TimeoutError:
        return True


def _prefix(kernel_id: str) -> str:
    """With which the call keys of what others run on a kernel begin. A client's id is never of this form."""
    return f"jupyter-{kernel_id}:"


def _news(watch: _Watch) -> list[tuple[int, int, Message]]:
    """What others' requests caused, since the last look; each with where it stands. Blocks on the disk."""
    record = watch.runner.kernel.record
    found = []
    for end, item in messagelog.read(record.message_log, watch.position, kinds=_KINDS):
        if isinstance(item, Message) and item.asked_in not in ("", record.channel_identity):
            found.append((watch.position, end, item))
        watch.position = end
    return found


def _seconds(date: str) -> float:
    try:
        return datetime.fromisoformat(date.replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError, OSError):
        return time.time()
