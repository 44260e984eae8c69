"""Promise: two actions that meet lose, hang and repeat nothing, whatever moment of the one the other comes in.

The moment is held from outside: a `sitecustomize` of the daemon's interpreter wraps methods of the daemon, which wait
there while the test has laid a file.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support import DEADLINE_S, Home, Result, Session, interpreter_with, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
_T = TypeVar("_T")

WRAPPER = """
import os, sys

if "kernel_supervisor.daemon" in sys.orig_argv:
    import asyncio
    from kernel_supervisor.kernels.kernel import Kernel
    from kernel_supervisor.records.database import Database
    from kernel_supervisor.sessions.executions import Executions

    async def pass_through(gate):
        path = os.path.join({folder!r}, gate)
        try:
            os.rename(path, path + ".reached")
        except FileNotFoundError:
            return
        while os.path.exists(path + ".reached"):
            await asyncio.sleep(0.005)
        open(path + ".passed", "w").close()

    def hold(cls, name, *, before="", after="", when=lambda arguments: True):
        method = getattr(cls, name)

        async def held(self, *arguments, **more):
            if before and when(arguments):
                await pass_through(before)
            try:
                return await method(self, *arguments, **more)
            finally:
                if after and when(arguments):
                    await pass_through(after)

        setattr(cls, name, held)

    hold(Database, "add_execution", after="committed")
    hold(Database, "save_execution", before="beginning", when=lambda arguments: arguments[0].status == "running")
    hold(Kernel, "connect", before="started")
    hold(Kernel, "shutdown", before="ending", after="ended")
    hold(Executions, "stop", before="stopping")
