"""News of resources: what the records commit, as events that clients of both eras can have asked for."""

from __future__ import annotations

import asyncio

from mcp.server.subscriptions import InMemorySubscriptionBus, ResourcesListChanged, ResourceUpdated, ServerEvent

from kernel_supervisor.core.model import Execution
from kernel_supervisor.mcp.resources import uri_of

_GATHER_S = 0.2
"""How long events are gathered: a cell is committed several times, and says the same each time."""


class Changes:
    """Turns entries that were committed into events on `bus`, each event once in a while."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self._newest = 0
        self._gathered: dict[ServerEvent, None] = {}
        self._flushing: asyncio.Task[None] | None = None

    def take(self, entry: Execution) -> None:
        """An entry was committed, new or changed."""
        parts = ["notebook", f"executions/{entry.id}"] + (["variables"] if entry.settled else [])
        self._gathered.update(dict.fromkeys(ResourceUpdated(uri_of(entry.session, part)) for part in parts))
        if entry.id > self._newest:
            self._newest = entry.id
            self._gathered[ResourcesListChanged()] = None
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="news of resources")

    async def _flush(self) -> None:
        await asyncio.sleep(_GATHER_S)
        self._flushing = None
        gathered, self._gathered = self._gathered, {}
        for event in gathered:
            await self.bus.publish(event)
