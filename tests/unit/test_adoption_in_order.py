"""Promise: calls that wait for their session's kernels go on in the order in which they came."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kernel_supervisor.core.model import Interpreter, KernelId, KernelRecord, SessionName, SessionRecord
from kernel_supervisor.paths import Paths
from kernel_supervisor.sessions.supervisor import Supervisor

pytestmark = pytest.mark.anyio

SESSION = SessionRecord(name=SessionName("work/"), directory="/work")
KERNEL = KernelRecord(
    id=KernelId("0123456789ab"),
    session=SESSION.name,
    generation=1,
    interpreter=Interpreter(name="default", kind="default", argv=("python",)),
    connection_file="",
    channel_identity="",
    directory="/work",
)


async def test_a_call_that_comes_when_the_wait_is_over_does_not_overtake_those_that_waited(tmp_path: Path) -> None:
    supervisor = Supervisor(Paths(str(tmp_path), str(tmp_path)))
    over, order = asyncio.Event(), list[str]()
    tasks: list[asyncio.Task[None]] = []

    async def call(name: str) -> None:
        await supervisor.reached(SESSION)
        order.append(name)

    async def settle_gone(record: KernelRecord, reason: str) -> None:
        await over.wait()
        tasks.append(asyncio.create_task(call("late")))

    supervisor.kernels.settle_gone = settle_gone  # type: ignore[method-assign]  # held until the others wait
    supervisor.kernels.adoption.seek(KERNEL)
    tasks += [asyncio.create_task(call(name)) for name in ("first", "second")]
    await asyncio.sleep(0)
    over.set()
    while len(order) < 3:  # noqa: ASYNC110 - each turn is one of the loop's own
        await asyncio.sleep(0)
    assert order == ["first", "second", "late"]
    await asyncio.gather(*tasks)
    await supervisor.records.close()
