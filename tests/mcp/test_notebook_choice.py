"""Promise: a part of the session can be saved, in the look that is asked for, and the client hears how it goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.nbf import nbformat
from tests.support import Home, Session

pytestmark = pytest.mark.anyio


def _sources(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells]


async def _session_of_four(session: Session) -> list[int]:
    codes = ("one = 1", "one / 0", "two = 2", "three = 3")
    return [(await session.run(code)).facts["execution_id"] for code in codes]


async def test_part_of_the_session_is_chosen_by_success_or_by_entries(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        numbers = await _session_of_four(session)
        for name, arguments, expected in (
            ("ok", {"only": "ok"}, ["one = 1", "two = 2", "three = 3"]),
            ("from", {"first": numbers[1]}, ["one / 0", "two = 2", "three = 3"]),
            ("to", {"last": numbers[1]}, ["one = 1", "one / 0"]),
            ("between", {"first": numbers[1], "last": numbers[2], "only": "ok"}, ["two = 2"]),
        ):
            saved = await session.call("kernel_save_notebook", path=name, **arguments)
            assert not saved.is_error, saved.text
            assert _sources(desk.project / f"{name}.ipynb") == expected
        refused = await session.call("kernel_save_notebook", path="none", first=numbers[2], last=numbers[1])
        assert refused.is_error
        assert "swap them" in refused.text
        refused = await session.call("kernel_save_notebook", path="none", first=10**6)
        assert "no execution 1000000" in refused.text
    assert not (desk.project / "none.ipynb").exists()


async def test_themes_differ_and_unknown_ones_are_refused(desk: Home) -> None:
    async with desk.client() as session:
        await session.run("x = 1")
        for theme in ("light", "dark"):
            saved = await session.call("kernel_save_notebook", path=theme, save_html=True, theme=theme)
            assert saved.facts["failures"] == []
        refused = await session.call("kernel_save_notebook", path="pink", theme="pink")
        engine = await session.call("kernel_save_notebook", path="pink", save_pdf=True, pdf_engine="pen")
    light, dark = ((desk.project / f"{theme}.html").read_text() for theme in ("light", "dark"))
    assert 'data-jp-theme-light="true"' in light
    assert 'data-jp-theme-light="false"' in dark
    assert refused.is_error
    assert engine.is_error
    assert "'light' or 'dark'" in refused.text
    assert "typst" in engine.text
    assert not (desk.project / "pink.ipynb").exists()


async def test_pdf_engine_is_named_and_a_failed_export_leaves_the_notebook(desk: Home) -> None:
    async with desk.client(env={"PATH": ""}) as session:
        await session.run("x = 1")
        saved = await session.call("kernel_save_notebook", path="n", save_pdf=True, pdf_engine="typst")
    assert not saved.is_error, saved.text
    assert _sources(desk.project / "n.ipynb") == ["x = 1"]
    assert bool(saved.facts["exports"]) != bool(saved.facts["failures"])
    assert "typst" in saved.text


async def test_export_says_how_it_goes_while_the_session_goes_on(desk: Home, era: str) -> None:
    heard: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message or ""))

    async with desk.client(era) as session:
        await session.run("x = 1")
        arguments: dict[str, Any] = {"path": "n", "save_html": True}
        await session.client.call_tool("kernel_save_notebook", arguments, progress_callback=hear)
    assert heard[0][1] == "writing the notebook"
    assert len(heard) > 1, "the export says what it does"
    assert [progress for progress, _ in heard] == sorted({progress for progress, _ in heard}), "it rises"
    assert (desk.project / "n.html").exists()


async def test_environment_and_restart_are_told_in_the_notebook(desk: Home) -> None:
    async with desk.client() as session:
        await session.run("x = 1")
        await session.call("kernel_restart")
        await session.run("x = 2")
        await session.call("kernel_save_notebook", path="n")
    notes = [source for source in _sources(desk.project / "n.ipynb") if source.startswith(">")]
    assert notes == ["> The kernel was restarted: its variables are gone."]


async def test_loading_is_a_tool_with_its_arguments_and_says_what_it_may_do(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        (tool,) = [tool for tool in (await session.client.list_tools()).tools if tool.name == "kernel_load_notebook"]
    assert tool.input_schema["required"] == ["path"]
    assert set(tool.input_schema["properties"]) == {"path", "run", "session"}
    assert tool.annotations is not None
    assert tool.annotations.destructive_hint
    assert tool.annotations.open_world_hint, "it runs code"
