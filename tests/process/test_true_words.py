"""Promise: what is said of daemons and kernels was looked at."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.support import DEADLINE_S, Home, until, until_now

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def test_variables_are_said_to_be_kept_only_where_their_kernel_lives(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 1")
        home.kill_daemon()
        told = shim.run("x")["text"]
        assert "the daemon was restarted meanwhile; kernel" in told
        assert "lived on, with its variables" in told
        assert "meanwhile" not in shim.run("x")["text"], "said once"
        (kernel,) = home.kernels()
        home.kill_daemon()
        kernel.kill()
        refused = shim.call("kernel_exec", code="x")
        assert "lived on" not in str(refused)
        assert "kept" not in str(refused)
        assert "lived on" not in str(shim.call("kernel_restart"))


def test_a_daemon_that_stands_still_is_not_said_not_to_run(home: Home) -> None:
    assert home.cli("start").returncode == 0
    daemon = home.daemon()
    assert daemon is not None
    daemon.suspend()
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda command: home.cli(command, timeout=90), ("stop", "status", "list")))
    for told in answers:
        assert told.returncode != 0, told.stdout
        assert "no daemon is running" not in told.stdout + told.stderr
        assert "no kernels are running" not in told.stdout + told.stderr
    daemon.resume()
    assert home.cli("stop").returncode == 0


def test_a_kernel_that_stands_still_is_said_to(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("print('begun'); import time; time.sleep(600)", timeout=1)
        (kernel,) = home.kernels()
        kernel.suspend()
        until_now(lambda: kernel.status() == psutil.STATUS_STOPPED, "it stands still")
        told = str(shim.call("kernel_interrupt"))
        assert f"kill -CONT {kernel.pid}" in told
        assert "C code" not in told
        kernel.resume()


def test_a_kernel_that_stands_still_is_said_to_by_the_next_daemon(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        (kernel,) = home.kernels()
        kernel.suspend()
        home.kill_daemon()
        assert f"kill -CONT {kernel.pid}" in str(shim.call("kernel_exec", code="x + 1"))
        kernel.resume()

        def answered() -> bool:
            return "42" in str(shim.call("kernel_exec", code="x + 1"))

        until_now(answered, "the advice helps")


def test_the_memory_that_a_kernel_had_at_most_is_its_own(home: Home) -> None:
    """A child's peak begins with its parent's, which is larger here."""
    with home.shim() as shim:
        shim.open()
        shim.run("x = 1", session="small")
        small = next(each for each in home.kernels() if each.pid == _pid(shim, "small"))
        had = small.memory_info().rss
        small.kill()
        until_now(lambda: not small.is_running() or small.status() == psutil.STATUS_ZOMBIE, "it is dead")
        told = str(shim.call("kernel_exec", code="x", session="small"))
    assert "died" in told
    assert all(int(peak) * 1e6 < 1.3 * had for peak in re.findall(r"peak memory (\d+) MB", told)), told


def test_the_memory_of_what_a_kernel_ran_is_not_said_to_be_its_own(home: Home) -> None:
    child = "import subprocess, sys, os; subprocess.run([sys.executable, '-c', 'b = bytearray(400_000_000)'])"
    with home.shim() as shim:
        shim.open()
        told = str(shim.call("kernel_exec", code=f"{child}; os._exit(3)"))
    assert re.search(r"peak memory [34]\d\d MB, its own or that of a process it waited for", told), told


async def test_a_kernel_that_starts_is_listed_as_starting(home: Home) -> None:
    """Its start waits for a file, which is the event of this test."""
    startup, go = home.project / "ipython/profile_default/startup", home.project / "go"
    startup.mkdir(parents=True)
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
    (startup / "00-wait.py").write_text(wait)
    async with home.client(env={"IPYTHONDIR": str(startup.parents[1])}) as session:
        running = asyncio.create_task(session.call("kernel_exec", code="6 * 7"))
        await until(home.kernels, "its process is there")
        listed = await session.call("kernel_list_running")
        assert [each["state"] for each in listed.facts["kernels"]] == ["starting"], listed.text
        assert "its kernel is starting" in (await session.call("kernel_status")).text
        assert "starting" in home.cli("list").stdout
        go.touch()
        assert "42" in (await running).text
        listed = await session.call("kernel_list_running")
        assert [each["state"] for each in listed.facts["kernels"]] == ["idle"]
        go.unlink()
        again = asyncio.create_task(session.call("kernel_restart"))

        async def states() -> list[str]:
            return [each["state"] for each in (await session.call("kernel_list_running")).facts["kernels"]]

        await until_async(states, ["starting"])
        go.touch()
        assert "was restarted" in (await again).text


async def until_async(states: Callable[[], Awaitable[list[str]]], wanted: list[str]) -> None:
    end = time.monotonic() + DEADLINE_S
    while (seen := await states()) != wanted:
        assert time.monotonic() < end, seen
        await asyncio.sleep(0.05)


def test_no_list_of_kernels_is_said_to_be_whole_where_nobody_was_asked(home: Home) -> None:
    told = json.loads(home.cli("list", "--json").stdout)
    assert told["kernels"] == []
    assert "no daemon is running" in told["troubles"][0]


def _pid(shim, session: str) -> int:  # type: ignore[no-untyped-def]  # tests.support.Shim
    status = shim.call("kernel_status", session=session)
    return int(status["_meta"]["kernel-supervisor/result"]["pid"])
