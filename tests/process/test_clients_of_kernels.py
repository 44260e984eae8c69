"""Promise: other programs work in our kernels; what they run is on record, and none of them ends one."""

from __future__ import annotations

import asyncio
import json
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from kernel_supervisor.running.carrying import SILENT_S
from tests.support import DEADLINE_S, Home, Session, shim_pid, until

pytestmark = pytest.mark.anyio
WORKING = "import time\nwhile True: time.sleep(0.05)"
"""What every interrupt reaches: one that comes as Python is about to wait in C is seen when that wait is over."""


@contextmanager
def another_client(connection_file: str, username: str = "jane") -> Iterator[BlockingKernelClient]:
    """What JupyterLab's server has: a client of its own, over the connection file."""
    client = BlockingKernelClient()
    client.load_connection_file(connection_file)
    client.session.username = username
    client.start_channels()
    try:
        client.wait_for_ready(timeout=DEADLINE_S)
        yield client
    finally:
        client.stop_channels()


async def connection_of(session: Session) -> str:
    return str((await session.call("kernel_status")).facts["connection_file"])


async def entry(session: Session, source: str) -> dict[str, Any]:
    """The entry with that code, once it is over."""
    return (await matching(session, lambda each: each["code"] == source and each["status"] != "running"))[0]


