"""Promise 2: a call in flight while processes are killed gets its complete and only result, once."""

from __future__ import annotations

import asyncio
import signal
import time

import psutil
import pytest

from tests.support import DEADLINE_S, ERAS, Home, numbers, shim_pid, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

LINES, LONG = 40, 100


def cell(lines: int) -> str:
    """Ten lines a second, a figure, and an expression."""
    return f"""
import time
runs += 1
for i in range({lines}):
    print("line", i, flush=True)
    time.sleep(0.1)
import matplotlib.pyplot as plt
plt.plot([1, 3, 2]); plt.show()
runs
"""


CELL = cell(LINES)


async def prepared(session) -> int:  # type: ignore[no-untyped-def]  # tests.support.Session
    """The execution count before the cell, with matplotlib imported so that only the cell takes time."""
    result = await session.run("import matplotlib.pyplot as plt; runs = 0")
    return int(result.facts["execution_count"])


def assert_complete(result, before: int, lines: int = LINES) -> None:  # type: ignore[no-untyped-def]  # tests.support.Result
    assert list(numbers(result.text, "line")) == list(range(lines)), result.text
    assert len(result.images) == 1
    assert result.text.rstrip().endswith("1"), result.text[-200:]
    assert result.facts["status"] == "ok"
    assert result.facts["execution_count"] == before + 1


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("kills", [1, 5])
async def test_a_cell_outlives_the_daemon_that_was_killed_while_it_ran(home: Home, era: str, kills: int) -> None:
    async with home.client(era) as session:
        before = await prepared(session)
        call = asyncio.create_task(session.run(cell(LONG), timeout=120))
        first = await until(home.daemon, "a daemon")
        await until(lambda: _printed(home) >= 20, "the cell has run for two seconds")
        for kill in range(kills):
            killed = home.kill_daemon()
            assert kill > 0 or killed == first.pid
            await until(lambda killed=killed: _successor(home, killed), "another daemon")  # type: ignore[misc]  # a lambda's default
            seen = _printed(home)
            await until(lambda seen=seen: _printed(home) > seen or call.done(), "the cell goes on")  # type: ignore[misc]
        assert_complete(await call, before, LONG)
        assert (await session.run("runs")).text.endswith("1")


async def test_a_calls_patience_does_not_begin_anew_with_each_daemon(home: Home) -> None:
    """It is answered, although none of the daemons lives as long as it would wait."""
    patience_s, life_s = 16.0, 10.0
    async with home.client() as session:
        await session.run("import threading; over = threading.Event()")
        call = asyncio.create_task(session.run("over.wait()", timeout=patience_s))
        begun = time.monotonic()
        for _ in range(30):
            daemon = await until(home.daemon, "a daemon")
            await asyncio.wait({call}, timeout=life_s)  # the rhythm of the deaths
            if call.done():
                break
            home.kill_daemon()
            await until(lambda killed=daemon.pid: _successor(home, killed), "another daemon")  # type: ignore[misc]
        assert call.done(), f"no answer for {time.monotonic() - begun:.0f} s"
        assert (await call).facts["status"] == "running"
        await session.call("kernel_interrupt")


@pytest.mark.parametrize("tool", ["kernel_output", "kernel_reply"])
async def test_waiting_for_what_runs_already_does_not_begin_anew_with_each_daemon(home: Home, tool: str) -> None:
    patience_s = 14.0
    async with home.client() as session:
        cell = await session.run("import threading; line = input(); threading.Event().wait()", timeout=1)
        if tool == "kernel_output":
            await session.call("kernel_reply", text="x", timeout=0)
        about = {"execution_id": cell.facts["execution_id"]}
        how = {"wait": patience_s} if tool == "kernel_output" else {"text": "x", "timeout": patience_s}
        began = time.monotonic()
        call = asyncio.create_task(session.call(tool, **about, **how))
        await asyncio.wait({call}, timeout=patience_s * 0.7)  # what of it is over when the daemon dies
        home.kill_daemon()
        assert (await call).facts["status"] == "running"
        assert time.monotonic() - began < patience_s * 1.5, "a patience that began anew would be over at 1.7"


@pytest.mark.parametrize("era", ERAS)
async def test_a_cell_that_finishes_while_no_daemon_lives_is_answered(home: Home, era: str) -> None:
    async with home.client(era) as session:
        before = await prepared(session)
        call = asyncio.create_task(session.run(CELL, timeout=120))
        await until(lambda: _printed(home) >= 3, "the cell prints")
        with home.no_daemon():
            await until(
                lambda: b'"execute_reply"' in _log(home).split(b'"line 39')[-1] and _printed(home) == LINES, "its end"
            )
        assert_complete(await call, before)


LATE = """
import os, threading, time
def late():
    for name in ("one", "two", "three"):
        while not os.path.exists(name): time.sleep(0.01)
        print("late", name, flush=True)
threading.Thread(target=late).start()
"""


