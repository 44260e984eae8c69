"""`tasks`: what runs beside whoever began it is named, held, heard of, and over when its owner is."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from kernel_supervisor.tasks import Tasks, in_passing


async def _fail() -> None:
    raise ValueError("broken")


def test_a_failure_is_logged_under_the_name_of_its_task(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        tasks = Tasks()
        await asyncio.wait({tasks.begin(_fail(), "burial of kernel k")})
        await tasks.close()

    asyncio.run(run())
    assert [(record.message, str(record.exc_info and record.exc_info[1])) for record in caplog.records] == [
        ("burial of kernel k failed", "broken")
    ]


def test_a_failure_that_is_heard_of_is_raised_there_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        tasks = Tasks()
        with pytest.raises(ValueError, match="broken"):
            await asyncio.shield(tasks.begin(_fail(), "execute", awaited=True))
        await asyncio.wait({tasks.begin(_fail(), "execute, and its client is gone", awaited=True)})

    asyncio.run(run())
    gc.collect()  # where asyncio would say that nobody heard of it
    assert not caplog.records


@pytest.mark.parametrize(("patience_s", "ended"), [(0.0, "cancelled"), (60.0, "by itself")])
def test_closing_lets_tasks_end_by_themselves_for_a_while_and_cancels_the_rest(patience_s: float, ended: str) -> None:
    how: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0.05)
            how.append("by itself")
        except asyncio.CancelledError:
            how.append("cancelled")
            raise

    async def run() -> None:
        tasks = Tasks()
        tasks.begin(work(), "work")
        await asyncio.sleep(0)  # it is under way
        await tasks.close(patience_s)

    asyncio.run(run())
    assert how == [ended]


def test_a_task_that_does_not_end_is_named_and_not_waited_for(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_supervisor.tasks._END_S", 0.01)

    async def run() -> None:
        let_go = asyncio.Event()

        async def stubborn() -> None:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue

        tasks = Tasks()
        task = tasks.begin(stubborn(), "stubborn")
        await asyncio.sleep(0)
        await tasks.close()
        let_go.set()
        await task

    with caplog.at_level(logging.ERROR):
        asyncio.run(run())
    assert [record.message for record in caplog.records] == ["stubborn does not end"]


def test_what_is_kept_is_begun_again_each_time_that_it_fails(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    async def work() -> str:
        begun.append(len(begun))
        if len(begun) < 3:
            raise ValueError("broken")
        return "done"

    async def run() -> None:
        tasks = Tasks()
        assert await tasks.keep(work, "reader") == "done"
        await tasks.close()

    monkeypatch.setattr("kernel_supervisor.tasks._AGAIN_S", 0.01)
    asyncio.run(run())
    assert begun == [0, 1, 2]
    assert [record.message for record in caplog.records] == ["reader failed, and is begun again"] * 2


def test_what_is_kept_ends_when_its_owner_does() -> None:
    async def run() -> None:
        tasks = Tasks()
        task = tasks.keep(_fail, "reader")
        await asyncio.sleep(0)
        await tasks.close()
        assert task.cancelled()

    asyncio.run(run())


async def _advise(within_s: float) -> list[str]:
    await asyncio.sleep(within_s)
    return ["advice"]


def test_what_is_said_in_passing_costs_nobody_more_where_it_fails_or_takes_long(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> list[object]:
        return [
            await in_passing(_advise(0), "advice", [], 60),
            await in_passing(_advise(1000), "advice", [], 0.01),
            await in_passing(_fail(), "looking", [], 60),
        ]

    assert asyncio.run(run()) == [["advice"], [], []]
    assert [record.message for record in caplog.records] == ["advice was given up after 0.01 s", "looking failed"]
