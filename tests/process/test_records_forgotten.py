"""Promise: a cell runs once, and its number is its own, also where no record tells of it: the log and the kernel do.

The records are in memory, because another process keeps them locked or the disk is full, and the daemon is killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.process.test_full_disk import fill, small_disk
from tests.process.test_kernels_without_recorder import theirs
from tests.process.test_records_locked import LOCKS, locked, recorded_again
from tests.support import Home, Session, shim_pid, until

__all__ = ["small_disk", "theirs"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
EXCLUSIVELY = LOCKS["one that excludes"]


def cell(home: Home, name: str) -> str:
    """Says that it began, and ends once it may."""
    return f"""
import os, time
runs = globals().get("runs", 0) + 1
print("begun", runs, flush=True)
open({str(home.project / name)!r} + "-begun", "a").write("x")
while not os.path.exists({str(home.project / name)!r} + "-go"): time.sleep(0.02)
print("over", runs)
runs
"""


def began(home: Home, name: str) -> int:
    """How often a cell did."""
    path = home.project / f"{name}-begun"
    return len(path.read_text()) if path.exists() else 0


@contextmanager
def no_daemon(home: Home) -> Iterator[None]:
    """The daemon is killed, and its shim starts no other meanwhile."""
    shim = psutil.Process(shim_pid(home))
    shim.suspend()
    home.kill_daemon()
    try:
        yield
    finally:
        shim.resume()


async def another_daemon(home: Home) -> None:
    """Kill the daemon; return when the next one is there, which the shim starts."""
    killed = home.kill_daemon()
    await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")


async def entries(session: Session) -> list[tuple[int, str, str]]:
    history = await session.call("kernel_history", last=100)
    return [(each["execution_id"], each["status"], each["code"]) for each in history.facts["entries"]]


@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize("released", [True, False], ids=["released", "still locked"])
async def test_a_cell_that_runs_while_records_are_locked_runs_once(home: Home, kills: int, released: bool) -> None:
    code = cell(home, "a")
    async with home.client() as session:
        before = await session.run("runs = 0")
        with ExitStack() as lock:
            lock.enter_context(locked(home, EXCLUSIVELY))
            call = asyncio.create_task(session.run(code, timeout=100))
            await until(lambda: began(home, "a"), "the cell runs")
            with no_daemon(home):
                if released:
                    lock.close()
            for _ in range(kills - 1):
                await until(home.daemon, "a daemon")
                await another_daemon(home)
            await session.call("kernel_status")
            (home.project / "a-go").touch()
            result = await call
            listed = await entries(session)
        number = before.facts["execution_id"] + 1
        assert began(home, "a") == 1
        assert result.facts["status"] == "ok", result.text
        assert "begun 1\nover 1" in result.text, result.text
        assert result.facts["execution_id"] == number
        assert result.facts["execution_count"] == before.facts["execution_count"] + 1
        assert listed[1:] == [(number, "ok", code)]
        assert (await session.run("runs")).text.endswith("1")


@pytest.mark.parametrize("moment", ["before it begins", "after it is over"])
async def test_a_cell_is_known_whenever_the_daemon_died(home: Home, moment: str) -> None:
    """Its kernel is stopped, or its cell is over, when the daemon dies; the call is made again all the same."""
    code = cell(home, "a")
    async with home.client() as session:
        await session.run("runs = 0")
        (kernel,) = home.kernels()
        with locked(home, EXCLUSIVELY):
            (home.project / "a-go").touch()
            await session.run("'the records are in memory'")
            if moment == "before it begins":
                kernel.suspend()
            call = asyncio.create_task(session.run(code, timeout=100))
            if moment == "before it begins":
                await asyncio.sleep(0.5)  # it may or may not be sent by now: both are to end well
            else:
                await until(lambda: began(home, "a"), "the cell ran")
            with no_daemon(home):
                kernel.resume()
                await until(lambda: b"over 1" in _logs(home), "it is over")
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] == "ok", result.text
        assert "begun 1\nover 1" in result.text, result.text
        assert (await session.run("runs")).text.endswith("1")


def _logs(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.path.glob("logs/*.messages")))


async def test_no_number_is_given_twice_and_history_goes_on(home: Home) -> None:
    """Of what stands in a log its code and outputs are there, too; a note in no log leaves its number alone."""
    async with home.client() as session:
        await session.run("x = 41")
        with locked(home, EXCLUSIVELY):
            shown = await session.run("print('shown while locked', x)\nx + 1")
            failed = await session.run("1/0")
            note = await session.call("kernel_add_markdown", text="in no log")
            with no_daemon(home):
                pass
            listed = await entries(session)
        assert listed[1:] == [
            (shown.facts["execution_id"], "ok", "print('shown while locked', x)\nx + 1"),
            (failed.facts["execution_id"], "error", "1/0"),
        ]
        again = await session.call("kernel_output", execution_id=shown.facts["execution_id"])
        assert "shown while locked 41" in again.text
        assert again.text.endswith("Out[2]: 42"), again.text
        after = await session.run("x")
        assert after.facts["execution_id"] == note.facts["execution_id"] + 1
        await recorded_again(session, after)
        home.kill_daemon()
        assert [each[0] for each in await entries(session)] == [1, 2, 3, 5]


async def test_a_kernel_that_was_started_while_records_were_locked_has_its_variables(home: Home) -> None:
    """Neither it nor its session is on record: its process and its log tell."""
    async with home.client() as session:
        await session.call("kernel_list_running")
        with locked(home, EXCLUSIVELY):
            first = await session.run("x = 41")
            call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
            await until(lambda: began(home, "a"), "the cell runs")
            with no_daemon(home):
                pass
            (home.project / "a-go").touch()
            assert (await call).facts["status"] == "ok"
            assert began(home, "a") == 1
            assert (await session.run("x + 1")).text.endswith("42")
        assert len(home.kernels()) == 1
        assert (await entries(session))[0] == (first.facts["execution_id"], "ok", "x = 41")


async def test_a_cell_that_runs_while_the_disk_is_full_runs_once(home: Home, small_disk: Path) -> None:
    """Nothing of it can stand in any log: its kernel alone knows it."""
    async with home.client() as session:
        await session.run("runs = 0")
        filler = fill(small_disk)
        call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
        await until(lambda: began(home, "a"), "the cell runs")
        with no_daemon(home):
            filler.unlink()
        await session.call("kernel_status")
        (home.project / "a-go").touch()
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] == "ok", result.text
        assert "over 1" in result.text, result.text
        assert (await session.run("runs")).text.endswith("1")


@pytest.mark.parametrize("room", [True, False], ids=["room again", "still full"])
async def test_a_cell_that_was_over_on_a_full_disk_is_lost_and_not_run_again(
    home: Home, small_disk: Path, room: bool
) -> None:
    async with home.client() as session:
        known = await session.run("runs = 0")
        filler = fill(small_disk)
        call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
        await until(lambda: began(home, "a"), "the cell runs")
        with no_daemon(home):
            (home.project / "a-go").touch()
            (kernel,) = home.kernels()
            await until(lambda: kernel.status() == psutil.STATUS_SLEEPING, "it is over")
            if room:
                filler.unlink()
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] in ("lost", "ok"), result.text
        assert result.facts["execution_id"] > known.facts["execution_id"] + 1, "that number was given"
        after = await session.run("runs")
        assert after.text.splitlines()[-1].endswith("1")
        assert after.facts["execution_id"] > result.facts["execution_id"]
