"""Entries of one kernel that are over, while what they left still prints for them; and what no cell shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from kernel_supervisor.core.model import Execution, ExecutionId, KernelRecord, Mark, MessageId, Region
from kernel_supervisor.inside.recorder import OUTSIDE
from kernel_supervisor.keeping import FINISHED, Newest
from kernel_supervisor.records.messagelog import Entry
from kernel_supervisor.running.ledger import Ledger

SHOWN_BY_NO_CELL = "Shown by no cell: a signal handler, an exit handler or the like."
_LATE_S = 0.2
"""How long late output is collected before its end is committed."""
_COMMITTED_S = 5.0
"""After what time it is committed at any rate, in a daemon that lives."""


class Finished:
    """The last entries of one kernel that are over; `save` commits one that goes on printing."""

    def __init__(
        self, record: KernelRecord, ledger: Ledger, save: Callable[[Execution], None], read_to: Callable[[], int]
    ) -> None:
        """Know none yet. `read_to` says how far the kernel's log is read."""
        self._record, self._ledger, self._save, self._read_to = record, ledger, save, read_to
        self._executions: Newest[str, Execution] = Newest(FINISHED)
        self._unknown: Newest[str, None] = Newest(FINISHED)
        """Requests that are no entries of this kernel's."""
        self._late: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, msg_id: object) -> bool:
        """Whether that execution is over, and was not long ago."""
        return msg_id in self._executions

    def add(self, execution: Execution) -> None:
        """Know one that is over."""
        self._unknown.pop(execution.msg_id or "", None)
        self._executions[execution.msg_id or ""] = execution

    def reach(self, mark: Mark, end: int) -> None:
        """What the log has of one of them ends there, with what is said of its record."""
        execution = self._executions.get(mark.parent_id)
        if execution is not None and execution.region is not None and end > execution.region.end:
            region, lacks = replace(execution.region, end=end), execution.unrecorded or int(mark.kind == "hole")
            self._executions[mark.parent_id] = replace(execution, region=region, unrecorded=lacks)
            self._save(self._executions[mark.parent_id])

    async def hear(self, msg_id: str, entry: Entry) -> None:
        """One of them printed, or none: where that ends behind what belongs to it, more does, and is committed soon."""
        unrecorded = entry.start == entry.end
        if msg_id not in self._executions and msg_id not in self._unknown:
            await self._look_for(msg_id, entry.start)
        execution = self._executions.get(msg_id)
        if execution is None or execution.region is None or not (unrecorded or entry.end > execution.region.end):
            return
        if unrecorded:
            self._executions[msg_id] = replace(execution, unrecorded=execution.unrecorded + 1)
        if msg_id not in self._late:
            self._late[msg_id] = asyncio.get_running_loop().call_later(_LATE_S, self._extend, msg_id)

    async def _look_for(self, msg_id: str, start: int) -> None:
        """Know an entry that was over long ago, or the one that has what no cell shows, from one cell to the next."""
        if msg_id.startswith(OUTSIDE):
            execution = await self._enter(msg_id, start) if self._record.owned else None
        else:
            execution = await self._ledger.known(msg_id)
        region = execution.region if execution is not None and execution.settled else None
        if execution is not None and region is not None and region.log == self._record.message_log:
            self.add(execution)
            return
        self._unknown[msg_id] = None

    async def _enter(self, msg_id: str, start: int) -> Execution:
        record, now = self._record, time.time()
        execution = Execution(
            id=ExecutionId(0),
            session=record.session,
            kind="note",
            source=SHOWN_BY_NO_CELL,
            status="ok",
            kernel_id=record.id,
            generation=record.generation,
            msg_id=MessageId(msg_id),
            queued_at=now,
            started_at=now,
            finished_at=now,
            region=Region(log=record.message_log, start=start, end=start),
        )
        return await self._ledger.enter(execution, f"{OUTSIDE}{record.id}:{msg_id}")

    def _extend(self, msg_id: str) -> None:
        self._late.pop(msg_id, None)
        execution = self._executions.get(msg_id)
        if execution is None or execution.region is None:
            return
        start, end = execution.region.end, max(execution.region.end, self._read_to())
        self._executions[msg_id] = replace(execution, region=replace(execution.region, end=end))
        self._save(self._executions[msg_id])
        self._ledger.went_on(self._executions[msg_id], start)

    def flush(self) -> None:
        """Commit at once what was printed last: its kernel is gone, or somebody is to be told now."""
        for msg_id, timer in list(self._late.items()):
            timer.cancel()
            self._extend(msg_id)

    def close(self) -> None:
        """Wait for no more."""
        for timer in self._late.values():
            timer.cancel()


def read_by_a_predecessor(over: Sequence[Execution]) -> int:
    """To where it read the log and committed what it found, at any rate: what was over well before its death."""
    ends = [(each.finished_at or 0.0, each.region.end) for each in over if each.region is not None]
    died_after = max((finished_at for finished_at, _ in ends), default=0.0)
    return max((end for finished_at, end in ends if finished_at < died_after - _COMMITTED_S), default=0)
