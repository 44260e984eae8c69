"""Promise: an interrupt stops the cell it is aimed at, or is said not to have; it never hits another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.process.test_interrupts_in_kernels import slow_to_end
from tests.process.test_kernels_without_recorder import attach, theirs
from tests.support import DEADLINE_S, Home, Result, Session, until

__all__ = ["theirs"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
BEGUN = "open('begun', 'w').close()\n"
STOPPED = {
    "sleep": "import time\n" + BEGUN + "time.sleep(1000)",
    "loop": BEGUN + "while True:\n    pass",
    "await": "import asyncio\n" + BEGUN + "await asyncio.sleep(1000)",
    "gathered": "import asyncio\nasync def each(): await asyncio.sleep(1000)\n"
    + BEGUN
    + "await asyncio.gather(each(), each())",
    "join": "import threading\nfree = threading.Event()\nthread = threading.Thread(target=lambda: free.wait())\n"
    "thread.start()\n" + BEGUN + "thread.join()",
    "pool": "import concurrent.futures, threading\nfree = threading.Event()\n"
    "pool = concurrent.futures.ThreadPoolExecutor(2)\nfuture = pool.submit(free.wait)\n" + BEGUN + "future.result()",
    "subprocess": "import subprocess\n" + BEGUN + "subprocess.run(['sleep', '1000'])",
    "C code that lets others run": "import ctypes\n" + BEGUN + "while True: ctypes.CDLL(None).sleep(1000)",
    "lock": "import threading\nlock = threading.Lock()\nlock.acquire()\n" + BEGUN + "lock.acquire()",
}


@asynccontextmanager
async def at_work(home: Home, code: str) -> AsyncIterator[tuple[Session, int]]:
    """A session whose cell has begun, and its number. What it began with is gone in the end."""
    async with home.client() as session:
        (home.project / "begun").unlink(missing_ok=True)
        number = (await session.run(code, wait=False)).facts["execution_id"]
        await until((home.project / "begun").exists, "the cell runs")
        yield session, number


async def _ended(session: Session, number: int) -> Result:
    return await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)


@pytest.mark.parametrize("what", STOPPED)
async def test_what_listens_is_stopped_and_the_kernel_goes_on(standing_home: Home, what: str) -> None:
    async with at_work(standing_home, STOPPED[what]) as (session, number):
        stopped = await session.call("kernel_interrupt", execution_id=number)
        ended = await _ended(session, number)
        after = await session.run("40 + 2")
        await session.run("free.set() if 'free' in globals() else None")
    assert stopped.facts["stopped"], stopped.text
    assert (ended.facts["status"], ended.facts["error"]["ename"]) in (
        ("interrupted", "KeyboardInterrupt"),
        ("interrupted", "CancelledError"),
    )
    assert after.text.splitlines()[-1] == "42"


async def test_it_is_said_where_the_cell_was(standing_home: Home) -> None:
    code = f"import time\ndef deep():\n    {BEGUN}    time.sleep(1000)  # here\ndeep()"
    async with at_work(standing_home, code) as (session, number):
        stopped = await session.call("kernel_interrupt")
    assert stopped.facts == {"stopped": True, "execution_id": number, "status": "interrupted"}
    assert f"execution {number} stopped (interrupted), at line 4 in deep(): time.sleep(1000)  # here" in stopped.text


async def test_a_cell_that_takes_the_interrupt_and_ends_well_is_not_called_stopped(standing_home: Home) -> None:
    code = f"import time\ntry:\n    {BEGUN}    time.sleep(1000)\nexcept KeyboardInterrupt: print('saved')"
    async with at_work(standing_home, code) as (session, number):
        ended = await session.call("kernel_interrupt")
    assert f"execution {number} came to its end (ok)" in ended.text
    assert "stopped (" not in ended.text


async def test_a_cell_that_raises_its_own_error_from_the_interrupt_was_interrupted(standing_home: Home) -> None:
    code = f"import time\ntry:\n    {BEGUN}    time.sleep(1000)\nexcept KeyboardInterrupt: raise OSError('half a file')"
    async with at_work(standing_home, code) as (session, number):
        stopped = await session.call("kernel_interrupt")
        ended = await _ended(session, number)
        failed = await session.run("1 / 0")
    assert f"execution {number} stopped (interrupted)" in stopped.text
    assert (ended.facts["status"], ended.facts["error"]["evalue"]) == ("interrupted", "half a file")
    assert failed.facts["status"] == "error"


async def test_a_cell_that_swallows_interrupts_is_stopped_by_force(standing_home: Home) -> None:
    """Its own handling of one takes long: the second hits that."""
    code = f"import time\nwhile True:\n    try:\n        {BEGUN}        time.sleep(1000)\n"
    code += "    except KeyboardInterrupt: time.sleep(0.5)"
    async with at_work(standing_home, code) as (session, number):
        told = await session.call("kernel_interrupt")
        stopped = await session.call("kernel_interrupt", force=True)
        ended = await _ended(session, number)
        after = await session.run("40 + 2")
    assert not told.facts["stopped"]
    assert f"kernel_interrupt(execution_id={number}, force=true)" in told.text
    assert stopped.facts["stopped"], stopped.text
    assert ended.facts["status"] == "interrupted"
    assert after.text.splitlines()[-1] == "42"


async def test_children_that_the_interrupt_ended_are_counted(standing_home: Home) -> None:
    code = "import subprocess, time\nchildren = [subprocess.Popen(['sleep', '1000']) for _ in range(2)]\n"
    async with at_work(standing_home, f"{code}{BEGUN}time.sleep(1000)") as (session, _):
        stopped = await session.call("kernel_interrupt")
        ended = await session.run("[each.wait() for each in children]")
    async with at_work(standing_home, f"import time\n{BEGUN}time.sleep(1000)") as (session, _):
        alone = await session.call("kernel_interrupt")
    assert "2 processes that it had started are gone, too" in stopped.text
    assert ended.text.splitlines()[-1] == "[-2, -2]"
    assert "gone" not in alone.text


async def test_threads_that_go_on_are_counted(standing_home: Home) -> None:
    code = "import threading\nfree = threading.Event()\ndef wait(): free.wait()\n"
    code += "threads = [threading.Thread(target=wait) for _ in range(2)]\nfor thread in threads: thread.start()\n"
    async with at_work(standing_home, code + BEGUN + "threads[0].join()") as (session, _):
        stopped = await session.call("kernel_interrupt")
        await session.run("free.set()")
    assert "2 threads that run code of its cells go on." in stopped.text


async def test_a_cell_that_catches_the_interrupt_is_said_to_run_on(standing_home: Home) -> None:
    gate = standing_home.project / "gate"
    code = f"""import os, time