async def test_what_a_thread_prints_for_a_cell_that_is_over_survives_the_daemon(home: Home) -> None:
    """Once just before its death, once while none lives, once when another does."""

    async def read() -> str:
        return (await session.call("kernel_output", execution_id=cell.facts["execution_id"])).text

    async with home.client() as session:
        cell = await session.run(LATE)
        (home.project / "one").touch()
        await until(lambda: b"one\\n" in _log(home), "it printed")
        with home.no_daemon():
            (home.project / "two").touch()
            await until(lambda: b"two\\n" in _log(home), "it printed while no daemon lived")
        await session.call("kernel_status")
        (home.project / "three").touch()
        text, end = "", time.monotonic() + DEADLINE_S
        while "late three" not in text and time.monotonic() < end:
            text = await read()
    assert [line for line in text.splitlines() if line.startswith("late")] == ["late one", "late two", "late three"]


async def test_a_cell_is_not_run_twice_when_the_daemon_dies_between_commit_and_send(home: Home) -> None:
    """The kernel is stopped, so that the request waits in its socket; each new daemon is in doubt and sends again."""
    async with home.client() as session:
        before = await prepared(session)
        (kernel,) = home.kernels()
        kernel.suspend()
        call = asyncio.create_task(session.run("runs += 1; print('ran')\nruns", timeout=120))
        for _ in range(3):
            await until(lambda: _committed(home, "runs += 1"), "the execution is committed as running")
            killed = home.kill_daemon()
            await until(lambda killed=killed: _successor(home, killed), "another daemon")  # type: ignore[misc]  # a lambda's default
        kernel.resume()
        result = await call
        assert result.text.count("ran") == 1
        assert result.text.endswith("1")
        assert result.facts["execution_count"] == before + 1
        assert (await session.run("runs")).text.endswith("1")


async def test_the_next_client_reads_what_a_killed_shim_was_waiting_for(home: Home) -> None:
    async with home.client() as session:
        before = await prepared(session)
        call = asyncio.create_task(session.run(CELL, timeout=120))
        await until(lambda: _printed(home) >= 3, "the cell prints")
        psutil.Process(shim_pid(home)).kill()
        with pytest.raises(Exception, match=r".*"):
            await call
    async with home.client() as session:
        history = await session.call("kernel_history")
        running = history.facts["entries"][-1]
        assert running["status"] == "running"
        result = await session.call("kernel_output", execution_id=running["execution_id"], wait=120)
        assert_complete(result, before)


async def test_machine_sleep_loses_nothing(home: Home) -> None:
    """All processes stop for a while and go on, as they do when a laptop's lid is closed."""
    async with home.client() as session:
        before = await prepared(session)
        call = asyncio.create_task(session.run(CELL, timeout=120))
        await until(lambda: _printed(home) >= 3, "the cell prints")
        daemon = home.daemon()
        assert daemon is not None
        everyone = [daemon, *home.kernels(), psutil.Process(shim_pid(home))]
        for process in everyone:
            process.suspend()
        await asyncio.sleep(3)  # the sleep is what is tested
        for process in reversed(everyone):
            process.resume()
        assert_complete(await call, before)


async def test_a_stopped_daemon_does_not_lose_what_was_printed_meanwhile(home: Home) -> None:
    """Its subscription overflows: what ZeroMQ dropped is read from the message log."""
    async with home.client() as session:
        await session.run("from IPython.display import display")
        call = asyncio.create_task(
            session.run(
                "import time; print('begun', flush=True)\nfor i in range(5000): display(i)\n'end'",
                timeout=120,
                max_chars=400000,
            )
        )
        await until(lambda: b"begun" in _log(home), "the cell began")
        home.kill_daemon(signal.SIGSTOP)
        await until(lambda: b"'end'" in _log(home).split(b"execute_input")[-1], "the cell ended")
        home.kill_daemon(signal.SIGCONT)
        result = await call
        shown = [int(line) for line in result.text.splitlines() if line.isdecimal()]
        assert shown == list(range(5000))
        assert result.facts["status"] == "ok"


async def test_restart_daemon_loses_no_kernel_call_or_line(home: Home) -> None:
    async with home.client() as session:
        before = await prepared(session)
        call = asyncio.create_task(session.run(CELL, timeout=120))
        await until(lambda: _printed(home) >= 3, "the cell prints")
        old = home.daemon()
        assert old is not None
        answer = await asyncio.to_thread(home.cli, "restart-daemon")
        assert answer.returncode == 0, answer.stderr
        new = home.daemon()
        assert new is not None
        assert new.pid != old.pid
        assert_complete(await call, before)


def _log(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.path.glob("logs/*.messages")))


def _printed(home: Home) -> int:
    return max([-1, *(int(part.split(b"\\n")[0]) for part in _log(home).split(b"line ")[1:] if part[:1].isdigit())]) + 1


def _committed(home: Home, code: str) -> bool:
    import sqlite3

    records = sqlite3.connect(f"file:{home.path}/run/records.sqlite?mode=ro", uri=True)
    try:
        found = records.execute("SELECT status FROM executions WHERE source LIKE ?", (code + "%",)).fetchall()
    finally:
        records.close()
    return found == [("running",)]


def _successor(home: Home, killed: int) -> bool:
    daemon = home.daemon()
    return daemon is not None and daemon.pid != killed
