"""Promise 3 for kernels that do not record themselves: what was missed is named, and nothing is run on a guess."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture
def theirs(home: Home) -> Iterator[Path]:
    """A kernel that somebody else started: its connection file."""
    connection_file = home.project / "kernel-theirs.json"
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", str(connection_file)]
    kernel = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield connection_file
    finally:
        kernel.kill()
        kernel.wait()


REPLIES_LOST = """
kernel = get_ipython().kernel
kernel_info, send = kernel.shell_handlers["kernel_info_request"], kernel.session.send
def interrupted(*args, **kwargs):
    kernel.shell_handlers["kernel_info_request"] = kernel_info
    raise KeyboardInterrupt
def sending(stream, msg_or_type, *args, **kwargs):
    if msg_or_type == "execute_reply":
        kernel.session.send = send
        kernel.shell_handlers["kernel_info_request"] = interrupted
    else:
        return send(stream, msg_or_type, *args, **kwargs)
kernel.session.send = sending
"""


async def test_a_question_behind_a_missing_reply_is_asked_again(home: Home, theirs: Path) -> None:
    """As an interrupt takes a cell's reply away, the next one takes that of the question behind it."""
    async with home.client() as session:
        await attach(session, theirs)
        ended = await session.run("print('printed')" + REPLIES_LOST)
        after = await session.run("6 * 7")
    assert ended.facts["status"] == "lost", ended.text
    assert "printed" in ended.text
    assert after.text.splitlines()[-1] == "42"


ODD = """
import json
from comm import create_comm
from jupyter_client.session import DELIM
kernel = get_ipython().kernel
comm = create_comm(target_name="odd")
for data in ([1, 2], "text", 7, None):
    comm.send(data)
def send(*parts):
    kernel.iopub_socket.send_multipart([b"odd", DELIM, kernel.session.sign(list(parts)), *parts])
whole = kernel.session.msg("display_data", {"data": [1, 2], "transient": [1]}, parent=kernel.get_parent())
good = [json.dumps(whole[part], default=str).encode() for part in ("header", "parent_header", "metadata", "content")]
for at in range(4):
    for odd in (b"null", b"[]", b"7", b"{}", b'{"msg_id": 7}', b'"\\ud800"', b"[" * 100_000, b"\\xff", b"9" * 5_000):
        send(*good[:at], odd, *good[at + 1:])
send(*good)
print("at last")
"""


async def test_messages_of_any_form_leave_the_kernel_heard(home: Home, theirs: Path) -> None:
    async with home.client() as session:
        await attach(session, theirs)
        odd = await session.run(ODD)
        assert odd.text.splitlines()[-1] == "at last"
        assert "[one output could not be read]" in odd.text
        for _ in range(3):
            assert (await session.run("6 * 7")).text.splitlines()[-1] == "42"
        saved = await session.call("kernel_save_notebook", path="odd.ipynb")
        assert not saved.is_error, saved.text
        home.kill_daemon()
        again = await session.call("kernel_output", execution_id=odd.facts["execution_id"])
        assert again.text.splitlines()[-1] == "at last"


def cell(started: Path, go: Path) -> str:
    return f"""
import os, time
print("first", flush=True)
open({str(started)!r}, "w").close()
while not os.path.exists({str(go)!r}): time.sleep(0.05)
print("second", flush=True)
runs = globals().get("runs", 0) + 1
runs
"""


async def attach(session, connection_file: Path) -> None:  # type: ignore[no-untyped-def]  # tests.support.Session
    await until(
        lambda: connection_file.exists() and json.loads(connection_file.read_text() or "{}").get("key"), "it runs"
    )
    await until(lambda: connection_file.stat().st_size > 0, "its connection file")
    for _ in range(200):
        result = await session.call("kernel_attach", kernel_id=str(connection_file))
        if not result.is_error:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(result.text)


async def test_a_time_without_a_listener_is_a_gap_in_the_result(home: Home, theirs: Path) -> None:
    started, go = home.project / "started", home.project / "go"
    async with home.client() as session:
        await attach(session, theirs)
        call = asyncio.create_task(session.run(cell(started, go), timeout=120))
        await until(started.exists, "the cell runs")
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        await session.call("kernel_status")
        go.touch()
        result = await call
        assert "listen" in result.text, result.text
        assert "second" in result.text
        assert result.text.rstrip().splitlines()[-1] != "", result.text
        saved = await session.call("kernel_save_notebook", path="gap")
        assert not saved.is_error
        assert "listen" in (home.project / "gap.ipynb").read_text()


async def test_what_ended_while_nobody_listened_is_lost_and_not_run_again(home: Home, theirs: Path) -> None:
    started, go = home.project / "started", home.project / "go"
    async with home.client() as session:
        await attach(session, theirs)
        call = asyncio.create_task(session.run(cell(started, go), timeout=120))
        await until(started.exists, "the cell runs")
        with home.no_daemon():
            go.touch()
            client = await asyncio.to_thread(_after_the_cell, theirs)
            assert client == "1"
        result = await call
        assert result.facts["status"] == "lost", result.text
        assert "not run again" in result.text
        assert (await session.run("runs")).text.endswith("1")


_ASK = """
import sys
from jupyter_client.blocking.client import BlockingKernelClient
client = BlockingKernelClient(connection_file=sys.argv[1])
client.load_connection_file()
client.start_channels(hb=False)
reply = client.execute("", user_expressions={"runs": "runs"}, reply=True, timeout=60)
print(reply["content"]["user_expressions"]["runs"]["data"]["text/plain"])
"""


def _after_the_cell(connection_file: Path) -> str:
    """The value of `runs` once the kernel is free, asked by a client of another process."""
    asked = subprocess.run(
        [sys.executable, "-c", _ASK, str(connection_file)], capture_output=True, text=True, check=True
    )
    return asked.stdout.strip()


async def test_looking_into_their_kernel_leaves_no_trace(home: Home, theirs: Path) -> None:
    async with home.client() as session:
        await attach(session, theirs)
        await session.run("x = 41")

        async def listed() -> str:
            return (await session.call("kernel_list_vars")).text

        text = await listed()
        assert "x" in text, text
        assert "kernel_supervisor" not in text
        result = await session.run("sorted(name for name in globals() if 'supervisor' in name.lower()), len(In)")
        assert result.text.endswith("([], 3)"), result.text


async def test_its_end_is_noticed_though_it_is_not_our_process(home: Home, theirs: Path) -> None:
    async with home.client() as session:
        await attach(session, theirs)
        pid = int((await session.run("import os; os.getpid()")).text.splitlines()[-1])
        started = home.project / "started"
        code = f"open({str(started)!r}, 'w').close()\nimport time; time.sleep(600)"
        call = asyncio.create_task(session.run(code, timeout=120))
        await until(started.exists, "the cell runs")
        psutil.Process(pid).kill()
        result = await call
        assert result.facts["status"] == "dead", result.text
        assert "nobody listens" in result.text
        assert (await session.call("kernel_exec", code="1")).is_error
        await session.call("kernel_detach")
        assert (await session.run("1")).text.endswith("1")
        assert theirs.exists()
