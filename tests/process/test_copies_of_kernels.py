"""Promise: ending a kernel, or its death, ends the forks of it that are left, and nothing else that it started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil
import pytest

from tests.support import Home, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
LEFT = {
    "a fork": "if not os.fork(): wait()",
    "a fork of the cell that runs": "os.fork(); wait()",
    "a fork that is deaf": "if not os.fork(): signal.signal(signal.SIGTERM, signal.SIG_IGN); wait()",
    "a fork whose parent is gone": (
        "pid = os.fork()\nif not pid:\n    if os.fork(): os._exit(0)\n    wait()\nos.waitpid(pid, 0)"
    ),
    "a pool": "import multiprocessing; pool = multiprocessing.get_context('fork').Pool(1); pool.apply(int)",
}
"""What a cell leaves behind."""
Deed = Callable[[Home, Session, psutil.Process], Awaitable[object]]


async def _shut_down(home: Home, session: Session, kernel: psutil.Process) -> None:
    kernel_id = (await session.call("kernel_status")).facts["kernel_id"]
    assert not (await session.call("kernel_shutdown", kernel_id=kernel_id)).is_error


async def _kill(home: Home, session: Session, kernel: psutil.Process) -> None:
    assert (await asyncio.to_thread(home.cli, "kill", "--all")).returncode == 0


async def _die(home: Home, session: Session, kernel: psutil.Process) -> None:
    kernel.send_signal(signal.SIGKILL)


DEEDS: dict[str, Deed] = {
    "shutdown": _shut_down,
    "restart": lambda home, session, kernel: session.call("kernel_restart"),
    "kill": _kill,
    "death": _die,
}


def _beside(kernel: psutil.Process) -> list[psutil.Process]:
    """The other processes that live in its session."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if each.pid != kernel.pid and os.getsid(each.pid) == kernel.pid and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_forks_of_a_kernel_end_with_it(home: Home, deed: Deed) -> None:
    async with home.client() as session:
        for what in LEFT if deed is _die else ("a fork of the cell that runs", "a fork whose parent is gone"):
            await session.run("import os, signal, time\ndef wait():\n    while True: time.sleep(0.01)")
            (kernel,) = home.kernels()
            await session.call("kernel_exec", code=LEFT[what], wait=False)
            await until(lambda: len(_beside(kernel)) == 1, what)  # noqa: B023 - it is called here
            await deed(home, session, kernel)
            await until(lambda: not _beside(kernel), what)  # noqa: B023
            await session.call("kernel_restart")


async def test_other_programs_outlive_the_death_of_a_kernel(home: Home) -> None:
    """A server that a cell has started, or what a fork has become, is not the kernel."""
    code = (
        "import os, subprocess\nother = subprocess.Popen(['sleep', '600'])\npid = os.fork()\n"
        "if not pid: os.execvp('sleep', ['sleep', '600'])\nprint(other.pid, pid)"
    )
    async with home.client() as session:
        found = (await session.run(code)).text.split("\n")[-1].split()
        others = [psutil.Process(int(pid)) for pid in found[-2:]]
        await until(lambda: all(each.name() == "sleep" for each in others), "they run")
        (kernel,) = home.kernels()
        try:
            os.kill(kernel.pid, signal.SIGKILL)
            await until(lambda: not home.kernels(), "the kernel is gone")
            assert "SIGKILL" in (await session.call("kernel_exec", code="1")).text, "it is known"
            assert all(each.is_running() for each in others)
        finally:
            for each in others:
                each.kill()
