"""Promise: a kernel of ours that runs is found, whatever others removed: its variables, or a true word and a way on."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


def remove(home: Home, *patterns: str) -> None:
    """Remove files of the supervisor's folder for sockets."""
    for pattern in patterns:
        for path in home.path.glob(f"run/{pattern}"):
            path.unlink()


RECORDS, CONNECTION, SOCKETS = "records*", "kernels/*.json", "kernels/*-ipc-*"


async def test_a_kernel_whose_records_are_gone_has_its_variables_and_its_history(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        shown = await session.run("print('shown', x)")
        await session.call("kernel_add_markdown", text="in no log")
        (kernel,) = home.kernels()
        with home.no_daemon():
            remove(home, RECORDS)
        after = await session.run("x + 1")
        assert after.text.endswith("42")
        assert "was found running" in after.text
        (listed,) = (await session.call("kernel_list_running")).facts["kernels"]
        assert listed["pid"] == kernel.pid
        assert [each.pid for each in home.kernels()] == [kernel.pid]
        history = (await session.call("kernel_history")).facts["entries"]
        assert [(each["execution_id"], each["code"]) for each in history] == [
            (1, "x = 41"),
            (2, "print('shown', x)"),
            (4, "x + 1"),  # the third was markdown, and is in no log
        ]
        again = await session.call("kernel_output", execution_id=shown.facts["execution_id"])
        assert "shown 41" in again.text


async def test_a_cell_that_runs_while_the_records_are_removed_runs_once(home: Home) -> None:
    go, begun = home.project / "go", home.project / "begun"
    code = (
        f"import os, time\nopen({str(begun)!r}, 'a').write('x')\nwhile not os.path.exists({str(go)!r}): time.sleep(.02)"
    )
    async with home.client() as session:
        await session.run("x = 41")
        call = asyncio.create_task(session.run(code, timeout=100))
        await until(lambda: begun.exists() and begun.read_text(), "the cell runs")
        with home.no_daemon():
            remove(home, RECORDS)
        await session.call("kernel_status")
        go.touch()
        result = await call
        assert result.facts["status"] == "ok", result.text
        assert begun.read_text() == "x"
        assert (await session.run("x")).text.endswith("41")


async def test_a_kernel_whose_connection_file_is_gone_has_its_variables(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with home.no_daemon():
            remove(home, CONNECTION)
        assert (await session.run("x + 1")).text.endswith("42")
        (file,) = home.path.glob(f"run/{CONNECTION}")
        assert file.stat().st_mode & 0o777 == 0o600


def _with_another_key(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "key": "another"}))


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGED: dict[str, Callable[[Path], object]] = {
    "another key": _with_another_key,
    "no object": lambda path: path.write_text("[1]"),
    "cut": lambda path: os.truncate(path, 20),
    "a folder": _folder,
    "a pipe": _pipe,
}


async def test_a_kernel_whose_connection_file_is_damaged_has_its_variables(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 0")
        (kernel,) = home.kernels()
        (file,) = home.path.glob(f"run/{CONNECTION}")
        for number, damage in enumerate(DAMAGED.values(), 1):
            with home.no_daemon():
                damage(file)
            assert (await session.run("x += 1\nx")).text.endswith(str(number))
        assert [each.pid for each in home.kernels()] == [kernel.pid]
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("6 * 7")).text.endswith("42")


async def test_a_kernel_is_not_said_to_be_reached_in_a_moment_whose_key_stands_nowhere(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        (file,) = home.path.glob(f"run/{CONNECTION}")
        with home.no_daemon():
            remove(home, RECORDS)
            _pipe(file)
        refused = (await session.call("kernel_exec", code="x")).text
        assert "its connection file is damaged" in refused, refused
        assert "kernel_restart ends it" in refused
        assert "ry again" not in refused
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("6 * 7")).text.endswith("42")
        assert len(home.kernels()) == 1


STRANDED: dict[str, tuple[str, ...]] = {
    "its sockets": (SOCKETS,),
    "one socket": ("kernels/*-ipc-1",),
    "its sockets and its connection file": (SOCKETS, CONNECTION),
    "the records and its connection file": (RECORDS, CONNECTION),
    "all of it": (RECORDS, CONNECTION, SOCKETS),
}


