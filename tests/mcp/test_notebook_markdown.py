"""Promise: text stands in the notebook where it was asked for, once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.notebooks_corpus.nbf import nbformat
from tests.support import Home, Session

pytestmark = pytest.mark.anyio


async def _sources(session: Session, path: Path) -> list[str]:
    saved = await session.call("kernel_save_notebook", path=str(path))
    assert not saved.is_error, saved.text
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells]


async def _history(session: Session) -> list[str]:
    return [entry["code"] for entry in (await session.call("kernel_history")).facts["entries"]]


async def test_text_stands_before_or_after_the_entry_it_names(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        numbers = [(await session.run(code)).facts["execution_id"] for code in ("one = 1", "two = 2", "three = 3")]
        await session.call("kernel_add_markdown", text="before two", before=numbers[1])
        await session.call("kernel_add_markdown", text="after two", after=numbers[1])
        first = await session.call("kernel_add_markdown", text="the very first", before=numbers[0])
        await session.call("kernel_add_markdown", text="the second", after=first.facts["execution_id"])
        await session.call("kernel_add_markdown", text="after three", after=numbers[2])
        await session.call("kernel_add_markdown", text="the end")
        await session.run("four = 4")
        expected = [
            *("the very first", "the second", "one = 1", "before two", "two = 2", "after two"),
            *("three = 3", "after three", "the end", "four = 4"),
        ]
        assert await _sources(session, desk.project / "n.ipynb") == expected
        assert await _history(session) == expected


async def test_a_hundred_texts_before_the_same_entry_stay_in_order(desk: Home) -> None:
    async with desk.client() as session:
        number = (await session.run("x = 1")).facts["execution_id"]
        for count in range(100):
            await session.call("kernel_add_markdown", text=f"text {count}", before=number)
        expected = [*(f"text {count}" for count in range(100)), "x = 1"]
        assert await _sources(session, desk.project / "n.ipynb") == expected


async def test_place_that_cannot_be_is_refused(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        here = (await session.run("here = 1")).facts["execution_id"]
        there = (await session.run("there = 1", session=f"elsewhere-{era}")).facts["execution_id"]
        for arguments, words in (
            ({"before": 10**6}, "there is no execution 1000000"),
            ({"after": there}, f"after: execution {there} is in session {desk.project.name}/elsewhere-{era}"),
            ({"before": here, "after": here}, "exclude each other"),
        ):
            refused = await session.call("kernel_add_markdown", text="lost", **arguments)
            assert refused.is_error
            assert words in refused.text
        assert await _history(session) == ["here = 1"]


async def test_formulas_tables_and_pictures_by_relative_path_survive(desk: Home) -> None:
    text = "# $\\int_0^1 x^2\\,dx$\n\n| a | b |\n|---|---|\n| 1 | `|` |\n\n![plot](plots/one.png)\n\n$$\\alpha\\\\$$"
    async with desk.client() as session:
        await session.call("kernel_add_markdown", text=text)
        assert await _sources(session, desk.project / "n.ipynb") == [text]


async def test_text_is_added_once_though_the_call_is_sent_to_two_daemons(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        number = shim.run("x = 1")["execution_id"]
        home.kill_daemon()
        for count in range(5):
            arguments = {"text": f"text {count}", "before": number}
            shim.send("tools/call", {"name": "kernel_add_markdown", "arguments": arguments}, id=f"text-{count}")
            daemon = home.daemon()
            with suppress(psutil.NoSuchProcess):  # it is the one that was killed before
                daemon.kill() if daemon is not None else None
        for count in range(5):
            assert not shim.answer(f"text-{count}")["result"]["isError"]
        entries = shim.call("kernel_history")["_meta"]["kernel-supervisor/result"]["entries"]
    assert sorted(entry["code"] for entry in entries[:-1]) == [f"text {count}" for count in range(5)]
    assert entries[-1]["code"] == "x = 1"
