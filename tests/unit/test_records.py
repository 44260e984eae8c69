"""What is asked of the records in SQL is what the whole history says, however long it is."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core.model import Beside, Execution, ExecutionId, KernelId, SessionName, SessionRecord
from kernel_supervisor.records.database import Database
from tests.fake_kernel import record

OURS, OTHER = "work", "other"
NUMBERS = itertools.count()
LETTERS = 'aAÄäẞß1*" \n'
KERNEL = record(Path("/nowhere"))
ENTRIES = st.lists(
    st.builds(
        Execution,
        id=st.just(ExecutionId(0)),
        session=st.sampled_from([SessionName(OURS), SessionName(OTHER)]),
        kind=st.sampled_from(["code", "note"]),
        source=st.text(alphabet=LETTERS, max_size=12),
        status=st.sampled_from(["ok", "error", "interrupted", "aborted"]),
        kernel_id=st.sampled_from([None, KernelId("one"), KernelId("two")]),
        generation=st.integers(1, 2),
        execution_count=st.none() | st.integers(1, 4),
        client=st.just("test"),
        queued_at=st.just(1.0),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Records that all examples share: each has sessions of its own."""
    database = Database(str(tmp_path_factory.mktemp("records") / "records.sqlite"))
    asyncio.run(database.open())
    yield database
    asyncio.run(database.close())


async def _session(records: Database, entries: list[Execution]) -> SessionName:
    """The name of a session with those entries that are ours, beside another with those that are not."""
    number = next(NUMBERS)
    names = {name: SessionName(f"{name}/{number}") for name in (OURS, OTHER)}
    for name, session in names.items():
        await records.save_session(SessionRecord(name=session, directory=f"/{name}"))
    for entry in entries:
        await records.add_execution(replace(entry, session=names[entry.session]), None, None)
    return names[OURS]


@given(ENTRIES, st.text(alphabet=LETTERS, max_size=4), st.integers(1, 5))
def test_a_filter_finds_what_contains_it_whatever_the_case_and_the_last_of_that(
    records: Database, entries: list[Execution], part: str, last: int
) -> None:
    async def check() -> None:
        session = await _session(records, entries)
        history = await records.history(session)
        wanted = [entry for entry in history if part.lower() in entry.source.lower()]
        assert await records.history(session, last=last, containing=part) == wanted[-last:]

    asyncio.run(check())


@given(ENTRIES, st.sets(st.integers(1, 5), max_size=4))
def test_execution_counts_lead_to_their_executions_and_the_last_good_ones_are_of_one_generation(
    records: Database, entries: list[Execution], counts: set[int]
) -> None:
    async def check() -> None:
        session = await _session(records, entries)
        history = await records.history(session)
        one = [entry for entry in history if (entry.kernel_id, entry.generation) == (KernelId("one"), 1)]
        expected = {entry.execution_count: entry.id for entry in one if entry.execution_count in counts}
        assert await records.cells(session, KernelId("one"), 1, counts) == expected
        good = [each for each in history if each.kind == "code" and each.status == "ok" and each.kernel_id]
        latest = [(each.kernel_id, each.generation) for each in good[-1:]]
        assert await records.last_good(session) == [e for e in good if [(e.kernel_id, e.generation)] == latest]

    asyncio.run(check())


@given(ENTRIES, st.integers(0, 14), st.integers(0, 14), st.integers(0, 11), st.booleans())
def test_a_part_of_a_history_is_what_stands_from_one_of_its_entries_to_another(
    records: Database, entries: list[Execution], begin: int, end: int, at: int, before: bool
) -> None:
    async def check() -> None:
        session = await _session(records, entries)
        for entry in (await records.history(session))[at : at + 1]:  # places and ids do not always rise together
            await records.add_execution(replace(entry, kind="note"), None, Beside(entry=entry.id, before=before))
            await records.add_execution(replace(entry, replaces=entry.id), None, None)
        history = await records.history(session)
        first, last = ((history[each].id if each < len(history) else None) for each in (begin, end))
        expected = history[begin if first is not None else 0 : end + 1 if last is not None else None]
        assert await records.history(session, begin=first, end=last) == expected
        assert await records.history(session, begin=ExecutionId(10**9)) == []

    asyncio.run(check())


