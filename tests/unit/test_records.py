"""What is asked of the records in SQL is what the whole history says, however long it is."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_supervisor.core.model import Execution, ExecutionId, KernelId, SessionName, SessionRecord
from kernel_supervisor.records.database import Database

SESSION = SessionRecord(name=SessionName("work/"), directory="/work")
ENTRIES = st.lists(
    st.builds(
        Execution,
        id=st.just(ExecutionId(0)),
        session=st.sampled_from([SESSION.name, SessionName("other/")]),
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


async def _recorded(path: Path, entries: list[Execution]) -> Database:
    records = Database(str(path))
    await records.open()
    await records.save_session(SESSION)
    await records.save_session(replace(SESSION, name=SessionName("other/"), directory="/other"))
    for entry in entries:
        await records.add_execution(entry, None, None)
    return records


@given(ENTRIES, st.text(alphabet="AÄaß1\n", max_size=2), st.integers(1, 5))
@settings(max_examples=60)
def test_a_filter_finds_what_contains_it_whatever_the_case_and_the_last_of_that(
    entries: list[Execution], part: str, last: int
) -> None:
    async def check(path: Path) -> None:
        records = await _recorded(path, entries)
        history = await records.history(SESSION.name)
        wanted = [entry for entry in history if part.lower() in entry.source.lower()]
        assert await records.history(SESSION.name, last=last, containing=part) == wanted[-last:]
        await records.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder, "records.sqlite")))


@given(ENTRIES, st.sets(st.integers(1, 5), max_size=4))
@settings(max_examples=60)
def test_execution_counts_lead_to_their_executions_and_the_last_good_ones_are_of_one_generation(
    entries: list[Execution], counts: set[int]
) -> None:
    async def check(path: Path) -> None:
        records = await _recorded(path, entries)
        history = await records.history(SESSION.name)
        one = [entry for entry in history if (entry.kernel_id, entry.generation) == (KernelId("one"), 1)]
        expected = {entry.execution_count: entry.id for entry in one if entry.execution_count in counts}
        assert await records.cells(SESSION.name, KernelId("one"), 1, counts) == expected
        good = [each for each in history if each.kind == "code" and each.status == "ok" and each.kernel_id]
        latest = [(each.kernel_id, each.generation) for each in good[-1:]]
        assert await records.last_good(SESSION.name) == [e for e in good if [(e.kernel_id, e.generation)] == latest]
        await records.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check(Path(folder, "records.sqlite")))
