"""Executions that are over, while threads that they left may still print for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from kernel_supervisor.core.model import Execution, ExecutionId
from kernel_supervisor.keeping import FINISHED

_LATE_S = 0.2
"""How long late output is collected before its end is committed."""
_COMMITTED_S = 5.0
"""After what time it is committed at any rate, in a daemon that lives."""


class Finished:
    """The last executions of one kernel that are over; `save` commits one that goes on printing."""

    def __init__(self, save: Callable[[Execution], None], read_to: Callable[[], int]) -> None:
        """Know none yet. `read_to` says how far the kernel's log is read."""
        self._save, self._read_to = save, read_to
        self._executions: OrderedDict[str, Execution] = OrderedDict()
        self._late: dict[str, asyncio.TimerHandle] = {}
        self._went_on: OrderedDict[ExecutionId, int] = OrderedDict()
        self.times = 0
        """How often one of them turned out to have gone on."""

    def __contains__(self, msg_id: object) -> bool:
        """Whether that execution is over, and was not long ago."""
        return msg_id in self._executions

    def add(self, execution: Execution) -> None:
        """Know one that is over."""
        self._executions[execution.msg_id or ""] = execution
        while len(self._executions) > FINISHED:
            self._executions.popitem(last=False)

    def went_on_since(self, times: int) -> list[ExecutionId]:
        """Those that have shown more since `times` was so small."""
        times = times if times <= self.times else 0  # of another runner of the same kernel
        return [number for number, at in self._went_on.items() if at > times]

    def reach(self, msg_id: str, end: int) -> None:
        """What the log has of one of them ends there: it is said to have a hole."""
        execution = self._executions.get(msg_id)
        if execution is not None and execution.region is not None and end > execution.region.end:
            self._executions[msg_id] = replace(execution, region=replace(execution.region, end=end))
            self._save(self._executions[msg_id])

    def hear(self, msg_id: str, end: int, *, unrecorded: bool) -> None:
        """One of them printed: where that ends behind what belongs to it, more does, and is committed soon."""
        execution = self._executions.get(msg_id)
        if execution is None or execution.region is None or not (unrecorded or end > execution.region.end):
            return
        if unrecorded:
            self._executions[msg_id] = replace(execution, unrecorded=execution.unrecorded + 1)
        if msg_id in self._late:
            return
        self._late[msg_id] = asyncio.get_running_loop().call_later(_LATE_S, self._extend, msg_id)

    def _extend(self, msg_id: str) -> None:
        self._late.pop(msg_id, None)
        execution = self._executions.get(msg_id)
        if execution is None or execution.region is None:
            return
        end = max(execution.region.end, self._read_to())
        self._executions[msg_id] = replace(execution, region=replace(execution.region, end=end))
        self._save(self._executions[msg_id])
        self.times += 1
        self._went_on[execution.id] = self.times
        while len(self._went_on) > FINISHED:
            self._went_on.popitem(last=False)

    def flush(self) -> None:
        """Commit at once what was printed last: its kernel is gone."""
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
