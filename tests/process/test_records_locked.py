"""Promise: records that another process keeps locked hold up nobody; what cannot be recorded is said, and is later."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import anyio
import psutil
import pytest
from mcp.shared.exceptions import MCPError

from tests.support import Home, Result, Session, shim_pid

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
LOCKS = {
    "a writer": ("BEGIN IMMEDIATE",),
    "one that excludes": ("BEGIN EXCLUSIVE",),
    "one that changed something": ("BEGIN IMMEDIATE", "DELETE FROM calls"),
}


@contextmanager
def locked(home: Home, how: tuple[str, ...]) -> Iterator[None]:
    """Another process would do what this connection does: SQLite's locks do not tell them apart."""
    with closing(sqlite3.connect(home.path / "run" / "records.sqlite", isolation_level=None, timeout=10)) as other:
        for statement in how:
            other.execute(statement)
        yield
        other.rollback()


async def recorded_again(session: Session, result: Result) -> None:
    """Return once nothing is said any more of what is not recorded."""
    with anyio.fail_after(60):
        number = result.facts["execution_id"]
        while "not being recorded" in (await session.call("kernel_output", execution_id=number)).text:
            pass


@pytest.mark.parametrize("how", LOCKS.values(), ids=LOCKS)
async def test_locked_records_hold_up_nobody_and_are_written_when_they_can_be(home: Home, how: tuple[str, ...]) -> None:
    async with home.client() as session, home.client() as other:
        await session.run("x = 41")
        with locked(home, how):
            first, theirs = await asyncio.gather(session.run("x += 1\nx"), other.call("kernel_history"))
            assert first.text.endswith("42")
            assert "x = 41" in theirs.text
            assert "not being recorded" in first.text
            assert (await other.run("x += 1\nx")).text.endswith("43")
            assert [entry["code"] for entry in (await session.call("kernel_history")).facts["entries"]][
                -1
            ] == "x += 1\nx"

        await recorded_again(session, first)
        home.kill_daemon()
        codes = [entry["code"] for entry in (await session.call("kernel_history")).facts["entries"]]
        assert codes == ["x = 41", "x += 1\nx", "x += 1\nx"]
        assert (await session.run("x")).text.endswith("43")


