"""Promise 1: state outlives everything but the kernel; who is adopted, and who is never touched."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import DEADLINE_S, Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def test_a_pid_that_another_process_has_now_is_never_signalled(home: Home) -> None:
    """The record names a living process with another start: a pid that was reused."""
    async with home.client() as session:
        await session.run("x = 1")
        kernel_id = (await session.call("kernel_status")).facts["kernel_id"]
    stopped = await asyncio.to_thread(home.cli, "stop")
    assert stopped.returncode == 0, stopped.stderr
    for kernel in home.kernels():
        kernel.kill()
    await until(lambda: not home.kernels(), "the kernel is gone")
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        _rewrite(home, kernel_id, process={**_record(home, kernel_id)["process"], "pid": bystander.pid})
        async with home.client() as session:
            refused = await session.call("kernel_exec", code="x")
            assert refused.is_error
            assert "ended while no daemon watched it" in refused.text
            await session.call("kernel_interrupt")
            await session.call("kernel_restart")
            assert (await session.run("1 + 1")).text.endswith("2")
        assert (await asyncio.to_thread(home.cli, "stop", "--kernels")).returncode == 0
        assert bystander.poll() is None, "a stranger was signalled"
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_kernel_that_ended_with_the_machine_is_said_to_have(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 1")
        kernel_id = (await session.call("kernel_status")).facts["kernel_id"]
    assert (await asyncio.to_thread(home.cli, "stop")).returncode == 0
    for kernel in home.kernels():
        kernel.kill()
    await until(lambda: not home.kernels(), "the kernel is gone")
    _rewrite(home, kernel_id, process={**_record(home, kernel_id)["process"], "boot": "that of another day"})
    async with home.client() as session:
        refused = await session.call("kernel_exec", code="x")
    assert refused.is_error
    booted = time.strftime("%Y-%m-%d %H:%M", time.localtime(psutil.boot_time()))
    assert (
        f"Not run: this session's kernel is gone: it ended with the machine, which was restarted at {booted}"
        in refused.text
    )


async def test_what_is_listed_of_a_kernel_is_the_same_after_a_daemons_death(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 1")
        await session.run("x")
        (before,) = (await session.call("kernel_list_running")).facts["kernels"]
        home.kill_daemon()
        (after,) = (await session.call("kernel_list_running")).facts["kernels"]
    assert after["execution_count"] == before["execution_count"] == 2
    assert after["last_used_at"] == pytest.approx(before["last_used_at"], abs=0.01)


def _record(home: Home, kernel_id: str) -> dict[str, Any]:
    with closing(sqlite3.connect(home.path / "run/records.sqlite")) as records:
        (text,) = records.execute("SELECT record FROM kernels WHERE id = ?", (kernel_id,)).fetchone()
    return dict(json.loads(text))


def _rewrite(home: Home, kernel_id: str, **changes: Any) -> None:
    record = {**_record(home, kernel_id), **changes}
    with closing(sqlite3.connect(home.path / "run/records.sqlite")) as records, records:
        records.execute("UPDATE kernels SET record = ? WHERE id = ?", (json.dumps(record), kernel_id))


async def test_a_kernel_whose_daemon_died_while_it_started_is_found(home: Home) -> None:
    """Its process was launched and not yet committed: the connection file in its command line tells."""
    async with home.client() as session:
        await session.run("x = 41")
        kernel_id = (await session.call("kernel_status")).facts["kernel_id"]
        home.kill_daemon(signal.SIGSTOP)
        _rewrite(home, kernel_id, process=None)
        home.kill_daemon()
        assert (await session.run("x + 1")).text.endswith("42")


async def test_a_kernel_that_an_older_version_started_is_adopted_and_read(home: Home, tmp_path: Path) -> None:
    """Its recorder writes the format of before, rings no bell and publishes nothing of ours."""
    async with home.client() as session:
        await session.run("x = 1")
        status = (await session.call("kernel_status")).facts
    assert (await asyncio.to_thread(home.cli, "stop")).returncode == 0
    (kernel,) = home.kernels()
    command, environment = kernel.cmdline(), kernel.environ()
    kernel.kill()
    await until(lambda: not home.kernels(), "the kernel is gone")
    recorder = next(index for index, part in enumerate(command) if part.endswith("recorder.py"))
    old = tmp_path / "inside"
    shutil.copytree(Path(command[recorder]).parent, old)
    shutil.copy(Path(__file__).parents[1] / "records/recorder-1.py.txt", old / "recorder.py")
    log = Path(command[command.index("--log") + 1])
    log.unlink()
    command[recorder] = str(old / "recorder.py")
    left = subprocess.Popen(
        command, cwd=home.project, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
    )
    try:
        _rewrite(home, status["kernel_id"], process=None)
        async with home.client() as session:
            result = await session.run("import threading\nx = 41\nprint('read')\nx + 1")
            assert result.text.splitlines()[1:] == ["read", "Out[1]: 42"], result.text
            assert log.read_bytes().startswith(b"\n")
            assert b"execute_reply" in log.read_bytes()
            assert b"\n#" not in log.read_bytes(), "written by a recorder of this version"
            late = await session.run("threading.Timer(1, lambda: print('late')).start()")
            number = late.facts["execution_id"]
            end = time.monotonic() + DEADLINE_S
            while "late" not in (await session.call("kernel_output", execution_id=number)).text:
                assert time.monotonic() < end, "late output is not read"
            failed = await session.run("1/0")
            assert failed.facts["error"]["ename"] == "ZeroDivisionError"
            assert (await session.call("kernel_status")).facts["pid"] == left.pid
        exec_ = await asyncio.to_thread(home.cli, "exec", "for n in range(3): print(n, x)")
        assert exec_.stdout == "0 41\n1 41\n2 41\n"
    finally:
        left.kill()
        left.wait()


async def test_a_kernel_that_does_not_answer_is_unreachable_and_not_dead(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        (kernel,) = home.kernels()
        kernel.suspend()
        home.kill_daemon()
        refused = await session.call("kernel_exec", code="x")
        assert refused.is_error
        assert "does not answer" in refused.text
        kernel.resume()

        async def answer() -> str:
            result = await session.call("kernel_exec", code="x + 1")
            return "" if result.is_error else result.text

        text = ""
        for _ in range(600):
            text = await answer()
            if text:
                break
            await asyncio.sleep(0.1)
        assert text.endswith("42")


async def test_records_that_are_damaged_are_set_aside_and_the_daemon_starts(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 1")
    assert (await asyncio.to_thread(home.cli, "stop", "--kernels")).returncode == 0
    records = home.path / "run/records.sqlite"
    records.write_bytes(b"this is no database" * 1000)
    async with home.client() as session:
        assert (await session.run("1 + 1")).text.endswith("2")
    assert list(records.parent.glob("records.sqlite.set-aside-*"))


async def test_records_of_a_newer_version_are_set_aside(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 1")
    assert (await asyncio.to_thread(home.cli, "stop", "--kernels")).returncode == 0
    records = sqlite3.connect(home.path / "run/records.sqlite")
    records.execute("PRAGMA user_version = 99")
    records.close()
    async with home.client() as session:
        assert (await session.run("1 + 1")).text.endswith("2")
    assert list((home.path / "run").glob("records.sqlite.set-aside-*"))
    assert "schema 99" in (home.path / "daemon.log").read_text()


async def test_no_change_takes_effect_twice(home: Home) -> None:
    """The daemon dies right after each change; the shim sends the call again."""
    async with home.client() as session:
        await session.run("x = 1")
        before = home.kernels()[0]
        stop_at_answer = asyncio.create_task(_kill_when(home, lambda: _generation(home) == 2))
        restarted = await session.call("kernel_restart")
        await stop_at_answer
        assert restarted.facts["generation"] == 2
        assert not psutil.pid_exists(before.pid) or before.status() == psutil.STATUS_ZOMBIE
        added = asyncio.create_task(_kill_when(home, lambda: _count(home, "markdown") == 1))
        await session.call("kernel_add_markdown", text="# Once")
        await added
        assert _count(home, "markdown") == 1
        assert _generation(home) == 2


async def _kill_when(home: Home, condition: object) -> None:
    assert callable(condition)
    await until(condition, "the change is committed")
    home.kill_daemon()


def _query(home: Home, query: str) -> list[tuple[str, ...]]:
    records = sqlite3.connect(f"file:{home.path}/run/records.sqlite?mode=ro", uri=True)
    try:
        return records.execute(query).fetchall()
    finally:
        records.close()


def _generation(home: Home) -> int:
    """The latest generation whose process is on record: what was only about to be started has had no effect."""
    records = [json.loads(row[0]) for row in _query(home, "SELECT record FROM kernels")]
    return max([int(record["generation"]) for record in records if record["process"]], default=0)


def _count(home: Home, kind: str) -> int:
    return len([row for row in _query(home, "SELECT kind FROM executions") if row[0] == kind])


async def test_many_kernels_are_adopted_with_their_own_variables(home: Home) -> None:
    async with home.client() as session:
        names = [f"s{number}" for number in range(6)]
        for number, name in enumerate(names):
            await session.run(f"x = {number}", session=name)
        for _ in range(2):
            killed = home.kill_daemon()
            values = [(await session.run("print('x', x)", session=name)).text.splitlines()[-1] for name in names]
            assert values == [f"x {number}" for number in range(6)]
            daemon = home.daemon()
            assert daemon is not None
            assert daemon.pid != killed