async def matching(session: Session, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The entries of the history that are as wanted, once there is one."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        entries = (await session.call("kernel_history")).facts["entries"]
        if found := [each for each in entries if wanted(each)]:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing is as wanted in {entries}")


@pytest.mark.parametrize("restart", [False, True])
async def test_a_shutdown_request_of_another_client_is_refused(home: Home, restart: bool) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with another_client(await connection_of(session)) as client:
            client.session.send(client.control_channel.socket, "shutdown_request", {"restart": restart})
            reply = client.get_control_msg(timeout=DEADLINE_S)
            assert reply["msg_type"] == "shutdown_reply"
            assert reply["content"]["status"] == "error"
            assert "kernel-supervisor" in reply["content"]["evalue"]
            client.session.send(client.shell_channel.socket, "shutdown_request", {"restart": restart})
            client.execute_interactive("assert x == 41; x = 42", timeout=DEADLINE_S)
        assert "42" in (await session.run("x")).text
        kernel = (await session.call("kernel_status")).facts
        ended = await session.call("kernel_shutdown", kernel_id=kernel["kernel_id"])
        assert not ended.is_error
    await until(lambda: not psutil.pid_exists(kernel["pid"]) or not home.kernels(), "our own request ends it")


async def test_what_another_client_runs_stands_in_history_and_notebook_under_its_name(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with another_client(await connection_of(session)) as client:
            client.execute_interactive("print('from', 'lab'); x + 1", timeout=DEADLINE_S)
            client.execute_interactive("1 / 0", timeout=DEADLINE_S)
            client.execute("'silent'", silent=True)
        good, bad = await entry(session, "print('from', 'lab'); x + 1"), await entry(session, "1 / 0")
        assert (good["client"], good["status"], bad["status"]) == ("jane", "ok", "error")
        assert good["execution_count"] == 2
        shown = await session.call("kernel_output", execution_id=good["execution_id"])
        assert "from lab" in shown.text
        assert "42" in shown.text
        await session.call("kernel_save_notebook", path="both.ipynb")
        cells = json.loads((home.project / "both.ipynb").read_text())["cells"]
        assert [cell["outputs"][0]["text"] for cell in cells if "lab" in "".join(cell["source"])] == [["from lab\n"]]
        history = (await session.call("kernel_history")).facts["entries"]
        assert [each["code"] for each in history] == ["x = 41", "print('from', 'lab'); x + 1", "1 / 0"]


async def _killed(home: Home) -> None:
    """Kill the daemon and wait for its end. The client's shim may have started the next one by then."""
    pid = home.kill_daemon()
    await until(lambda: pid not in {each.pid for each in home.daemons()}, "the daemon is gone")


async def test_what_another_client_runs_while_no_daemon_lives_is_on_record_later(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        connection_file = await connection_of(session)
        with another_client(connection_file) as client:
            begun = client.execute("import time\nwhile 'go' not in globals(): time.sleep(0.01)\nprint('at last')")
            wait_for(client, "execute_input")
            waiting = await until_running(session)
            shim = psutil.Process(shim_pid(home))
            shim.suspend()  # so that no daemon lives meanwhile
            await _killed(home)
            assert not home.daemons()
            set_in(client, "go = 1")
            wait_for_reply(client, begun)
            client.execute_interactive("y = 'while nobody looked'", timeout=DEADLINE_S)
            shim.resume()
        assert "'while nobody looked'" in (await session.run("y")).text
        over = await entry(session, "y = 'while nobody looked'")
        assert (over["client"], over["status"]) == ("jane", "ok")
        shown = await session.call("kernel_output", execution_id=waiting)
        assert "at last" in shown.text
        assert shown.facts["status"] == "ok"
        await _killed(home)
        codes = [each["code"] for each in (await session.call("kernel_history")).facts["entries"]]
        assert len(codes) == len(set(codes)) == 4, codes


async def test_our_cell_waits_for_theirs_and_an_interrupt_of_ours_does_not_hit_theirs(home: Home) -> None:
    async with home.client() as session:
        await session.run("import time")
        with another_client(await connection_of(session)) as client:
            begun = client.execute("while 'go' not in globals(): time.sleep(0.01)")
            theirs = await until_running(session)
            ours = await session.run("'ours'", wait=False)
            assert ours.facts["status"] == "queued"
            stopped = await session.call("kernel_interrupt", execution_id=ours.facts["execution_id"])
            assert stopped.facts["stopped"]
            assert (await session.call("kernel_output", execution_id=theirs)).facts["status"] == "running"
            after = await session.run("'after'", wait=False)
            stopped = await session.call("kernel_interrupt")
            assert stopped.facts["execution_id"] == theirs, stopped.text
            wait_for_reply(client, begun)
        done = await session.call("kernel_output", execution_id=after.facts["execution_id"], wait=DEADLINE_S)
        assert done.facts["status"] == "ok", done.text


async def test_a_console_leaves_the_kernel_alive_and_another_clients_interrupt_works(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        connection_file = await connection_of(session)
        command = ["-m", "jupyter_console", "--existing", connection_file, "--simple-prompt"]
        console = pexpect.spawn(sys.executable, command, env=home.env, encoding="utf-8", timeout=DEADLINE_S)
        console.expect(r"In \[\d+\]")
        console.sendline("x += 1; print('value', x)")
        console.expect("value 42")
        console.sendeof()
        console.expect(r"want to exit")
        console.sendline("y")
        console.expect(pexpect.EOF)
        console.close()
        with another_client(connection_file) as client:
            begun = client.execute(WORKING)
            wait_for(client, "execute_input")
            client.session.send(client.control_channel.socket, "interrupt_request", {})
            assert wait_for_reply(client, begun)["content"]["ename"] == "KeyboardInterrupt"
        assert "42" in (await session.run("x")).text


async def test_a_kernel_that_dies_in_their_cell_is_explained(home: Home) -> None:
    async with home.client() as session:
        await session.run("import os, signal")
        with another_client(await connection_of(session)) as client:
            client.execute("os.kill(os.getpid(), signal.SIGKILL)")
            found = await entry(session, "os.kill(os.getpid(), signal.SIGKILL)")
        assert found["status"] == "dead"
        assert signal.SIGKILL.name in (await session.call("kernel_status")).text


async def until_running(session: Session) -> int:
    """The id of the execution that runs, once one does."""
    return int((await matching(session, lambda each: each["status"] == "running"))[0]["execution_id"])


def wait_for(client: BlockingKernelClient, msg_type: str) -> dict[str, Any]:
    while (message := client.get_iopub_msg(timeout=DEADLINE_S))["msg_type"] != msg_type:
        pass
    return dict(message)


def wait_for_reply(client: BlockingKernelClient, msg_id: str) -> dict[str, Any]:
    while (message := client.get_shell_msg(timeout=DEADLINE_S))["parent_header"]["msg_id"] != msg_id:
        pass
    return dict(message)


def set_in(client: BlockingKernelClient, code: str) -> None:
    """Run a line beside the running cell: the control channel takes requests for it."""
    content = {"code": code, "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    client.session.send(client.control_channel.socket, "execute_request", content)
    try:
        client.get_control_msg(timeout=DEADLINE_S)
    except queue.Empty:
        raise AssertionError("the kernel does not answer beside its cell") from None


def test_published_connection_files_are_private_and_go_with_their_kernel(home: Home) -> None:
    assert home.cli("exec", "1").returncode == 0
    (published,) = (home.path / "run/jupyter").glob("*.json")
    assert published.stat().st_mode & 0o777 == 0o600
    links = list((home.path / "run/clients").iterdir())
    assert {link.resolve().parent for link in links} == {Path(home.path / "run/kernels").resolve()}
    assert home.cli("kill", "--all").returncode == 0
    assert [*(home.path / "run/jupyter").iterdir(), *(home.path / "run/clients").iterdir()] == []


UNDER_ANOTHER_NAME = "get_ipython().kernel.get_parent('shell')['header']['msg_id'] = 'nobody'"
UNTRACEABLE = "get_ipython().kernel.get_parent('shell').clear()"


@pytest.mark.parametrize("code", [UNDER_ANOTHER_NAME, UNTRACEABLE])
async def test_our_cell_runs_after_one_of_theirs_whose_end_is_never_said(home: Home, code: str) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with another_client(await connection_of(session)) as client:
            client.execute(code)
            theirs = await until_running(session)
            ours = await session.run("x + 1", timeout=DEADLINE_S)
            assert (ours.facts["status"], "42" in ours.text) == ("ok", True), ours.text
        ended = await session.call("kernel_output", execution_id=theirs)
        assert "nothing of its end is on record" in ended.text, ended.text


@pytest.mark.parametrize("code", [UNDER_ANOTHER_NAME, UNTRACEABLE])
async def test_a_cell_of_ours_whose_end_is_never_said_holds_up_no_other(home: Home, code: str) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        unsaid = await session.run(code, wait=False)
        ours = await session.run("x + 1", timeout=DEADLINE_S)
        assert (ours.facts["status"], "42" in ours.text) == ("ok", True), ours.text
        ended = await session.call("kernel_output", execution_id=unsaid.facts["execution_id"])
        assert ended.facts["status"] == "lost", ended.text
        assert "never said how it ended" in ended.text


@pytest.mark.parametrize("code", ["await asyncio.sleep(0.05)", "time.sleep(0.05)"])
async def test_a_cell_that_runs_for_longer_than_its_looks_is_not_taken_for_over(home: Home, code: str) -> None:
    async with home.client() as session:
        await session.run("import asyncio, os, time")
        loop = f"end = time.monotonic() + {2.5 * SILENT_S}\nwhile time.monotonic() < end: {code}\n'went'"
        long = await session.run(loop, timeout=DEADLINE_S)
        assert (long.facts["status"], "went" in long.text) == ("ok", True), long.text
        with another_client(await connection_of(session)) as client:
            theirs = client.execute(loop)
            await until_running(session)
            assert (await session.run("'after'", timeout=DEADLINE_S)).facts["status"] == "ok"
            wait_for_reply(client, theirs)
        assert (await entry(session, loop))["status"] == "ok"
