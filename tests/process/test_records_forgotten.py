"""Promise: a cell runs once, and its number is its own, also where no record tells of it: the log and the kernel do.

The records are in memory, because another process keeps them locked or the disk is full, and the daemon is killed.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.process.test_full_disk import fill, small_disk
from tests.process.test_kernels_without_recorder import attach, theirs
from tests.process.test_records_locked import LOCKS, locked, recorded_again
from tests.support import Home, Result, Session, until

__all__ = ["small_disk", "theirs"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
EXCLUSIVELY = LOCKS["one that excludes"]


def cell(home: Home, name: str) -> str:
    """Says that it began, and ends once it may."""
    return f"""
import os, time
runs = globals().get("runs", 0) + 1
print(f"begun {{runs}}", flush=True)
open({str(home.project / name)!r} + "-begun", "a").write("x")
while not os.path.exists({str(home.project / name)!r} + "-go"): time.sleep(0.02)
print(f"over {{runs}}")
runs
"""


def began(home: Home, name: str) -> int:
    """How often a cell did."""
    path = home.project / f"{name}-begun"
    return len(path.read_text()) if path.exists() else 0


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
            with home.no_daemon():
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


async def test_a_cell_runs_once_that_had_not_begun_when_the_daemon_died(home: Home) -> None:
    """Its kernel is stopped: no log has anything of it yet."""
    code = cell(home, "a")
    (home.project / "a-go").touch()
    async with home.client() as session:
        await session.run("runs = 0")
        (kernel,) = home.kernels()
        with locked(home, EXCLUSIVELY):
            await session.run("'the records are in memory'")
            kernel.suspend()
            told = await session.run(code, timeout=0)  # it is answered, and so never made again
            call = asyncio.create_task(session.run("'behind it'", timeout=100))
            await until(lambda: _waits(home, told), "it is in the kernel's socket")
            with home.no_daemon():
                kernel.resume()
                await until(lambda: b"over 1" in _logs(home), "it is over")
            result = await call
            listed = await entries(session)
        assert began(home, "a") == 1
        assert result.facts["status"] == "ok", result.text
        assert (told.facts["execution_id"], "ok", code) in listed
        assert len({each[0] for each in listed}) == len(listed) == 4
        assert (await session.run("runs")).text.endswith("1")


def _waits(home: Home, told: Result) -> bool:
    return told.facts["status"] == "running" and not began(home, "a")


async def test_a_cell_that_was_over_when_the_daemon_died_is_answered_and_not_run_again(home: Home) -> None:
    """It ends while the daemon stands still, which is killed then."""
    async with home.client() as session:
        await session.run("runs = 0")
        with locked(home, EXCLUSIVELY):
            call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
            await until(lambda: began(home, "a"), "the cell runs")
            home.kill_daemon(signal.SIGSTOP)
            (home.project / "a-go").touch()
            await until(lambda: b"over 1" in _logs(home), "it is over")
            with home.no_daemon():
                pass
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
            with home.no_daemon():
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
            with home.no_daemon():
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
        with home.no_daemon():
            filler.unlink()
        await session.call("kernel_status")
        (home.project / "a-go").touch()
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] == "ok", result.text
        assert "over 1" in result.text, result.text
        assert (await session.run("runs")).text.endswith("1")


async def test_a_cell_behind_one_whose_end_no_log_has_is_answered_on_a_disk_that_stays_full(
    home: Home, small_disk: Path
) -> None:
    """The next daemon waits for the end of the first, which was over before, while the second says all that it says."""
    async with home.client() as session:
        first = asyncio.create_task(session.run(cell(home, "first"), timeout=100))
        await until(lambda: b"begun 1" in _logs(home), "the first cell runs")
        fill(small_disk)
        await session.run("'x' * 9000", timeout=0)  # what was left of the log's last page
        (home.project / "first-go").touch()
        assert (await first).facts["status"] == "ok"
        call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
        await until(lambda: began(home, "a"), "the second cell runs")
        with home.no_daemon():
            pass
        await session.call("kernel_status")
        (home.project / "a-go").touch()
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] == "ok", result.text
        assert "over 2" in result.text, result.text


@pytest.mark.parametrize("room", [True, False], ids=["room again", "still full"])
async def test_a_cell_that_was_over_on_a_full_disk_is_lost_and_not_run_again(
    home: Home, small_disk: Path, room: bool
) -> None:
    async with home.client() as session:
        known = await session.run("runs = 0")
        filler = fill(small_disk)
        call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
        await until(lambda: began(home, "a"), "the cell runs")
        with home.no_daemon():
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


@pytest.mark.parametrize("room", [True, False], ids=["room again", "still full"])
async def test_a_cell_whose_kernel_is_gone_too_is_lost_and_not_run_again(
    home: Home, small_disk: Path, room: bool
) -> None:
    """A full disk, the daemon's death and the kernel's: nothing that is left tells that it ran."""
    async with home.client() as session:
        await session.run("runs = 0")
        filler = fill(small_disk)
        call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
        await until(lambda: began(home, "a"), "the cell runs")
        with home.no_daemon():
            (kernel,) = home.kernels()
            kernel.kill()
            await until(lambda: not kernel.is_running(), "the kernel is gone")
            if room:
                filler.unlink()
            (home.project / "a-go").touch()
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] in ("lost", "dead"), result.text
        assert "was not run:" not in result.text, result.text


def notebook(home: Home, *sources: str) -> None:
    """A notebook with these cells."""
    code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    cells = [{**code, "id": f"cell-{number}", "source": source} for number, source in enumerate(sources)]
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (home.project / "some.ipynb").write_text(json.dumps(whole))


KERNEL_CANNOT_REFUSE: dict[str, dict[str, Any]] = {
    "kernel_restart": {},
    "kernel_restart with a replay": {"replay": True},
    "kernel_load_notebook": {"path": "some.ipynb", "run": True},
    "kernel_use_env": {"env_name": "default", "fresh": True},
    "kernel_shutdown": {},
}


async def test_what_a_kernel_cannot_refuse_is_refused_while_nothing_can_be_recorded(home: Home) -> None:
    """With the reason; running code goes on, and so does all of it once records can be written."""
    notebook(home, "ran = globals().get('ran', 0) + 1")
    async with home.client() as session:
        await session.run("x = 41")
        status = (await session.call("kernel_status")).facts
        calls = [(name.partition(" ")[0], given) for name, given in KERNEL_CANNOT_REFUSE.items()]
        calls[-1] = ("kernel_shutdown", {"kernel_id": status["kernel_id"]})
        with locked(home, EXCLUSIVELY):
            for name, given in calls:
                refused = await session.call(name, **given)
                assert refused.is_error, (name, refused.text)
                assert "nothing can be recorded" in refused.text
                assert "database is locked" in refused.text
            result = await session.run("x + 1, 'ran' in globals()")
            assert result.text.endswith("(42, False)")
            assert not (await session.call("kernel_load_notebook", path="some.ipynb")).is_error
        assert [each.pid for each in home.kernels()] == [status["pid"]]
        await recorded_again(session, result)
        for name, given in calls:
            done = await session.call(name, **given)
            assert not done.is_error, (name, done.text)


@pytest.mark.parametrize("how", ["loaded", "replayed"])
async def test_a_cell_of_a_call_that_runs_several_runs_once(home: Home, how: str) -> None:
    """The call is on record, its first cell runs, and then the records are locked: of the second nothing is there."""
    sources = [cell(home, "a"), cell(home, "b")]
    async with home.client() as session:
        if how == "loaded":
            notebook(home, *sources)
            call = asyncio.create_task(session.call("kernel_load_notebook", path="some.ipynb", run=True))
        else:
            for name, source in zip("ab", sources, strict=True):
                (home.project / f"{name}-go").touch()
                await session.run(source)
            for name in "ab":
                (home.project / f"{name}-go").unlink()
                (home.project / f"{name}-begun").unlink()
            call = asyncio.create_task(session.call("kernel_restart", replay=True))
        await until(lambda: began(home, "a"), "the first cell runs")
        with locked(home, EXCLUSIVELY):
            (home.project / "a-go").touch()
            await until(lambda: began(home, "b"), "the second cell runs")
            with home.no_daemon():
                pass
            await session.call("kernel_status")
            (home.project / "b-go").touch()
            result = await call
        assert not result.is_error, result.text
        assert (began(home, "a"), began(home, "b")) == (1, 1)
        assert (await session.run("runs")).text.endswith("2")


async def test_a_restart_in_between_does_not_have_a_cell_run_again(home: Home) -> None:
    """It ran on the generation before; another client restarts the kernel before the call is made again."""
    async with home.client() as session:
        await session.run("x = 41")
        kernel_id = (await session.call("kernel_status")).facts["kernel_id"]
        with ExitStack() as lock:
            lock.enter_context(locked(home, EXCLUSIVELY))
            call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
            await until(lambda: began(home, "a"), "the cell runs")
            with home.no_daemon():
                lock.close()
                for command in (["start"], ["restart", kernel_id]):
                    done = await asyncio.to_thread(home.cli, *command)
                    assert done.returncode == 0, done.stderr
        result = await call
        assert began(home, "a") == 1
        assert result.facts["status"] == "dead", result.text
        assert "begun 1" in result.text
        assert (await session.run("'runs' in globals()")).text.endswith("False")


async def test_a_cell_of_the_command_line_runs_once(home: Home) -> None:
    async with home.client() as session:
        await session.run("runs = 0")
    with locked(home, EXCLUSIVELY):
        command = asyncio.create_task(asyncio.to_thread(home.cli, "exec", cell(home, "a")))
        await until(lambda: began(home, "a"), "the cell runs")
        await another_daemon(home)
        (home.project / "a-go").touch()
        done = await command
    assert done.returncode == 0, done.stderr
    assert began(home, "a") == 1
    assert done.stdout.count("begun 1") == 1, done.stdout
    assert done.stdout.count("over 1") == 1, done.stdout


async def test_a_cell_on_a_kernel_without_a_recorder_runs_once(home: Home, theirs: Path) -> None:
    async with home.client() as session:
        await attach(session, theirs)
        await session.run("runs = 0")
        with locked(home, EXCLUSIVELY):
            call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
            await until(lambda: began(home, "a"), "the cell runs")
            with home.no_daemon():
                pass
            await session.call("kernel_status")
            (home.project / "a-go").touch()
            result = await call
        assert began(home, "a") == 1
        assert "begun 1" in result.text, result.text
        assert (await session.run("runs")).text.splitlines()[-1].endswith("1")


@pytest.mark.parametrize("room", [True, False], ids=["room again", "still full"])
async def test_on_a_full_disk_a_cell_on_a_kernel_without_a_recorder_is_lost_and_not_run_again(
    home: Home, small_disk: Path, theirs: Path, room: bool
) -> None:
    """Neither the records nor any log knows it, nor does the kernel: its call says that it comes again."""
    async with home.client() as session:
        await attach(session, theirs)
        await session.run("runs = 0")
        filler = fill(small_disk)
        await session.run("print('x' * 9000)")  # what was left of the log's last page
        call = asyncio.create_task(session.run(cell(home, "a"), timeout=100))
        await until(lambda: began(home, "a"), "the cell runs")
        with home.no_daemon():
            if room:
                filler.unlink()
        result = await call
        (home.project / "a-go").touch()
        assert result.facts["status"] == "lost", result.text
        assert "not run again" in result.text
        assert (await session.run("runs")).text.splitlines()[-1].endswith("1")
        assert began(home, "a") == 1
