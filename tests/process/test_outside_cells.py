"""Promise: what no cell has shown is an entry of its own, told of with the next result, kept through deaths."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.process.test_clients_of_kernels import another_client, connection_of
from tests.support import DEADLINE_S, Home, Result, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
HANDLERS = """
import atexit, os, signal
def handle(number, frame):
    print("handled", number)
    display("shown")
signal.signal(signal.SIGUSR1, handle)
atexit.register(lambda: print("printed at exit"))
atexit.register(lambda: os.system("echo a child at exit"));
os.getpid()
"""
TOLD = "has what was shown by no cell"
DISPLAYED = "\"'shown'\""
HANDLED = f"handled {signal.SIGUSR1:d}"


async def outside(session: Session) -> list[dict[str, Any]]:
    history = await session.call("kernel_history", last=100)
    return [each for each in history.facts["entries"] if each["kind"] == "note"]


async def told(session: Session, times: int = 1) -> list[Result]:
    """Results until what no cell has shown was told of so often."""
    results: list[Result] = []
    end = time.monotonic() + DEADLINE_S
    while sum(TOLD in each.text for each in results) < times and time.monotonic() < end:
        results.append(await session.call("kernel_status"))
    return results


async def shown(session: Session, entry: dict[str, Any]) -> str:
    return (await session.call("kernel_output", execution_id=entry["execution_id"])).text


def logged(home: Home, text: str) -> int:
    return sum(path.read_bytes().count(text.encode()) for path in home.path.glob("logs/*.messages"))


def is_idle(pid: int) -> bool:
    """Whether its main thread waits for a message: a signal that comes as a cell ends is still that cell's."""
    return "epoll" in Path(f"/proc/{pid}/wchan").read_text()


async def test_a_signal_handlers_output_between_cells_is_an_entry_told_of_once(home: Home) -> None:
    async with home.client() as session:
        pid = int((await session.run(HANDLERS)).text.splitlines()[-1].rpartition(" ")[2])
        await until(lambda: is_idle(pid), "nothing of the cell is left")
        os.kill(pid, signal.SIGUSR1)
        await until(lambda: logged(home, DISPLAYED) == 1, "all of it is in the log")
        await told(session)
        (entry,) = await outside(session)
        text = await shown(session, entry)
        assert HANDLED in text, text
        assert "'shown'" in text, text
        after = await session.run("'the next cell'")
        assert TOLD not in after.text, after.text
        assert "handled" not in after.text, after.text
        await until(lambda: is_idle(pid), "nothing of the cell is left")
        os.kill(pid, signal.SIGUSR1)
        await until(lambda: logged(home, DISPLAYED) == 2, "all of that, too")
        await told(session)
        first, second = await outside(session)
        assert HANDLED in await shown(session, second)
        assert (await shown(session, first)).count(HANDLED) == 1
        result = await session.call("kernel_save_notebook", path="work.ipynb")
        assert not result.is_error, result.text
    notebook = nbformat.read(home.project / "work.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    sources = [cell.source for cell in notebook.cells]
    shown_by_none = [cell for cell in notebook.cells if cell.source.startswith("# Shown by no cell")]
    assert len(shown_by_none) == 2, sources
    assert [output.output_type for output in shown_by_none[0].outputs] == ["stream", "display_data"]


async def test_what_is_printed_while_a_kernel_exits_is_kept_and_told_of(home: Home) -> None:
    async with home.client() as session:
        await session.run(HANDLERS)
        restarted = await session.call("kernel_restart")
        after = [restarted, *await told(session, TOLD not in restarted.text)]
        assert sum(TOLD in each.text for each in after) == 1, [each.text for each in after]
        entry = next(each for each in await outside(session) if each["code"].startswith("Shown by no cell"))
        text = await shown(session, entry)
        assert "printed at exit" in text, text
        assert "a child at exit" in text, text


async def test_what_no_cell_shows_while_no_daemon_lives_is_an_entry_with_what_came_before(home: Home) -> None:
    async with home.client() as session:
        pid = int((await session.run(HANDLERS)).text.splitlines()[-1].rpartition(" ")[2])
        await until(lambda: is_idle(pid), "nothing of the cell is left")
        os.kill(pid, signal.SIGUSR1)
        await until(lambda: logged(home, DISPLAYED) == 1, "it is in the log")
        with home.no_daemon():
            os.kill(pid, signal.SIGUSR1)
            await until(lambda: logged(home, DISPLAYED) == 2, "it was shown while no daemon lived")
        results = await told(session)
        assert sum(TOLD in each.text for each in results) == 1
        (entry,) = await outside(session)
        assert (await shown(session, entry)).count(HANDLED) == 2


async def test_what_the_kernel_itself_says_of_a_clients_message_is_no_entry(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with another_client(await connection_of(session)) as client:
            for msg_type in ("comm_msg", "comm_close"):
                content = {"comm_id": "of a widget that is gone", "data": {}}
                client.shell_channel.send(client.session.msg(msg_type, content))
            await until(lambda: logged(home, "No such comm") >= 2, "it complained, twice of each")
        assert (await session.run("x + 1")).text.endswith("42")
        assert await outside(session) == []


async def test_an_ordinary_session_has_no_such_entry(home: Home) -> None:
    async with home.client() as session:
        await session.run("import threading; threading.Thread(target=print, args=('of a thread',)).start()")
        await session.run("import asyncio; task = asyncio.ensure_future(asyncio.sleep(0))")
        result = await session.call("kernel_restart")
        assert TOLD not in result.text
        await session.run("1")
        assert not [each for each in await outside(session) if each["code"].startswith("Shown by no cell")]
