"""A kernel for tests of what owns kernels: no process, but a real message log, and every way to say a thing.

What it does with a request is up to the test: it is told line by line what the kernel says, and over which of its two
ways that comes, the log and the sockets.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from kernel_supervisor.core.life import LEFT, Life
from kernel_supervisor.core.model import (
    BESIDE,
    Execution,
    ExecutionId,
    ExecutionStatus,
    Interpreter,
    KernelId,
    KernelRecord,
    Message,
    MessageId,
    SessionName,
)
from kernel_supervisor.records.beside import Forgotten
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message
from kernel_supervisor.running.others import prefix
from kernel_supervisor.running.ticket import Ticket

OURS, THEIRS = "our-session", "another-client"


def record(log: Path, *, recorded: bool = True) -> KernelRecord:
    """Of a kernel with its message log there."""
    return KernelRecord(
        id=KernelId("0123456789ab"),
        session=SessionName("work/"),
        generation=1,
        interpreter=Interpreter(name="default", kind="default", argv=("python",)),
        connection_file="",
        directory="/work",
        channel_identity=OURS,
        recorded=recorded,
        message_log=str(log),
    )


class FakeKernel:
    """What a runner sees of a kernel."""

    trouble = ""
    language = "python"

    def __init__(self, record: KernelRecord) -> None:
        self.record = record
        self.alive = True
        self.requests: list[str] = []
        """The msg_ids of all execute requests, in order, also of those sent again."""
        self.begun: list[str] = []
        """Of those that it began: a kernel that records itself begins each once."""
        self.interrupts = 0
        self.audible = asyncio.Event()
        """Set while what it publishes arrives."""
        self.audible.set()
        self.full = False
        """Whether its disk is full: what it says is in no log."""
        self.listeners: list[Any] = []
        self._log = MessageLogWriter(Path(record.message_log)) if record.recorded else None
        self._numbers = 0
        self._passing: list[asyncio.Future[None]] = []

    # What a runner asks for

    recorder: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it

    def hear_less(self) -> None:
        """It says the same."""

    def listen(self, listener: Any) -> None:
        self.listeners = [listener]

    async def execute(self, msg_id: str, code: str, beside: str = "") -> None:
        self.requests.append(msg_id)
        if not self.record.recorded or msg_id not in self.begun:
            self.begun.append(msg_id)

    async def pass_through_shell(self) -> None:
        passing = asyncio.get_running_loop().create_future()
        self._passing.append(passing)
        await passing

    async def place(self, deadline_s: float) -> dict[str, Any]:
        return {}

    async def interrupt(self, since: float | None) -> None:
        self.interrupts += 1

    async def answer(self, question: str, text: str) -> None:
        """Nothing asks."""

    async def hear_again(self) -> None:
        await self.audible.wait()

    def post_mortem(self) -> str:
        return "the kernel was killed"

    async def close(self) -> None:
        self.listeners = []

    # What a test has it do

    def say(
        self,
        msg_type: str,
        msg_id: str,
        content: dict[str, Any],
        *,
        to: str = OURS,
        heard: bool = True,
        beside: str = "",
    ) -> None:
        """Write a message to its log, where it can, and send it, where it is `heard`; its request had `beside`."""
        channel = {"execute_reply": "shell", "input_request": "stdin"}.get(msg_type, "iopub")
        self._numbers += 1
        header = {"msg_id": f"{self.record.message_log}-{self._numbers}", "msg_type": msg_type, "date": ""}
        parent = {"msg_id": msg_id, "session": to, "username": "somebody" if to == THEIRS else "", BESIDE: beside}
        parts = {"header": header, "parent_header": parent, "metadata": {}, "content": content}
        message = Message(
            channel=channel,
            msg_type=msg_type,
            msg_id=header["msg_id"],
            parent_id=msg_id,
            date="",
            username=parent["username"],
            content=content,
            asked_in=to,
            beside=beside,
        )
        if self._log is not None and not self.full:
            self._log.append(encode_message(channel, parts))
        if to == THEIRS and channel != "iopub":
            return  # it goes to the other client
        for listener in self.listeners if heard or self._log is None else ():
            listener.hear(message)

    def answer_what_passes(self) -> None:
        """Have done with everything on the shell channel."""
        for passing in self._passing:
            if not passing.done():
                passing.set_result(None)
        self._passing.clear()

    def die(self) -> None:
        self.alive = False
        for listener in self.listeners:
            listener.died()


class FakeLedger:
    """Records in memory, as one daemon after the other finds them."""

    def __init__(self) -> None:
        self.executions: dict[ExecutionId, Execution] = {}
        self.ends: dict[ExecutionId, list[ExecutionStatus]] = {}
        """Each end that was committed."""
        self.tickets: dict[ExecutionId, Ticket] = {}
        self.late: list[ExecutionId] = []
        """Those that showed more after their end, or what no cell did."""
        self.dead = False
        """Whether its daemon was killed: it commits nothing any more."""
        self._calls: dict[str, ExecutionId] = {}

    def left(self) -> FakeLedger:
        """What the next daemon finds; this one's was killed."""
        self.dead = True
        after = FakeLedger()
        after.executions, after.ends, after._calls = dict(self.executions), self.ends, dict(self._calls)
        return after

    async def save(self, execution: Execution) -> None:
        await asyncio.sleep(0)
        if self.dead:
            return
        self.executions[execution.id] = execution
        if execution.settled:
            self.ends.setdefault(execution.id, []).append(execution.status)

    async def enter(self, execution: Execution, call_key: str) -> Execution:
        await asyncio.sleep(0)
        if self.dead:
            await asyncio.Event().wait()
        if call_key not in self._calls:
            self._calls[call_key] = self.add(execution).id
        return self.executions[self._calls[call_key]]

    async def restore(self, forgotten: Forgotten) -> Execution | None:
        if any(each.msg_id == forgotten.execution.msg_id for each in self.executions.values()):
            return None
        return self.add(forgotten.execution)

    def beside(self, ticket: Ticket) -> str:
        return ""

    async def known(self, msg_id: str) -> Execution | None:
        return next((each for each in self.executions.values() if each.msg_id == msg_id), None)

    def went_on(self, execution: Execution, start: int) -> None:
        self.late.append(execution.id)

    async def entered(self, kernel: KernelRecord) -> list[Execution]:
        keys = [key for key in self._calls if key.startswith(prefix(kernel.id))]
        return [self.executions[self._calls[key]] for key in keys]

    def expect(self, execution: Execution) -> Ticket:
        life = LEFT if execution.status == "running" else Life()
        return self.tickets.setdefault(execution.id, Ticket(execution=execution, life=life))

    def add(self, execution: Execution) -> Execution:
        """Commit a new one."""
        execution = replace(execution, id=ExecutionId(len(self.executions) + 1))
        self.executions[execution.id] = execution
        return execution

    def queue(self, session: SessionName) -> Ticket:
        """Commit one that waits; its ticket."""
        number = len(self.executions) + 1
        execution = self.add(
            Execution(
                id=ExecutionId(0),
                session=session,
                kind="code",
                source=f"cell {number}",
                status="queued",
                msg_id=MessageId(f"ours-{number}"),
            )
        )
        return self.expect(execution)

    def settled(self) -> list[Execution]:
        return [each for each in self.executions.values() if each.settled]

    def unsettled(self) -> list[Execution]:
        return [each for each in self.executions.values() if not each.settled]