async def test_a_daemon_starts_while_its_records_are_locked(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with locked(home, LOCKS["one that excludes"]):
            home.kill_daemon()
            again = await session.run("x += 1\nx")
            assert again.text.endswith("42")
            assert "not being recorded" in again.text

        await recorded_again(session, again)
        assert [each["code"] for each in (await session.call("kernel_history")).facts["entries"]] == [
            "x = 41",
            "x += 1\nx",
        ]


def _replace(run: Path) -> None:
    for path in run.glob("records*"):
        path.unlink()
    (run / "records.sqlite").write_text("nothing of ours\n" * 500)


def _replace_by_folder(run: Path) -> None:
    for path in run.glob("records*"):
        path.unlink()
    (run / "records.sqlite").mkdir()
    (run / "records.sqlite/something").touch()


SPOILED: dict[str, Callable[[Path], object]] = {
    "its log removed": lambda run: (run / "records.sqlite-wal").unlink(),
    "something else in its place": _replace,
    "a folder in its place": _replace_by_folder,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
async def test_a_database_that_others_spoil_is_written_again(home: Home, spoil: Callable[[Path], object]) -> None:
    """What is committed stands in the database's log for a while: without it, the file knows of no kernel."""
    async with home.client() as session:
        await session.run("x = 41")
        spoil(home.path / "run")
        await recorded_again(session, await session.run("x += 1"))
        home.kill_daemon()
        assert (await session.run("x")).text.endswith("42")
        assert [each["code"] for each in (await session.call("kernel_history")).facts["entries"]] == [
            "x = 41",
            "x += 1",
            "x",
        ]


def _replace_by_pipe(run: Path) -> None:
    for path in run.glob("records*"):
        path.unlink()
    os.mkfifo(run / "records.sqlite")


@pytest.mark.parametrize("spoil", [_replace_by_folder, _replace_by_pipe], ids=["a folder", "a pipe"])
async def test_a_daemon_starts_where_no_file_stands_in_the_place_of_its_records(
    home: Home, spoil: Callable[[Path], object]
) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with home.no_daemon():
            spoil(home.path / "run")
        again = await session.run("x + 1")
        assert again.text.endswith("42")
        await recorded_again(session, again)
        home.kill_daemon()
        assert [each["code"] for each in (await session.call("kernel_history")).facts["entries"]] == ["x = 41", "x + 1"]


class Behind(NamedTuple):
    """A cell that runs until its gate opens."""

    session: Session
    gate: Path
    first: int


def waiting_for(gate: Path) -> str:
    """Code that runs until a gate is there."""
    return f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"


async def codes_of(session: Session) -> list[str]:
    return [entry["code"] for entry in (await session.call("kernel_history")).facts["entries"]]


async def test_locks_that_come_and_go_between_calls_cost_no_entry_and_no_order(home: Home) -> None:
    ran = ["x = 0"]
    async with home.client() as session, home.client() as other:
        await session.run(ran[0])
        for how in (*LOCKS.values(), *LOCKS.values()):
            for is_locked in (True, False):
                with locked(home, how) if is_locked else nullcontext():
                    ran.append(f"x += 1  # {len(ran)}")
                    last = await session.run(ran[-1])
                    assert (await other.call("kernel_history")).facts["entries"][-1]["code"] == ran[-1]
        await recorded_again(session, last)
        home.kill_daemon()
        assert await codes_of(session) == ran
        assert (await session.run("x")).text.endswith(str(len(ran) - 1))


async def test_a_cell_that_began_before_a_lock_and_outlives_a_daemon_under_it_is_there_once(home: Home) -> None:
    gate = home.project / "gate"
    waiting = f"{waiting_for(gate)}\nx += 1\nx"
    async with home.client() as session:
        await session.run("x = 41")
        begun = await session.run(waiting, timeout=0.1)
        with locked(home, LOCKS["one that excludes"]):
            home.kill_daemon()
            assert "x = 41" in await codes_of(session)
            gate.touch()
            ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
            assert "42" in ended.text
        await recorded_again(session, ended)
        home.kill_daemon()
        assert await codes_of(session) == ["x = 41", waiting]
        assert (await session.run("x")).text.endswith("42")


@pytest.fixture
async def behind(home: Home) -> AsyncIterator[Behind]:
    """A cell that runs until its gate opens, and a session whose next cells are queued behind it."""
    gate = home.project / "gate"
    async with home.client() as session:
        await session.run("x = 41")
        begun = await session.run(waiting_for(gate), timeout=0.1)
        yield Behind(session, gate, begun.facts["execution_id"])


async def test_what_was_called_off_under_a_lock_is_run_by_no_daemon_after_it(home: Home, behind: Behind) -> None:
    session, gate, first = behind
    queued = (await session.run("x += 1", timeout=0.1)).facts
    assert queued["status"] == "queued"
    with locked(home, LOCKS["one that excludes"]):
        stopped = await session.call("kernel_interrupt", execution_id=queued["execution_id"])
        assert "not run" in stopped.text
        home.kill_daemon()
    for _ in range(2):
        assert "x += 1" in await codes_of(session)
        home.kill_daemon()
    gate.touch()
    await session.call("kernel_output", execution_id=first, wait=60)
    with anyio.fail_after(60):
        while (found := await session.call("kernel_output", execution_id=queued["execution_id"], wait=1)).facts[
            "status"
        ] == "queued":
            pass
    assert found.facts["status"] == "lost"
    assert (await session.run("x")).text.endswith("41")
    gate.unlink()
    await session.run(waiting_for(gate), timeout=0.1)
    later = (await session.run("x = 50", timeout=0.1)).facts["execution_id"]
    home.kill_daemon()
    assert "x = 50" in await codes_of(session)
    gate.touch()
    await session.call("kernel_output", execution_id=later, wait=60)
    assert (await session.run("x")).text.endswith("50"), "what came later is carried on as always"


async def test_what_is_queued_under_a_lock_is_run_once_for_a_client_that_waits(home: Home, behind: Behind) -> None:
    session, gate, first = behind
    async with anyio.create_task_group() as tasks:
        results: list[Result] = []

        async def wait() -> None:
            results.append(await session.run("x += 1\nx"))

        tasks.start_soon(wait)
        async with home.client() as other:
            with anyio.fail_after(60):
                while "x += 1\nx" not in await codes_of(other):
                    pass
            with locked(home, LOCKS["one that excludes"]):
                seen = await other.run("'another session'", session="another")
                assert "not being recorded" in seen.text
                home.kill_daemon()
            gate.touch()
            await other.call("kernel_output", execution_id=first, wait=60)
    assert results[0].text.endswith("42"), results[0].text
    assert (await session.run("x")).text.endswith("42")


async def test_what_waits_for_its_client_after_a_lock_can_be_called_off_by_another_one(
    home: Home, behind: Behind
) -> None:
    session, gate, first = behind
    shim = psutil.Process(shim_pid(home))
    async with home.client() as other, anyio.create_task_group() as tasks:
        results: list[Result] = []

        async def wait() -> None:
            results.append(await session.call("kernel_exec", code="x += 1"))

        tasks.start_soon(wait)
        with anyio.fail_after(60):
            while "x += 1" not in await codes_of(other):
                pass
        queued = (await other.call("kernel_history")).facts["entries"][-1]["execution_id"]
        with locked(home, LOCKS["one that excludes"]):
            seen = await other.run("'another session'", session="another")
            assert "not being recorded" in seen.text
            shim.suspend()
            home.kill_daemon()
        try:
            stopped = await other.call("kernel_interrupt", execution_id=queued)
            assert "over already" not in stopped.text
        finally:
            shim.resume()
        gate.touch()
        await other.call("kernel_output", execution_id=first, wait=60)
    assert results[0].facts["status"] == "lost", results[0].text
    assert (await session.run("x")).text.endswith("41")


async def test_no_session_is_forgotten_while_that_cannot_be_recorded(home: Home) -> None:
    async with home.client() as session:
        await session.run("print('kept')")
        assert home.cli("kill", "--all").returncode == 0
        with locked(home, LOCKS["one that excludes"]):
            refused = home.cli("forget", "-y", "project/")
            assert refused.returncode == 1
            assert "nothing was done" in refused.stderr
            home.kill_daemon()
        assert "kept" in (await session.call("kernel_output", execution_id=1)).text
        assert home.cli("forget", "-y", "project/").returncode == 0
        home.kill_daemon()
        assert await codes_of(session) == []


async def test_a_reader_that_holds_on_to_what_was_before_keeps_nothing_from_being_recorded(home: Home) -> None:
    """The log of the database cannot be taken over into its file for as long."""
    async with home.client() as session:
        await session.run("x = 0")
        with locked(home, ("BEGIN", "SELECT count(*) FROM executions")):
            for number in range(12):
                told = await session.run(f"x += 1  # {number} {'wide ' * 20_000}")
                assert "not being recorded" not in told.text
            home.kill_daemon()
            assert len(await codes_of(session)) == 13
        home.kill_daemon()
        assert len(await codes_of(session)) == 13
        assert (await session.run("x")).text.endswith("12")


@pytest.mark.parametrize("checkpoint", [False, True], ids=["read", "taken over"])
async def test_records_whose_index_was_removed_are_whole_after_others_opened_them(home: Home, checkpoint: bool) -> None:
    """Whoever opens them then knows nothing of the daemon's locks, and removes the database's log in the end."""
    async with home.client() as session:
        await session.run("x = 41")
        (home.path / "run/records.sqlite-shm").unlink()
        await session.run("x += 1")
        with closing(sqlite3.connect(home.path / "run/records.sqlite", timeout=10)) as other:
            other.execute("SELECT count(*) FROM executions").fetchone()
            if checkpoint:
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        await session.run("x += 2")
        await recorded_again(session, await session.run("x += 3"))
        home.kill_daemon()
        assert await codes_of(session) == ["x = 41", "x += 1", "x += 2", "x += 3"]
        assert (await session.run("x")).text.endswith("47")


async def test_records_that_cannot_even_be_read_at_a_daemons_start_are_named_and_nothing_is_begun(home: Home) -> None:
    async with home.client() as session:
        await session.run("x = 41")
        with home.no_daemon():
            other = sqlite3.connect(home.path / "run/records.sqlite", isolation_level=None, timeout=10)
            for statement in ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "DELETE FROM calls"):
                other.execute(statement)
        with closing(other), pytest.raises(MCPError, match=r"records .* cannot be opened: database is locked\n"):
            await session.call("kernel_exec", code="x = 'lost'")
        await session.run("x += 1")
        assert await codes_of(session) == ["x = 41", "x += 1"]
        assert (await session.run("x")).text.endswith("42")
