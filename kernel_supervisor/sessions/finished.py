"""Executions that are over, while threads that they left may still print for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from kernel_supervisor.core.model import Execution, ExecutionId, Message
from kernel_supervisor.records import messagelog
from kernel_supervisor.sessions.reading import log_size

REMEMBERED = 2000
_LATE_S = 0.2
"""How long late output is collected before its end is committed."""
_COMMITTED_S = 5.0
"""After what time it is committed at any rate, in a daemon that lives."""


class Finished:
    """The last executions of one kernel that are over; `save` commits one that goes on printing."""

    def __init__(self, save: Callable[[Execution], None]) -> None:
        """Know none yet."""
        self._save = save
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
        while len(self._executions) > REMEMBERED:
            self._executions.popitem(last=False)

    async def recall(self, executions: Sequence[Execution]) -> None:
        """Know those that a predecessor knew, in order. What was printed for them since its death is committed soon."""
        for execution in executions:
            self.add(execution)
        for msg_id in await asyncio.to_thread(_printed_late, executions):
            self.hear(msg_id)

    def went_on_since(self, times: int) -> list[ExecutionId]:
        """Those that have shown more since `times` was so small."""
        times = times if times <= self.times else 0  # of another runner of the same kernel
        return [number for number, at in self._went_on.items() if at > times]

    def hear(self, msg_id: str) -> None:
        """One of them printed: what belongs to it in the log is longer, and committed soon."""
        if msg_id not in self._late:
            self._late[msg_id] = asyncio.get_running_loop().call_later(_LATE_S, self._extend, msg_id)

    def _extend(self, msg_id: str) -> None:
        self._late.pop(msg_id, None)
        execution = self._executions.get(msg_id)
        if execution is None or execution.region is None:
            return
        region = replace(execution.region, end=log_size(execution.region.log))
        self._executions[msg_id] = replace(execution, region=region)
        self._save(self._executions[msg_id])
        self.times += 1
        self._went_on[execution.id] = self.times
        while len(self._went_on) > REMEMBERED:
            self._went_on.popitem(last=False)

    def close(self) -> None:
        """Wait for no more."""
        for timer in self._late.values():
            timer.cancel()


def _printed_late(executions: Sequence[Execution]) -> set[str]:
    """The msg_ids of those for which the log has more than is committed. Blocks on the disk."""
    ends = {each.msg_id or "": each.region.end for each in executions if each.region is not None}
    logs = {each.region.log for each in executions if each.region is not None}
    return {
        item.parent_id
        for log in logs
        for end, item in messagelog.read(log, _committed(executions))
        if isinstance(item, Message) and item.channel == "iopub" and end > ends.get(item.parent_id, end)
    }


def _committed(executions: Sequence[Execution]) -> int:
    """To where the log is read at any rate: to the end of what was over well before the predecessor's death."""
    ends = [(each.finished_at or 0.0, each.region.end) for each in executions if each.region is not None]
    died_after = max(finished_at for finished_at, _ in ends)
    before = [end for finished_at, end in ends if finished_at < died_after - _COMMITTED_S]
    return max(before) if before else min(end for _, end in ends)
