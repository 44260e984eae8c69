"""Promise: a warm call asks no thread for what takes microseconds; whoever has to wait for a disk waits in one."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor import tasks
from kernel_supervisor.core.model import Execution, ExecutionId, Message, Region, SessionName
from kernel_supervisor.records.database import Database
from kernel_supervisor.records.messagelog import Entry, MessageLogWriter, encode_message
from kernel_supervisor.records.stream import Stream
from kernel_supervisor.running import reading
from kernel_supervisor.running.earlier import Earlier
from kernel_supervisor.running.reader import Reader
from kernel_supervisor.tasks import Swift

pytestmark = pytest.mark.anyio
SESSION = SessionName("work/")


@pytest.fixture(autouse=True)
def swift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing takes long here, however busy the machine is."""
    monkeypatch.setattr(tasks, "_LONG_S", 30.0)


class Threads:
    """How often a thread was asked for anything."""

    def __init__(self) -> None:
        self.asked = 0


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    counted = Threads()
    submit = ThreadPoolExecutor.submit

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        counted.asked += 1
        return submit(self, *args, **kwargs)

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", counting)
    return counted


def entry(number: int) -> Execution:
    return Execution(
        id=ExecutionId(0),
        session=SESSION,
        kind="code",
        source=f"x = {number}",
        status="queued",
        kernel_id=None,
        client="test",
        queued_at=float(number),
    )


async def opened(folder: Path) -> Database:
    records = Database(str(folder / "records.sqlite"))
    await records.open()
    return records


async def test_what_a_call_commits_needs_no_thread(tmp_path: Path, threads: Threads) -> None:
    records = await opened(tmp_path)
    threads.asked = 0
    added, _ = await records.add_execution(entry(1), "client:1")
    await records.save_execution(replace(added, status="ok"))
    assert threads.asked == 0
    assert [each.status for each in await records.history(SESSION)] == ["ok"]
    assert threads.asked == 1, "what is looked for in a history may take long"
    await records.close()


async def test_commits_stand_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    records, begun, goes_on = await opened(tmp_path), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        goes_on.wait()

    first = asyncio.create_task(records.run(work))
    await asyncio.wait_for(begun.wait(), 60)
    others = [asyncio.create_task(records.add_execution(entry(number), f"client:{number}")) for number in range(5)]
    first.cancel()  # who asked is gone, the thread works on
    await asyncio.sleep(0)
    late = asyncio.create_task(records.add_execution(entry(5), "client:5"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(each.done() for each in (*others, late))
    goes_on.set()
    assert [(await each)[0].id for each in (*others, late)] == [1, 2, 3, 4, 5, 6]
    await records.close()


async def test_a_lock_of_another_process_holds_up_no_one_else(tmp_path: Path) -> None:
    records = await opened(tmp_path)
    with closing(sqlite3.connect(tmp_path / "records.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        adding = asyncio.create_task(records.add_execution(entry(1), "client:1"))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not adding.done(), "the loop went on, and this waits"
        other.rollback()
    assert (await adding)[0].id == 1
    assert not records.not_recorded
    await records.close()


async def test_a_commit_that_fails_at_its_end_is_made_once(tmp_path: Path) -> None:
    """Where SQLite keeps no log, as on some disks, those who read are waited for as a commit ends."""
    records = await opened(tmp_path)
    await records.run(lambda: records._db.execute("PRAGMA journal_mode = DELETE").fetchall())
    with closing(sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM executions").fetchone()
        adding = asyncio.create_task(records.add_execution(entry(1), "client:1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        other.execute("ROLLBACK")
    added, fresh = await adding
    assert (added.id, fresh) == (1, True)
    assert len(await records.history(SESSION)) == 1
    await records.close()


async def test_the_log_of_the_records_does_not_grow_for_ever(tmp_path: Path) -> None:
    records, log = await opened(tmp_path), tmp_path / "records.sqlite-wal"
    sizes = []
    for number in range(1_200):
        await records.add_execution(entry(number), f"client:{number}")
        sizes.append(log.stat().st_size)
        if number % 50 == 0:
            await records.run(lambda: None)
    assert max(sizes[800:]) <= 1.5 * max(sizes[:400])
    await records.close()
    with closing(sqlite3.connect(tmp_path / "records.sqlite")) as found:
        assert found.execute("SELECT count(*) FROM executions").fetchone() == (1_200,)


def record_of(text: str, parent: str = "p") -> bytes:
    header = {"msg_id": "m", "msg_type": "stream", "username": "", "session": "s", "date": "", "version": "5"}
    content = {"name": "stdout", "text": text}
    message = {"header": header, "parent_header": {"msg_id": parent}, "metadata": {}, "content": content}
    return encode_message("iopub", message)


class Reading:
    """A reader of a log that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "k.messages"
        self.writer = MessageLogWriter(self.log)
        self.taken: list[Entry] = []
        self.stream = Stream(str(self.log))
        self.reader = Reader(self.stream, self.take, self.take_heard, lambda: True, "a reader")

    async def take(self, found: Entry) -> None:
        self.taken.append(found)

    async def take_heard(self, message: Message) -> None:
        raise AssertionError(message)


async def test_the_next_records_of_a_log_are_read_without_a_thread_and_many_with_one(
    tmp_path: Path, threads: Threads
) -> None:
    log = Reading(tmp_path)
    log.reader.begin(0)
    await log.reader.caught_up.wait()
    threads.asked = 0
    for number in range(1, 4):
        log.writer.append(record_of("little"))
        await log.reader.to_end()
        assert len(log.taken) == number
    assert threads.asked == 0
    for _ in range(3):
        log.writer.append(record_of("much" * 20_000))
    await log.reader.to_end()
    assert len(log.taken) == 6
    assert threads.asked > 0
    await log.reader.close()


async def test_a_log_that_was_cut_off_or_is_torn_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    log = Reading(tmp_path)
    log.writer.append(record_of("one"))
    log.writer.append(record_of("two"))
    log.reader.begin(0)
    await log.reader.caught_up.wait()
    whole = record_of("three")
    log.writer.append(whole[:20])
    await log.reader.to_end()
    assert len(log.taken) == 2
    log.writer.append(whole[20:])
    await log.reader.to_end()
    assert len(log.taken) == 3
    log.log.write_bytes(record_of("anew"))
    await log.reader.to_end()
    assert len(log.taken) == 4
    log.log.unlink()
    await asyncio.wait_for(log.reader.to_end(), 30)
    assert len(log.taken) == 4
    await log.reader.close()


async def test_what_little_a_cell_has_shown_is_folded_without_a_thread(tmp_path: Path, threads: Threads) -> None:
    log = Reading(tmp_path)
    log.writer.append(record_of("shown"))
    region = Region(log=str(log.log), start=0, end=log.log.stat().st_size)
    over = replace(entry(1), status="ok", msg_id="p", region=region)  # type: ignore[arg-type]
    found = await reading.folded(over, (), Earlier(), without_outputs=False)
    assert [each["text"] for each in found.outputs] == ["shown"]
    assert threads.asked == 0
    log.writer.append(record_of("x" * 100_000))
    over = replace(over, region=replace(region, end=log.log.stat().st_size))
    await reading.folded(over, (), Earlier(), without_outputs=False)
    assert threads.asked == 1


async def test_what_took_long_once_is_done_apart_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    swift = Swift()
    assert swift.is_swift
    assert swift.do(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        swift.do(lambda: 1 / 0)
    assert swift.is_swift
    monkeypatch.setattr(tasks, "_LONG_S", 0.02)
    swift.do(lambda: time.sleep(0.1))
    assert not swift.is_swift
