"""Promise: the session can be had as a notebook, where the client wants it, and nobody's file is overwritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.support import Home

pytestmark = pytest.mark.anyio


def _read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]  # it has no types
    nbformat.validate(notebook)
    return notebook


async def test_a_saved_notebook_has_code_markdown_outputs_and_images_in_order(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41\nprint('counted')\nx + 1")
        await session.call("kernel_add_markdown", text="## A plot")
        await session.run("import matplotlib.pyplot as plt; plt.plot([1, 3, 2]);")
        await session.run("1 / 0")
        saved = await session.call("kernel_save_notebook", path="out/analysis.ipynb", save_html=True)
    assert not saved.is_error, saved.text
    path = desk.project / "out/analysis.ipynb"
    assert Path(saved.facts["path"]) == path.resolve()
    assert saved.facts["failures"] == []
    notebook = _read(path)
    assert [cell.cell_type for cell in notebook.cells] == ["code", "markdown", "code", "code"]
    counted, markdown, plot, raised = notebook.cells
    assert counted.source == "x = 41\nprint('counted')\nx + 1"
    assert counted.execution_count == 1
    assert [output.output_type for output in counted.outputs] == ["stream", "execute_result"]
    assert markdown.source == "## A plot"
    assert "image/png" in plot.outputs[0].data
    assert raised.outputs[0].ename == "ZeroDivisionError"
    html = path.with_suffix(".html").read_text().partition("<body")[2]
    positions = [html.index(part) for part in ("counted", "A plot", "data:image/png;base64", "ZeroDivisionError")]
    assert positions == sorted(positions)


async def test_relative_paths_start_in_the_clients_directory_not_the_kernels(desk: Home, era: str) -> None:
    below = desk.project / "below"
    below.mkdir()
    named = {"CLAUDE_PROJECT_DIR": str(desk.project)}
    async with desk.client(era, cwd=below, env=named) as session:
        await session.run("import os; os.chdir('/')")
        saved = await session.call("kernel_save_notebook", path="deep/er/analysis")
    assert Path(saved.facts["path"]) == (below / "deep/er/analysis.ipynb").resolve()
    assert len(_read(below / "deep/er/analysis.ipynb").cells) == 1


async def test_a_path_that_ends_in_html_asks_for_html(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("'the value'")
        saved = await session.call("kernel_save_notebook", path="report.v2.html")
    assert Path(saved.facts["path"]) == (desk.project / "report.v2.ipynb").resolve()
    assert "the value" in (desk.project / "report.v2.html").read_text()
    assert not list(desk.project.glob("*.html.ipynb"))


async def test_a_file_of_somebody_elses_is_not_overwritten_unasked(desk: Home, era: str) -> None:
    path = desk.project / "analysis.ipynb"
    path.write_text("mine")
    async with desk.client(era) as session:
        await session.run("1 + 1")
        refused = await session.call("kernel_save_notebook", path="analysis.ipynb")
        assert path.read_text() == "mine"
        allowed = await session.call("kernel_save_notebook", path="analysis.ipynb", overwrite=True)
    assert refused.is_error
    assert "overwrite" in refused.text
    assert str(path.name) in refused.text
    assert not allowed.is_error, allowed.text
    assert len(_read(path).cells) == 1


async def test_a_session_may_write_its_own_notebook_again_until_somebody_changes_it(desk: Home, era: str) -> None:
    path = desk.project / "analysis.ipynb"
    async with desk.client(era) as session:
        await session.run("1 + 1")
        await session.call("kernel_save_notebook", path="analysis.ipynb")
    async with desk.client(era) as session:
        await session.run("2 + 2")
        again = await session.call("kernel_save_notebook", path="analysis.ipynb")
        assert not again.is_error, again.text
        assert len(_read(path).cells) == 2
        path.write_text(path.read_text() + "\n\n")
        refused = await session.call("kernel_save_notebook", path="analysis.ipynb")
    assert refused.is_error


async def test_another_sessions_notebook_is_somebody_elses(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("1 + 1")
        await session.call("kernel_save_notebook", path="analysis.ipynb")
        await session.run("2 + 2", session=f"other-{era}")
        refused = await session.call("kernel_save_notebook", path="analysis.ipynb", session=f"other-{era}")
    assert refused.is_error
    assert "1 + 1" in _read(desk.project / "analysis.ipynb").cells[0].source


async def test_a_notebook_without_a_path_is_named_after_the_session(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("1 + 1")
        saved = await session.call("kernel_save_notebook")
    assert Path(saved.facts["path"]) == (desk.project / f"{desk.project.name}.ipynb").resolve(), "by its folder"


async def test_the_answer_tells_what_documents_do_not_show(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        ran = await session.run("display({'application/x-odd+json': {}, 'text/llm+plain': 'Odd values'}, raw=True)")
        saved = await session.call("kernel_save_notebook", path="told", to=["html", "py"])
    number = ran.facts["execution_id"]
    told = f"HTML: execution {number}: an output of type application/x-odd+json is not shown"
    assert told in saved.text.splitlines()
    assert saved.facts["remarks"] == [told]
    assert (desk.project / "told.py").exists()
    assert "Odd values" in (desk.project / "told.html").read_text()


async def test_a_format_that_there_is_not_is_refused_with_those_that_there_are(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("1")
        refused = await session.call("kernel_save_notebook", path="report.docx")
        named = await session.call("kernel_save_notebook", path="report.v2")
    assert refused.is_error
    assert ".ipynb, .html, .pdf, .md, .py" in refused.text
    assert not list(desk.project.glob("report.docx*"))
    assert Path(named.facts["path"]).name == "report.v2.ipynb"