ASKED: dict[str, Callable[[Database, SessionName, int], Awaitable[Any]]] = {
    "the last": lambda records, name, count: records.history(name, last=20),
    "the last that contain": lambda records, name, count: records.history(name, last=20, containing="cell"),
    "the one that contains": lambda records, name, count: records.history(name, last=20, containing="Cell 7!"),
    "a part": lambda records, name, count: records.history(name, begin=ExecutionId(count - 9)),
    "cells": lambda records, name, count: records.cells(name, KERNEL.id, 1, {count - 1, count}),
    "over": lambda records, name, count: records.settled_on(KERNEL, 20),
    "unsettled": lambda records, name, count: records.unsettled(),
    "replaced": lambda records, name, count: records.replaced(name),
    "of a call": lambda records, name, count: records.entries_of_call("other:"),
    "one": lambda records, name, count: records.execution(count),
    "one more": lambda records, name, count: records.add_execution(_cell(name, count), "more", None),
}


def _cell(session: SessionName, number: int) -> Execution:
    cell = Execution(id=ExecutionId(0), session=session, kind="code", source=f"cell {number}!", status="ok")
    return replace(cell, kernel_id=KERNEL.id, generation=1, execution_count=number)


async def _steps(path: Path, count: int) -> dict[str, int]:
    """How many instructions SQLite takes for what is asked of a session with so many entries."""
    records, name = Database(str(path)), SessionName("work/")
    await records.open()
    await records.save_session(SessionRecord(name=name, directory="/work"))
    numbers = range(1, count + 1)
    await records.add_executions([_cell(name, number) for number in numbers], [f"call:{number}" for number in numbers])
    steps = dict.fromkeys(ASKED, 0)
    for title, ask in ASKED.items():

        def step(title: str = title) -> None:
            steps[title] += 1

        records._db.set_progress_handler(step, 1)
        await ask(records, name, count)
    records._db.set_progress_handler(None, 0)
    await records.close()
    return steps


def test_what_is_asked_of_a_long_history_costs_what_it_costs_of_a_short_one(tmp_path: Path) -> None:
    short = asyncio.run(_steps(tmp_path / "short.sqlite", 100))
    long = asyncio.run(_steps(tmp_path / "long.sqlite", 2_000))
    assert all(short.values())
    assert {title: steps for title, steps in long.items() if steps > 1.3 * short[title]} == {}


def test_a_rare_part_is_found_in_what_a_version_without_an_index_added_and_no_more_once_it_is_forgotten(
    tmp_path: Path,
) -> None:
    async def check() -> None:
        path, names = tmp_path / "records.sqlite", [SessionName(f"work/{word}") for word in ("", "other")]
        records = Database(str(path))
        await records.open()
        for name in names:
            await records.save_session(SessionRecord(name=name, directory="/work"))
            await records.add_execution(_cell(name, 1), None)
        await records.close()
        with sqlite3.connect(path) as older:
            older.execute("INSERT INTO sources (sources) VALUES ('delete-all')")
            older.execute("UPDATE executions SET source = 'the needle' WHERE id = 1")
        older.close()
        records = Database(str(path))
        await records.open()
        assert [each.id for each in await records.history(names[0], containing="Needle")] == [1]
        await records.forget_session(names[0])
        indexed = "SELECT rowid FROM sources WHERE sources MATCH ?"
        assert await records.select(indexed, ["cel"]) == [(2,)]
        assert await records.select(indexed, ["nee"]) == []
        await records.close()

    asyncio.run(check())


def test_what_was_interrupted_is_an_error_to_earlier_versions_and_stays_interrupted_after_them(tmp_path: Path) -> None:
    async def check() -> None:
        path, session = tmp_path / "records.sqlite", SessionName(OURS)
        records = Database(str(path))
        await records.open()
        entry = replace(_cell(session, 1), status="interrupted", reason="interrupted by a client")
        kept = (await records.add_execution(entry, None, None))[0]
        await records.close()
        with sqlite3.connect(path) as earlier:  # which knows neither the word nor the column
            assert earlier.execute("SELECT status FROM executions").fetchall() == [("error",)]
            earlier.execute("UPDATE executions SET status = 'error', log_end = 7")
        earlier.close()
        records = Database(str(path))
        await records.open()
        assert await records.execution(kept.id) == kept
        await records.close()

    asyncio.run(check())
