"""Promises: each kernel has one keeper, which its record alone decides; and what a kernel's keeper tells is heard."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Channel, Interpreter, KernelId, KernelRecord, Message, OnMessage, SessionName
from kernel_supervisor.environments.choice import PROVISIONED
from kernel_supervisor.kernels.attached import Attached
from kernel_supervisor.kernels.keeper import Keeper, Surroundings
from kernel_supervisor.kernels.kernel import Kernel
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.kernels.local import Local
from kernel_supervisor.kernels.placed import Placed
from kernel_supervisor.kernels.served import ON_SERVER, Served
from kernel_supervisor.paths import Paths
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.supervisor import Supervisor

pytestmark = pytest.mark.anyio

PYTHON = Interpreter(name="default", kind="default", argv=("python",))
OURS = KernelRecord(
    id=KernelId("0123456789ab"),
    session=SessionName("work/"),
    generation=1,
    interpreter=PYTHON,
    connection_file="/run/0123456789ab.json",
    channel_identity="0" * 32,
    directory="/work",
)
THERE = Interpreter(name="lab:python3", kind=ON_SERVER, argv=("http://lab/", "python3"))
NOBODY = "http://127.0.0.1:1/"
"""A server that does not run."""
ELSEWHERE = Interpreter(name="ssh", kind=PROVISIONED, argv=("/kernels/ssh/kernel.json",))
OTHER_COMMAND = replace(PYTHON, argv=("bash-kernel", "-f", "{connection_file}"))
ASKER = Asker(
    client_id="c",
    kind="shim",
    pid=1,
    session="",
    directory="/work",
    told=True,
    cwd="/work",
    python="",
    version="1",
    shim_python="",
    surroundings=Surroundings(env={}),
)


@pytest.mark.parametrize(
    ("record", "kind", "prepared"),
    [
        (OURS, Local, OURS),
        (replace(OURS, interpreter=OTHER_COMMAND), Local, replace(OURS, interpreter=OTHER_COMMAND, recorded=False)),
        (replace(OURS, interpreter=ELSEWHERE), Placed, replace(OURS, interpreter=ELSEWHERE, recorded=False)),
        (
            replace(OURS, interpreter=THERE),
            Served,
            replace(OURS, interpreter=THERE, connection_file="", recorded=False, server="http://lab/"),
        ),
        (replace(OURS, owned=False, recorded=False), Attached, replace(OURS, owned=False, recorded=False)),
    ],
)
def test_a_record_decides_who_keeps_its_kernel(
    record: KernelRecord, kind: type[Keeper], prepared: KernelRecord
) -> None:
    assert kind_of(record) is kind
    assert kind.prepared(record) == prepared
    assert kind_of(prepared) is kind


def test_a_kernel_of_others_is_the_server_s_where_one_has_it() -> None:
    assert kind_of(replace(OURS, owned=False, server="http://lab/", server_kernel="1234")) is Served


class Loopback:
    """Channels to nobody: what is sent is answered on the spot, or by nothing."""

    ask_again_s = 0.01
    trouble = ""

    def __init__(self, on_message: OnMessage, answers: bool) -> None:
        self._on_message, self._answers = on_message, answers

    async def connected(self, deadline_s: float) -> None:
        """It is."""

    async def send(
        self, channel: Channel, msg_type: str, content: dict[str, Any], own: Mapping[str, str] = {}, parent: Any = None
    ) -> None:
        """Publish that it is busy, and reply."""
        if self._answers:
            self.publish("status", {"execution_state": "busy"})
            self._say("control", "kernel_info_reply", {"language_info": {"name": "python"}})

    def publish(self, msg_type: str, content: dict[str, Any]) -> None:
        """Have the kernel say something."""
        self._say("iopub", msg_type, content)

    def _say(self, channel: Channel, msg_type: str, content: dict[str, Any]) -> None:
        fields: dict[str, Any] = {"msg_id": "", "parent_id": "", "date": "", "username": ""}
        self._on_message(Message(channel=channel, msg_type=msg_type, content=content, **fields))

    async def ask(self, *arguments: Any, **more: Any) -> dict[str, Any]:
        """It replies to nothing else."""
        raise TimeoutError

    async def hear(self, deadline_s: float) -> None:
        """It does."""

    async def close(self) -> None:
        """Nothing is open."""


class Pretended(Local):
    """A kernel without a process, which ends when the test says how."""

    here: ClassVar[bool] = False

    def __init__(self, record: KernelRecord, *, answers: bool = True) -> None:
        self.record, self._answers = record, answers
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Until the test ends it."""
        return not self.end.done()

    def open_channels(self, on_message: Any, on_resumed: Any, on_gone: Any) -> Any:
        """Loopback."""
        self.loopback = Loopback(on_message, self._answers)
        return self.loopback

    async def watch(self, on_state: Callable[[str], None]) -> str:
        """What the test says."""
        return await self.end

    def last_words(self) -> str:
        """Some."""
        return "\nSegmentation fault"

    async def close(self) -> None:
        """Nothing is open."""