caught = 0
while True:
    try:  # from the moment on that it is known to have begun
        {BEGUN}        while not os.path.exists({str(gate)!r}): time.sleep(0.01)
        break
    except KeyboardInterrupt:
        caught += 1
'whole'"""
    async with at_work(standing_home, code) as (session, number):
        told = await session.call("kernel_interrupt", execution_id=number)
        status = (await session.call("kernel_output", execution_id=number)).facts["status"]
        gate.touch()
        ended = await _ended(session, number)
        caught = await session.run("caught")
    assert not told.facts["stopped"]
    assert status == "running", "it was said while it ran"
    assert "still runs: it catches KeyboardInterrupt" in told.text
    assert ", at line " in told.text
    assert "kernel_restart" in told.text
    assert ended.facts["status"] == "ok"
    assert int(caught.text.splitlines()[-1]) > 1


async def test_c_code_that_ignores_it_and_holds_the_kernel_is_said_to_run_on(standing_home: Home) -> None:
    free = standing_home.project / "free"
    command = f"trap '' INT; touch begun; until [ -e {free} ]; do sleep 0.1; done"
    code = f"import ctypes\nctypes.PyDLL(None).system({command.encode()!r})\n'whole'"
    async with at_work(standing_home, code) as (session, number):
        told = await session.call("kernel_interrupt", execution_id=number)
        status = (await session.call("kernel_output", execution_id=number)).facts["status"]
        free.touch()
        ended = await _ended(session, number)
    assert not told.facts["stopped"]
    assert status == "running", "it was said while it ran"
    assert "still runs: C code holds the interpreter" in told.text
    assert "kernel_restart" in told.text
    assert ended.facts["status"] in ("ok", "interrupted")


async def test_a_long_multiplication_is_stopped_or_said_not_to_be(standing_home: Home) -> None:
    async with standing_home.client() as session:
        await session.run("import numpy\nsquare = numpy.random.rand(3000, 3000)")
        (standing_home.project / "begun").unlink(missing_ok=True)
        code = BEGUN + "while True: square @ square"
        number = (await session.run(code, wait=False)).facts["execution_id"]
        await until((standing_home.project / "begun").exists, "the cell runs")
        told = await session.call("kernel_interrupt", execution_id=number)
        ended = await _ended(session, number)
        after = await session.run("square.shape")
    assert told.facts["stopped"] or "still runs" in told.text, told.text
    assert ended.facts["error"]["ename"] == "KeyboardInterrupt", "it takes effect when a multiplication is done"
    assert after.text.splitlines()[-1] == "(3000, 3000)"


async def test_the_next_cell_is_never_hit(standing_home: Home) -> None:
    """Cells that end by themselves at about the moment of the interrupt, each with another behind it."""
    async with standing_home.client() as session, standing_home.client() as other:
        await session.run("import time\nhits = []")
        for wait_ms in range(0, 60, 10):
            short = await session.run(f"time.sleep({wait_ms / 1000})", wait=False)
            behind = await session.run("time.sleep(0.2)\n'unharmed'", wait=False)
            told = await other.call("kernel_interrupt", execution_id=short.facts["execution_id"])
            ended = await _ended(session, behind.facts["execution_id"])
            assert ended.facts["status"] == "ok", (wait_ms, told.text, ended.text)


async def test_a_reply_that_an_interrupt_took_away_is_not_waited_for(home: Home, theirs: Path) -> None:
    """A kernel without our recorder, interrupted between a cell's last line and its reply: ipykernel sends none."""
    ending = home.project / "ending"
    async with home.client() as session, home.client() as other:
        await attach(session, theirs)
        code = f"print('printed')\nx = 41\n{slow_to_end(ending, home.project / 'never')}"
        cell = await session.run(code, wait=False)
        behind = await session.run("x + 1", wait=False)
        await until(ending.exists, "the code is over")
        stopped = await other.call("kernel_interrupt", execution_id=cell.facts["execution_id"])
        ended = await _ended(session, cell.facts["execution_id"])
        after = await _ended(session, behind.facts["execution_id"])
    assert stopped.facts["stopped"]
    assert ended.facts["status"] == "lost"
    assert "sent no reply" in ended.text
    assert "printed" in ended.text
    assert after.text.splitlines()[-1] == "42"


