"""News of resources: what the records commit, as events that clients of both eras can have asked for."""

from __future__ import annotations

import asyncio

from mcp.server.subscriptions import InMemorySubscriptionBus, ResourcesListChanged, ResourceUpdated, ServerEvent

from kernel_supervisor.core.model import Execution
from kernel_supervisor.mcp.resources import uris_of
from kernel_supervisor.sessions.sessions import Sessions

_GATHER_S = 0.2
"""How long events are gathered: a cell is committed several times, and says the same each time."""


class Changes:
    """Turns entries that were committed into events on `bus`, each event once in a while."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.bus = InMemorySubscriptionBus()
        self._newest = 0
        self._gathered: dict[ServerEvent, None] = {}
        self._flushing: asyncio.Task[None] | None = None

    def take(self, entry: Execution) -> None:
        """An entry was committed, new or changed."""
        parts = ["notebook", f"executions/{entry.id}"] + (["variables"] if entry.settled else [])
        session = self._sessions.known.get(entry.session)
        for uri in [uri for part in parts if session is not None for uri in uris_of(session, part)]:
            self._gathered[ResourceUpdated(uri)] = None
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