class Notes:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def hear(self, message: Message) -> None:
        """A message."""
        self.told.append(message.msg_type)

    def died(self) -> None:
        """The end."""
        self.told.append("died")

    def resumed(self, gap: str) -> None:
        """A connection that is back."""
        self.told.append(gap)

    def restarted(self) -> None:
        """A fresh process."""
        self.told.append("restarted")

    def told_state(self, state: str) -> None:
        """A state."""
        self.told.append(state)


async def test_what_happened_before_anybody_listened_is_told_first() -> None:
    keeper, notes = Pretended(replace(OURS, recorded=False)), Notes()
    kernel = Kernel(keeper)
    await kernel.connect()
    keeper.end.set_result("it ended")
    await asyncio.wait({keeper.end})
    await asyncio.sleep(0)
    assert not kernel.alive
    kernel.listen(notes)
    assert notes.told == ["status", "kernel_info_reply", "died"]
    await kernel.close()


async def test_a_restart_by_others_is_told_once() -> None:
    keeper, notes = Pretended(OURS), Notes()
    kernel = Kernel(keeper)
    await kernel.connect()
    kernel.listen(notes)
    keeper.loopback.publish("shutdown_reply", {"restart": True})
    keeper.loopback.publish("status", {"execution_state": "restarting"})
    keeper.loopback.publish("status", {"execution_state": "idle"})
    assert notes.told == ["shutdown_reply", "restarted", "status", "status"]
    await kernel.close()


async def test_a_start_that_fails_says_how_it_ended_and_what_it_wrote() -> None:
    keeper = Pretended(OURS, answers=False)
    kernel = Kernel(keeper)
    asyncio.get_running_loop().call_soon(keeper.end.set_result, f"exit code {os.EX_SOFTWARE}")
    with pytest.raises(UnavailableError) as caught:
        await kernel.connect()
    assert str(caught.value) == ("Stage import: the kernel ended while it started (exit code 70).\nSegmentation fault")
    await kernel.close()


async def test_a_kernel_that_its_server_did_not_restart_is_sought_again(tmp_path: Path) -> None:
    supervisor = Supervisor(Paths(str(tmp_path), str(tmp_path)))
    await supervisor.records.open()
    log = str(tmp_path / "log")
    there = replace(OURS, recorded=False, connection_file="", server=NOBODY, server_kernel="1", message_log=log)
    kernel = Kernel(Pretended(there))
    await kernel.connect()
    runner = await supervisor.kernels.take_over(kernel)
    with pytest.raises(UnavailableError, match="nothing listens there"):
        await supervisor.kernels.restart(there, ASKER)
    assert runner.gone.is_set()
    assert there.id in supervisor.kernels.adoption
    await supervisor.close()


async def test_a_watch_that_fails_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A death that nobody notices is told to nobody: what fails here is logged, and is no death."""
    monkeypatch.setattr("kernel_supervisor.tasks._AGAIN_S", 0)
    keeper, notes = Pretended(OURS), Notes()
    kernel = Kernel(keeper)
    await kernel.connect()
    kernel.listen(notes)
    first, keeper.end = keeper.end, asyncio.get_running_loop().create_future()
    first.set_exception(RuntimeError("/proc says what nobody expects"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert kernel.alive
    keeper.end.set_result("it ended")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not kernel.alive
    assert notes.told[-1] == "died"
    await kernel.close()
