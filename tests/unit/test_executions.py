"""Promise: a call that is sent again while its execution ends joins it, and never has its code run anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from kernel_supervisor.core.model import Execution, ExecutionId, SessionName, SessionRecord
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions.executions import Executions

pytestmark = pytest.mark.anyio

SESSION = SessionRecord(name=SessionName("s"), directory="/")
NUMBER = ExecutionId(7)


class Kernel:
    """A runner that only notes what it is given."""

    def __init__(self) -> None:
        self.submitted: list[Ticket] = []

    def submit(self, ticket: Ticket) -> None:
        self.submitted.append(ticket)


class Records:
    """What knows the call already, and reads that its execution runs."""

    def __init__(self) -> None:
        self.row: Execution | None = None

    async def add_execution(self, entry: Execution, key: str | None, beside: Any) -> tuple[Execution, bool]:
        fresh = self.row is None
        self.row = self.row or replace(entry, id=NUMBER)
        return self.row, fresh


class Sessions:
    """One session, one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def runner_of(self, session: SessionRecord) -> None:
        return None

    async def keep(self, session: SessionRecord) -> SessionRecord:
        return session

    async def ready_runner(self, session: SessionRecord, asker: Any) -> Kernel:
        return self._kernel


async def call(executions: Executions) -> Ticket:
    return await executions.execute(SESSION, "runs += 1", cast(Any, None), "client", "client:1")


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def executions(records: Records, kernel: Kernel) -> Executions:
    return Executions(cast(Any, records), cast(Any, None), cast(Any, Sessions(kernel)))


async def test_one_that_was_begun_is_known_to_have_been_sent(
    executions: Executions, records: Records, kernel: Kernel
) -> None:
    await call(executions)
    assert records.row is not None
    records.row = replace(records.row, status="running")
    executions.tickets.clear()  # a predecessor began it
    await call(executions)
    assert [ticket.life.sent for ticket in kernel.submitted] == [False, True]
    await executions.close()


async def test_it_is_joined_until_its_end_is_on_record(
    executions: Executions, records: Records, kernel: Kernel
) -> None:
    first = await call(executions)
    assert records.row is not None
    records.row = replace(records.row, status="running")  # what a read told that began before the end was written
    first.settle(replace(records.row, status="ok"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert await call(executions) is first
    assert kernel.submitted == [first]
    first.committed.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert executions.tickets == {}
    await executions.close()
