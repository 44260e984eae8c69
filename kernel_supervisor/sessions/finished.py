"""Executions that are over, while threads that they left may still print for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

from kernel_supervisor.core.model import Execution
from kernel_supervisor.sessions.reading import log_size

_REMEMBERED = 2000
_LATE_S = 0.2
"""How long late output is collected before its end is committed."""


class Finished:
    """The last executions of one kernel that are over; `save` commits one that goes on printing."""

    def __init__(self, save: Callable[[Execution], None]) -> None:
        """Know none yet."""
        self._save = save
        self._executions: OrderedDict[str, Execution] = OrderedDict()
        self._late: dict[str, asyncio.TimerHandle] = {}

    def __contains__(self, msg_id: object) -> bool:
        """Whether that execution is over, and was not long ago."""
        return msg_id in self._executions

    def add(self, execution: Execution) -> None:
        """Know one that is over."""
        self._executions[execution.msg_id or ""] = execution
        while len(self._executions) > _REMEMBERED:
            self._executions.popitem(last=False)

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

    def close(self) -> None:
        """Wait for no more."""
        for timer in self._late.values():
            timer.cancel()
