"""A running or waiting execution in memory: what its callers wait on. What it printed is in the message log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from kernel_supervisor.core import life
from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.life import Event, Life
from kernel_supervisor.core.model import Execution, ExecutionStatus, Mark, Message, Question
from kernel_supervisor.inside.questions import OVER
from kernel_supervisor.records.messagelog import Entry, Passed
from kernel_supervisor.tasks import News, happens


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket:
    """One execution on its way through a kernel's queue; no two are the same."""

    execution: Execution
    life: Life = field(default_factory=Life)
    call_key: str = ""
    """Of the call that made it, where this daemon took that."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once its status is final."""
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the records have its final status, too."""
    attention: News = field(default_factory=News)
    """Told when those who wait are to look up: it is settled, asks something or asks no longer, or the daemon stops."""
    changed: News = field(default_factory=News)
    """Told with each step of its life."""
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once what the log has of it is known here too."""
    question: Question | None = None
    """What it asks for now."""
    answered: set[str] = field(default_factory=set)
    """The questions that are over."""
    printed: Entry | None = None
    """Where the text stands that it printed last, or what says that it goes on beside the log."""

    def step(
        self, event: Event, why: str = "", *, reply: ExecutionStatus | None = None, count: int | None = None
    ) -> None:
        """Something happened to it, as `life.step` has it."""
        before, self.life = self.life, life.step(self.life, event, why, reply=reply, count=count)
        if self.life != before:
            self.changed.tell()

    async def until(self, reached: Callable[[Life], bool], deadline_s: float) -> None:
        """Return once its life is as wanted, or the deadline is over."""
        end = time.monotonic() + deadline_s
        while not reached(self.life) and time.monotonic() < end:
            await happens(self.changed.next, end - time.monotonic())

    def settle(self, execution: Execution) -> None:
        """Wake everybody: its status is final."""
        self.execution, self.question = execution, None
        self.settled.set()
        self.caught_up.set()
        self.changed.tell()
        self.attention.tell()

    def lack(self) -> bool:
        """Its log could not take a message of it; whether that is the first."""
        self.execution = replace(self.execution, unrecorded=self.execution.unrecorded + 1)
        return self.execution.unrecorded == 1

    def hear(self, item: Message | Passed | Mark) -> None:
        """Take what its kernel said of it, which may come twice: also where what a predecessor left is taken up."""
        if isinstance(item, Mark):
            if item.kind == "hole" and item.parent_id and not self.execution.unrecorded:  # while nobody listened
                self.lack()
        elif isinstance(item, Passed):
            self.step("started")
        elif item.msg_type == "execute_reply":
            status = life.status_of(item.content, stopped=bool(self.life.cancelled))
            self.step("replied", reply=status, count=count_of(item.content))
        elif item.msg_type == "status":
            if item.content.get("execution_state") == "idle":
                self.step("went idle")
        elif item.channel == "stdin":
            self._hear_question(item)
        else:
            self.step("started")

    def _hear_question(self, message: Message) -> None:
        if message.msg_type == OVER:
            self.close_question(str(message.content.get("question")))
        elif message.msg_type == "input_request" and message.msg_id not in self.answered and not self.settled.is_set():
            content = message.content
            prompt, password = str(content.get("prompt", "")), bool(content.get("password"))
            question = Question(id=message.msg_id, prompt=prompt, password=password)
            if question != self.question:
                self.question = question
                self.attention.tell()

    def close_question(self, question: str) -> None:
        """A question was answered, or is not asked any more."""
        self.answered.add(question)
        if self.question is not None and self.question.id == question:
            self.question = None
            self.attention.tell()

    def ended(self, finished_at: float, end: int) -> Execution:
        """Its execution as its end has it. `end` is how far its log, if it is not gone, has its output."""
        status, reason = life.ending(self.life)
        count, region = self.life.execution_count, self.execution.region
        return replace(
            self.execution,
            status=status,
            reason=reason,
            finished_at=finished_at,
            execution_count=self.execution.execution_count if count is None else count,
            region=None if region is None else replace(region, end=max(region.start, end)),
        )
