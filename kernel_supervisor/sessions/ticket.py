"""A running or waiting execution in memory: what its callers wait on. What it printed is in the message log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kernel_supervisor.core.model import Execution, Message

_LIVE_LIMIT = 8 << 20


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One execution on its way through a kernel's queue."""

    execution: Execution
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its status is final and committed."""
    attention: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with `settled`, and when those who wait are to look up because the daemon stops."""
    reply: dict[str, Any] | None = None
    """The content of its execute_reply."""
    idle: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with each message of its own, and when its kernel dies."""
    sent: bool = False
    cancelled: str = ""
    """Why it was taken out of the queue, or interrupted."""
    listeners: list[Callable[[Message], None]] = field(default_factory=list)
    """Called with each live message; for those who follow the output as it comes."""
    live: deque[Message] = field(default_factory=deque)
    """The last live outputs: they stand in for what the log could not take."""
    live_bytes: int = 0
    scanned: int = 0
    """How far the message log was searched for its end."""
    last_line: str = ""

    def settle(self) -> None:
        """Wake everybody: its status is final."""
        for event in (self.settled, self.attention, self.changed):
            event.set()

    def hear(self, message: Message) -> None:
        """Take a live message of this execution."""
        if message.msg_type == "execute_reply":
            self.reply = message.content
        elif message.msg_type == "status":
            self.idle = self.idle or message.content.get("execution_state") == "idle"
        else:
            self._keep(message)
        for listener in self.listeners:
            listener(message)
        self.changed.set()

    def _keep(self, message: Message) -> None:
        text = str(message.content.get("text", ""))
        if text.strip():
            self.last_line = text.strip().splitlines()[-1][-200:]
        self.live.append(message)
        self.live_bytes += _weight(message)
        while self.live_bytes > _LIVE_LIMIT and self.live:
            self.live_bytes -= _weight(self.live.popleft())


def _weight(message: Message) -> int:
    data = message.content.get("data") or {}
    return 200 + len(str(message.content.get("text", ""))) + sum(len(str(value)) for value in data.values())