"""


@dataclass(frozen=True)
class Gates:
    """Moments of the daemon that are held."""

    folder: Path

    def close(self, gate: str) -> None:
        """Have the next one wait there."""
        (self.folder / gate).touch()

    async def reached(self, gate: str) -> None:
        """Wait until somebody waits there."""
        await until((self.folder / f"{gate}.reached").exists, f"the daemon is at {gate!r}")

    async def let_pass(self, gate: str) -> None:
        """Let it go on from there."""
        (self.folder / f"{gate}.reached").unlink()
        await until((self.folder / f"{gate}.passed").exists, f"the daemon went on from {gate!r}")


@pytest.fixture
def gates(home: Home) -> Gates:
    folder = home.project.parent / "gates"
    interpreter_with(folder, sitecustomize=WRAPPER.format(folder=str(folder)))
    return Gates(folder)


def _client(home: Home, gates: Gates) -> AbstractAsyncContextManager[Session]:
    """A client whose shim starts a daemon with gates."""
    return replace(home, python=str(gates.folder / "bin/python")).client("legacy", "--python", sys.executable)


async def _in_time(work: Awaitable[_T]) -> _T:
    return await asyncio.wait_for(work, DEADLINE_S)


async def _ended(session: Session, number: int) -> Result:
    return await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)


async def _entry(session: Session, code: str) -> dict[str, Any]:
    entries = (await session.call("kernel_history")).facts["entries"]
    return next(dict(each) for each in entries if each["code"] == code)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("kernel_restart", {}), ("kernel_use_env", {"env_name": "default", "fresh": True})],
    ids=["restart", "other kernel"],
)
async def test_a_cell_is_recorded_by_the_kernel_that_runs_it(
    home: Home, gates: Gates, tool: str, arguments: dict[str, Any]
) -> None:
    """It was committed to the one before, which was free."""
    async with _client(home, gates) as session, home.client() as other:
        before = await session.run("pass")
        gates.close("committed")
        running = asyncio.create_task(session.run("print('printed')"))
        await gates.reached("committed")
        switched = await _in_time(other.call(tool, **arguments))
        await gates.let_pass("committed")
        ran = await _in_time(running)
        read = await session.call("kernel_output", execution_id=ran.facts["execution_id"])
        entry = await _entry(session, "print('printed')")
    assert not switched.is_error, switched.text
    assert (ran.facts["status"], ran.facts["execution_count"]) == ("ok", 1)
    assert (entry["kernel_id"] == before.facts["kernel_id"]) is (tool == "kernel_restart")
    assert read.text.splitlines()[-1] == "printed", read.text


@pytest.mark.parametrize("moment", ["committed", "started"])
async def test_a_cell_that_is_cancelled_before_it_is_queued_is_not_run(home: Home, gates: Gates, moment: str) -> None:
    code = "open('ran', 'w').close()"
    gates.close(moment)
    async with _client(home, gates) as session:
        running = asyncio.create_task(session.run(code))
        await gates.reached(moment)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        number = (await _entry(session, code))["execution_id"]  # what comes behind the cancel is answered behind it
        await gates.let_pass(moment)
        ended = await _ended(session, number)
        after = await session.run("6 * 7")
    assert ended.facts["status"] == "aborted", ended.text
    assert "the client cancelled the call" in ended.text
    assert not (home.project / "ran").exists()
    assert after.text.splitlines()[-1] == "42"


async def test_a_cell_that_is_interrupted_before_it_was_sent_is_not_sent(home: Home, gates: Gates) -> None:
    async with _client(home, gates) as session, home.client() as other:
        await session.run("pass")
        first = await session.run("import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)", wait=False)
        second = await session.run("open('ran', 'w').close()\ntime.sleep(1000)", wait=False)
        gates.close("beginning")
        (home.project / "go").touch()
        await gates.reached("beginning")
        gates.close("stopping")
        interrupt = asyncio.create_task(other.call("kernel_interrupt", execution_id=second.facts["execution_id"]))
        await gates.reached("stopping")
        await gates.let_pass("stopping")
        await gates.let_pass("beginning")
        told = await _in_time(interrupt)
        ended = await _ended(session, second.facts["execution_id"])
        assert (await _ended(session, first.facts["execution_id"])).facts["status"] == "ok"
        after = await session.run("6 * 7")
    assert told.facts["stopped"], told.text
    assert ended.facts["status"] == "aborted", ended.text
    assert not (home.project / "ran").exists()
    assert after.text.splitlines()[-1] == "42"


async def test_a_cell_that_comes_to_its_end_before_its_kernel_does_is_not_said_to_have_died(
    home: Home, gates: Gates
) -> None:
    code = "import os, time\nfor name in ('go', 'on'):\n    while not os.path.exists(name): time.sleep(0.01)\n"
    async with _client(home, gates) as session, home.client() as other:
        number = (await session.run(code + "    print(name, flush=True)", wait=False)).facts["execution_id"]
        gates.close("ending")
        restart = asyncio.create_task(other.call("kernel_restart"))
        await gates.reached("ending")
        (home.project / "go").touch()
        log = next((home.path / "logs").glob("*-1.messages"))
        await until(lambda: b"go\\n" in log.read_bytes(), "it printed while its kernel was about to end")
        read = await session.call("kernel_output", execution_id=number)
        (home.project / "on").touch()
        ended = await _ended(session, number)
        await gates.let_pass("ending")
        await _in_time(restart)
        after = await session.run("6 * 7")
    assert read.facts["status"] == "running", read.text
    assert (ended.facts["status"], ended.text.splitlines()[-2:]) == ("ok", ["go", "on"])
    assert (after.facts["status"], after.facts["execution_count"]) == ("ok", 1)


async def test_a_kernel_that_is_shut_down_while_it_is_restarted_is_gone(home: Home, gates: Gates) -> None:
    async with _client(home, gates) as session, home.client() as other:
        kernel_id = (await session.run("pass")).facts["kernel_id"]
        gates.close("ending")
        restart = asyncio.create_task(session.call("kernel_restart"))
        await gates.reached("ending")
        shutdown = asyncio.create_task(other.call("kernel_shutdown", kernel_id=kernel_id))
        await asyncio.wait({shutdown}, timeout=1)  # it would be done by now, were it not to wait
        await gates.let_pass("ending")
        told = await _in_time(asyncio.gather(restart, shutdown))
        left = home.kernels()
        after = await session.run("6 * 7")
    assert [each.is_error for each in told] == [False, False], [each.text for each in told]
    assert not left
    assert (after.facts["status"], after.facts["execution_count"]) == ("ok", 1)


async def test_a_kernel_that_is_restarted_while_it_is_shut_down_is_the_sessions(home: Home, gates: Gates) -> None:
    async with _client(home, gates) as session, home.client() as other:
        kernel_id = (await session.run("pass")).facts["kernel_id"]
        gates.close("ending")
        shutdown = asyncio.create_task(other.call("kernel_shutdown", kernel_id=kernel_id))
        await gates.reached("ending")
        restart = asyncio.create_task(session.call("kernel_restart"))
        await asyncio.wait({restart}, timeout=1)  # it would be done by now, were it not to wait
        await gates.let_pass("ending")
        told = await _in_time(asyncio.gather(shutdown, restart))
        status = await session.call("kernel_status")
        after = await session.run("6 * 7")
        left = home.kernels()
    assert [each.is_error for each in told] == [False, False], [each.text for each in told]
    assert (status.facts["kernel_id"], status.facts["state"]) == (kernel_id, "idle")
    assert (after.facts["kernel_id"], after.facts["execution_count"]) == (kernel_id, 1)
    assert len(left) == 1


async def test_a_session_starts_afresh_where_the_daemon_died_as_it_ended_its_kernel(home: Home, gates: Gates) -> None:
    async with _client(home, gates) as session:
        kernel_id = (await session.run("pass")).facts["kernel_id"]
        gates.close("ended")
        shutdown = asyncio.create_task(session.call("kernel_shutdown", kernel_id=kernel_id))
        await gates.reached("ended")
        home.kill_daemon()
        told = await _in_time(shutdown)
        after = await session.run("6 * 7")
    assert f"kernel {kernel_id} is gone" in told.text
    assert after.text.splitlines()[-1] == "42"
    assert after.facts["kernel_id"] != kernel_id


async def test_a_kernel_whose_sockets_cannot_be_opened_is_not_left_behind(home: Home, gates: Gates) -> None:
    """Its connection file is damaged, and nobody can write it again: something is mounted there."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file")
    gates.close("started")
    damaged = home.path.parent / "damaged"
    damaged.write_text("{")
    async with _client(home, gates) as session:
        running = asyncio.create_task(session.call("kernel_exec", code="open('ran', 'w').close()"))
        await gates.reached("started")
        (file,) = (home.path / "run/kernels").glob("*.json")
        subprocess.run(["mount", "--bind", str(damaged), str(file)], check=True)
        try:
            await gates.let_pass("started")
            told = await _in_time(running)
            entry = await _entry(session, "open('ran', 'w').close()")
            left = home.kernels()
        finally:
            subprocess.run(["umount", "-l", str(file)], check=True)
        after = await session.run("6 * 7")
    assert told.is_error
    assert entry["status"] == "aborted", "the next daemon would run what is still queued"
    assert not left
    assert after.text.splitlines()[-1] == "42"
    assert not (home.project / "ran").exists()