@pytest.mark.parametrize("gone", STRANDED.values(), ids=STRANDED)
async def test_a_kernel_that_nothing_leads_to_is_listed_and_ended_by_a_restart(
    home: Home, gone: tuple[str, ...]
) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        (kernel,) = home.kernels()
        with home.no_daemon():
            remove(home, *gone)
        refused = await session.call("kernel_exec", code="x")
        status = await session.call("kernel_status")
        for told in (refused.text, status.text):
            assert "was removed" in told or "were removed" in told, told
            assert "kernel_restart ends it" in told
            assert "ry again" not in told, "that is of no use"
        assert refused.is_error
        (listed,) = (await session.call("kernel_list_running")).facts["kernels"]
        assert (listed["pid"], listed["state"]) == (kernel.pid, "unreachable")
        assert kernel.is_running(), "nothing ends it unasked"
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("6 * 7")).text.endswith("42")
        assert kernel.pid not in [each.pid for each in home.kernels()]
        assert len(home.kernels()) == 1


WAYS: dict[str, Callable[[Home], object]] = {
    "records": lambda home: remove(home, RECORDS),
    "records and connection files": lambda home: remove(home, RECORDS, CONNECTION),
    "all of it": lambda home: remove(home, RECORDS, CONNECTION, SOCKETS),
}


@pytest.mark.parametrize("gone", WAYS.values(), ids=WAYS)
async def test_stopping_with_kernels_ends_all_that_run(home: Home, gone: Callable[[Home], object]) -> None:
    async with home.client() as session:
        for name in ("one", "two"):
            await session.run("x = 1", session=name)
        assert len(home.kernels()) == 2
    home.kill_daemon()
    await until(lambda: not home.daemons(), "no daemon runs")
    gone(home)
    stopped = await asyncio.to_thread(home.cli, "stop", "--kernels")
    assert stopped.returncode == 0, stopped.stderr
    assert home.kernels() == []
    assert "the daemon and its kernels are gone" in stopped.stdout


async def test_a_kernel_is_found_whatever_links_lead_to_its_folder(home: Home) -> None:
    """Clients name the same place differently: this daemon is another's than the one that started the kernel."""
    (home.project / "link").symlink_to(home.path.parent)
    env = {"KERNEL_SUPERVISOR_HOME": str(home.project / "link/home")}
    async with home.client() as session:
        await session.run("x = 41")
    home.kill_daemon()
    await until(lambda: not home.daemons(), "no daemon runs")
    remove(home, RECORDS)
    async with home.client(env=env) as session:
        assert (await session.run("x + 1")).text.endswith("42")
    stopped = await asyncio.to_thread(home.cli, "stop", "--kernels", env={**home.env, **env})
    assert stopped.returncode == 0, stopped.stderr
    assert home.kernels() == []


async def test_what_only_names_a_connection_file_is_no_kernel(home: Home) -> None:
    """A client at a terminal, a child of the kernel, a fork of it: neither listed nor signalled."""
    wait = "import time; time.sleep(600)"
    async with home.client() as session:
        await session.run("import subprocess, sys, os, time")
        status = (await session.call("kernel_status")).facts
        forked = int((await session.run("pid = os.fork()\nif not pid: time.sleep(600)\npid")).text.split()[-1])
        file = status["connection_file"]
        client = subprocess.Popen([sys.executable, "-c", wait, "--existing", file], start_new_session=True)
        reader = subprocess.Popen([sys.executable, "-c", wait, file])
        try:
            with home.no_daemon():
                remove(home, RECORDS)
            (listed,) = (await session.call("kernel_list_running")).facts["kernels"]
            assert listed["pid"] == status["pid"]
            assert (await asyncio.to_thread(home.cli, "stop", "--kernels")).returncode == 0
            assert client.poll() is None
            assert reader.poll() is None
        finally:
            for process in (client, reader):
                process.kill()
                process.wait()
            with suppress(psutil.Error):
                psutil.Process(forked).kill()
    assert Path(file).parent.is_dir()


async def test_a_kernel_that_a_version_before_started_is_found_too(home: Home) -> None:
    """Its command line says nothing of its session: it is that of the directory that it works in."""
    async with home.client() as session:
        await session.run("x = 41")
        status = (await session.call("kernel_status")).facts
        (kernel,) = home.kernels()
        command, environment = kernel.cmdline(), kernel.environ()
        with home.no_daemon():
            kernel.kill()
            await until(lambda: not home.kernels(), "the kernel is gone")
            remove(home, RECORDS, "kernels/*-ipc-*")
            for log in home.path.glob("logs/*.messages"):
                log.unlink()
            at = command.index("--about")
            command[at : at + 2] = []
            left = subprocess.Popen(
                command, env=environment, cwd=home.project, start_new_session=True, stdout=subprocess.DEVNULL
            )
        try:
            assert (await session.run("x = 41\nx + 1")).text.endswith("42")
            after = (await session.call("kernel_status")).facts
            assert (after["pid"], after["kernel_id"]) == (left.pid, status["kernel_id"])
        finally:
            left.kill()
            left.wait()