async def test_an_interrupt_at_somebody_elses_kernel_hits_only_its_cell(home: Home, theirs: Path) -> None:
    """By a message: the kernel is not our process. What waits behind is begun once the message was taken."""
    async with home.client() as session:
        await attach(session, theirs)
        begun = home.project / "begun"
        running = await session.run(f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(1000)", wait=False)
        behind = await session.run("time.sleep(0.5)\n'unharmed'", wait=False)
        await until(begun.exists, "the cell runs")
        stopped = await session.call("kernel_interrupt", execution_id=running.facts["execution_id"])
        first = await _ended(session, running.facts["execution_id"])
        second = await _ended(session, behind.facts["execution_id"])
    assert stopped.facts["stopped"], stopped.text
    assert "KeyboardInterrupt" in first.text
    assert second.facts["status"] == "ok", second.text


async def test_interrupts_from_everywhere_at_once_do_no_more_than_one(standing_home: Home) -> None:
    async with at_work(standing_home, STOPPED["sleep"]) as (session, number):
        behind = await session.run("time.sleep(0.5)\n'unharmed'", wait=False)
        told = await asyncio.gather(*(session.call("kernel_interrupt", execution_id=number) for _ in range(5)))
        ended = await _ended(session, behind.facts["execution_id"])
    assert not any(each.is_error for each in told)
    assert ended.facts["status"] == "ok", ended.text


EARLIER = {
    "Popen": "import subprocess\nearlier = subprocess.Popen(['sleep', '1000'])\n"
    "intact, end = lambda: earlier.poll() is None, earlier.kill",
    "a shell": "import subprocess\n"
    "earlier = subprocess.Popen('sleep 1000 & trap \"kill $!; exit\" TERM; wait', shell=True)\n"
    "intact, end = lambda: earlier.poll() is None, lambda: earlier.terminate() or earlier.wait()",
    "a pool of forks": "import multiprocessing\npool = multiprocessing.get_context('fork').Pool(2)\n"
    "pids = {each.pid for each in pool._pool}\n"
    "intact = lambda: pool.map(abs, [-1, -2]) == [1, 2] and pids == {each.pid for each in pool._pool}\n"
    "end = pool.terminate",
    "an executor": "import concurrent.futures, multiprocessing\n"
    "pool = concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context('spawn'))\n"
    "list(pool.map(abs, [-1]))\nintact, end = lambda: list(pool.map(abs, [-1, -2])) == [1, 2], pool.shutdown",
}
RUNNING = {
    "Python": BEGUN + "import time; time.sleep(1000)",
    "os.system": BEGUN + "import os; os.system('sleep 1000')",
    "run": BEGUN + "import subprocess; subprocess.run(['sleep', '1000'])",
    "a shell's child": BEGUN + "import subprocess; subprocess.run('sleep 1000; true', shell=True)",
    "!": "!touch begun; sleep 1000",
}


@pytest.mark.parametrize(
    ("earlier", "running"), list(zip(EARLIER.values(), list(RUNNING.values())[1:], strict=True)), ids=EARLIER
)
async def test_what_earlier_cells_started_goes_on(home: Home, earlier: str, running: str) -> None:
    async with home.client() as session:
        await session.run(earlier)
    async with at_work(home, running) as (session, number):
        stopped = await session.call("kernel_interrupt", execution_id=number)
        assert stopped.facts["stopped"], stopped.text
        await _ended(session, number)
        intact = await session.run("intact()")
        await session.run("end()")
    assert intact.text.splitlines()[-1].endswith("True")


@pytest.mark.parametrize("running", [RUNNING[name] for name in RUNNING if name != "!"])  # IPython ends that one itself
async def test_what_the_running_cell_started_is_stopped_beside_what_is_earlier(home: Home, running: str) -> None:
    async with home.client() as session:
        await session.run(EARLIER["Popen"])
        earlier = [each.pid for each in home.kernels()[0].children(recursive=True)]
    async with at_work(home, running) as (session, number):
        await session.call("kernel_interrupt", execution_id=number)
        await _ended(session, number)
        (kernel,) = home.kernels()
        await until(lambda: [each.pid for each in kernel.children(recursive=True)] == earlier, "the cell's are gone")
        await session.run("end()")
