"""What is asked of the records in SQL is what the whole history says, however long it is."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core.model import Execution, ExecutionId, KernelId, SessionName, SessionRecord
from kernel_supervisor.records.database import Database

OURS, OTHER = "work", "other"
NUMBERS = itertools.count()
ENTRIES = st.lists(
    st.builds(
        Execution,
        id=st.just(ExecutionId(0)),
        session=st.sampled_from([SessionName(OURS), SessionName(OTHER)]),
        kind=st.sampled_from(["code", "note"]),
        source=st.text(alphabet="aÄäẞß1 \n", max_size=4),
        status=st.sampled_from(["ok", "error", "aborted"]),
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


@given(ENTRIES, st.text(alphabet="AÄaß1\n", max_size=2), st.integers(1, 5))
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
