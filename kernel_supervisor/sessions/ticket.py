"""A running or waiting execution in memory: what its callers wait on. What it printed is in the message log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kernel_supervisor.core.model import Execution, Message, Question
from kernel_supervisor.inside.questions import OVER

_LIVE_LIMIT = 8 << 20


@dataclass(slots=True, kw_only=True)
class Ticket:
    """One execution on its way through a kernel's queue."""

    execution: Execution
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its status is final."""
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the records have its final status, too."""
    attention: asyncio.Event = field(default_factory=asyncio.Event)
    """Set, and put aside for the next one, when those who wait are to look up: it is settled, it asks something or asks
    no longer, or the daemon stops."""
    question: Question | None = None
    """What it asks for now."""
    answered: set[str] = field(default_factory=set)
    """The questions that are over."""
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once what the log has of it is known here too."""
    reply: dict[str, Any] | None = None
    """The content of its execute_reply."""
    idle: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with each message of its own, and when its kernel dies."""
    sent: bool = False
    """Whether it was sent, or is about to be."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its kernel said that it runs, or it is over."""
    in_doubt: bool = False
    """Whether its reply may have been lost with a connection."""
    ended_because: str = ""
    """Why it can have no reply any more, though its kernel lives."""
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
        self.question = None
        for event in (self.settled, self.begun, self.changed, self.caught_up):
            event.set()
        self.call_attention()

    def call_attention(self) -> None:
        """Have everybody who waits look up."""
        attention, self.attention = self.attention, asyncio.Event()
        attention.set()

    def hear(self, message: Message) -> None:
        """Take a live message of this execution."""
        if message.msg_type == "execute_reply":
            self.reply = message.content
        elif message.msg_type == "status":
            self.idle = self.idle or message.content.get("execution_state") == "idle"
        elif message.channel == "stdin":
            self.hear_question(message)
        else:
            self.begun.set()
            self._keep(message)
        if message.channel != "stdin":
            self._tell(message)
        self.changed.set()

    def hear_question(self, message: Message) -> None:
        """Take an `input_request`, or the news that one is over; from the log they may come a second time."""
        if message.msg_type == OVER:
            self.close_question(str(message.content.get("question")))
        elif message.msg_type == "input_request" and message.msg_id not in self.answered and not self.settled.is_set():
            content = message.content
            prompt, password = str(content.get("prompt", "")), bool(content.get("password"))
            question = Question(id=message.msg_id, prompt=prompt, password=password)
            if question != self.question:
                self.question = question
                self._tell(message)
                self.call_attention()

    def close_question(self, question: str) -> None:
        """A question was answered, or is not asked any more."""
        self.answered.add(question)
        if self.question is not None and self.question.id == question:
            self.question = None
            self.call_attention()

    def _tell(self, message: Message) -> None:
        for listener in self.listeners:
            listener(message)

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
