"""Promise: work is picked up from a notebook that nobody here wrote, run, and saved without loss."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.running import comparable, joined, through_nbclient, without_chance
from tests.support import RESULT, Home, Session, Shim, until_now

pytestmark = pytest.mark.timeout(180)


def _read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def test_every_foreign_notebook_is_loaded_and_saved_without_loss(foreign: list[Path], home: Home) -> None:
    assert len(foreign) > 20

    async def load_and_save(session: Session, number: int, path: Path) -> Path:
        name, target = f"session-{number}", home.project / f"{number}.ipynb"
        loaded = await session.call("kernel_load_notebook", path=str(path), session=name)
        assert not loaded.is_error, loaded.text
        saved = await session.call("kernel_save_notebook", path=str(target), session=name)
        assert not saved.is_error, saved.text
        return target

    async def all_of_them() -> list[Path]:
        async with home.client() as session:
            return [await load_and_save(session, number, path) for number, path in enumerate(foreign)]

    for path, target in zip(foreign, asyncio.run(all_of_them()), strict=True):
        assert comparable(_read(target)) == comparable(nbformat.read(path, as_version=4)), path
    assert home.kernels() == [], "nothing was to be run"


def test_foreign_notebook_is_run_and_saved_as_nbclient_runs_it(foreign: list[Path], home: Home) -> None:
    (path,) = (path for path in foreign if path.name == "Widget_List.ipynb")
    shutil.copy(path, home.project / "theirs.ipynb")
    shutil.copy(path.with_name("testimage.png"), home.project)
    with home.shim() as shim:
        shim.open()
        ran = shim.call("kernel_load_notebook", path="theirs", run=True)
        assert not ran["isError"], ran
        assert "failed" not in ran["_meta"][RESULT], ran
        shim.call("kernel_save_notebook", path="ours")
        assert shim.call("kernel_save_notebook", path="theirs")["isError"], "the original is somebody else's"
    ours, theirs = _read(home.project / "ours.ipynb"), through_nbclient(nbformat.read(path, as_version=4), path.parent)
    assert len(ours.cells) == len(theirs.cells)
    names: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for mine, other in zip(ours.cells, theirs.cells, strict=True):
        assert (mine.cell_type, mine.source) == (other.cell_type, other.source)
        if mine.cell_type == "code" and mine.source.strip():
            assert mine.execution_count == other.execution_count
            shown = without_chance(joined(mine.outputs), names[0])
            assert shown == without_chance(joined(other.outputs), names[1])


def _notebook(path: Path, *cells: Any) -> Path:
    nbformat.write(v4.new_notebook(cells=list(cells)), path)
    return path


def _load(shim: Shim, path: Path, **arguments: Any) -> dict[str, Any]:
    result = shim.call("kernel_load_notebook", path=str(path), **arguments)
    assert not result["isError"], result
    return {**result["_meta"][RESULT], "text": "\n".join(block.get("text", "") for block in result["content"])}


def test_loaded_cells_are_history_that_can_be_read(home: Home) -> None:
    failed = v4.new_output("error", ename="ValueError", evalue="wrong", traceback=["ValueError: wrong"])
    printed = v4.new_output("stream", name="stdout", text="printed\n")
    path = _notebook(
        home.project / "n.ipynb",
        v4.new_markdown_cell("# Title"),
        v4.new_code_cell("print('printed')", outputs=[printed], execution_count=7),
        v4.new_code_cell("raise ValueError('wrong')", outputs=[failed], execution_count=8),
        v4.new_code_cell("never_run()"),
    )
    with home.shim() as shim:
        shim.open()
        shim.run("before = 1")
        loaded = _load(shim, path)
        home.kill_daemon()
        shown = [
            shim.call("kernel_output", execution_id=number)["content"][0]["text"] for number in loaded["entries"][1:3]
        ]
        history = shim.call("kernel_history")["_meta"][RESULT]["entries"]
        names = shim.call("kernel_list_vars")["_meta"][RESULT]["variables"]
    assert "printed" in shown[0]
    assert "ValueError: wrong" in shown[1]
    assert [(entry["kind"], entry["status"], entry["execution_count"]) for entry in history] == [
        ("code", "ok", 1),
        ("markdown", "ok", None),
        ("code", "ok", 7),
        ("code", "error", 8),
        ("code", "ok", None),
    ]
    assert [variable["name"] for variable in names] == ["before"]


def test_run_stops_at_the_first_error_and_leaves_the_rest_as_it_stood(home: Home) -> None:
    old = [v4.new_output("stream", name="stdout", text="from long ago\n")]
    path = _notebook(
        home.project / "n.ipynb",
        v4.new_code_cell("print('fresh')", outputs=old, id="one"),
        v4.new_code_cell("1 / 0", id="expected", metadata={"tags": ["raises-exception"]}),
        v4.new_code_cell("while True: pass", id="skipped", metadata={"tags": ["skip-execution"]}),
        v4.new_code_cell("  ", id="blank"),
        v4.new_code_cell("undefined_name", outputs=old, id="fails"),
        v4.new_code_cell("print('not reached')", outputs=old, id="after", execution_count=3),
    )
    with home.shim() as shim:
        shim.open()
        ran = _load(shim, path, run=True)
        again = home.project / "again.ipynb"
        shim.call("kernel_save_notebook", path=str(again))
        history = shim.call("kernel_history")["_meta"][RESULT]["entries"]
    assert ran["ran"] == 2
    assert "NameError" in ran["text"]
    assert history[4]["execution_id"] == ran["failed"]
    assert len(history) == 6, "a run stands in the place of the cell that it ran"
    cells = _read(again).cells
    assert [cell.id for cell in cells] == ["one", "expected", "skipped", "blank", "fails", "after"]
    assert [[output.get("text", output.get("ename")) for output in cell.outputs] for cell in cells] == [
        ["fresh\n"],
        ["ZeroDivisionError"],
        [],
        [],
        ["NameError"],
        ["from long ago\n"],
    ]
    assert cells[5].execution_count == 3


def test_each_cell_runs_once_though_the_daemon_is_killed_between(home: Home) -> None:
    witness, gate = home.project / "witness", home.project / "gate"
    noting = f"import os, time\nwith open({str(witness)!r}, 'a') as file: file.write('%d\\n')"
    waiting = f"\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    codes = [noting % number + (waiting if number == 2 else "") for number in range(5)]
    path = _notebook(home.project / "n.ipynb", *map(v4.new_code_cell, codes))
    with home.shim() as shim:
        shim.open()
        arguments = {"path": str(path), "run": True}
        shim.send("tools/call", {"name": "kernel_load_notebook", "arguments": arguments}, id="load")
        until_now(lambda: witness.exists() and witness.read_text() == "0\n1\n2\n", "the third cell runs")
        home.kill_daemon()
        until_now(lambda: not home.daemons() or home.daemon(), "the daemon is gone, or another is there")
        gate.touch()
        result = shim.answer("load")["result"]
        history = shim.call("kernel_history")["_meta"][RESULT]["entries"]
    assert not result["isError"], result
    assert result["_meta"][RESULT]["ran"] == 5
    assert witness.read_text() == "0\n1\n2\n3\n4\n"
    assert [entry["code"] for entry in history] == codes


def test_work_goes_on_in_a_notebook_that_was_saved_here(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 20", session="first")
        shim.call("kernel_add_markdown", text="# Words", session="first")
        shim.run("x + 1", session="first")
        shim.call("kernel_save_notebook", path="first", session="first")
        _load(shim, home.project / "first.ipynb", run=True, session="second")
        assert shim.run("x + 22", session="second")["text"].endswith("42")
        shim.call("kernel_save_notebook", path="second", session="second")
    sources = [cell.source for cell in _read(home.project / "second.ipynb").cells]
    assert sources == ["x = 20", "# Words", "x + 1", "x + 22"]


@pytest.mark.parametrize(
    ("name", "words"), [("nothing", "name a notebook that exists"), ("text.ipynb", "is not a notebook"), (" ", "empty")]
)
def test_what_cannot_be_loaded_is_refused_and_leaves_no_trace(home: Home, name: str, words: str) -> None:
    (home.project / "text.ipynb").write_text("no JSON")
    with home.shim() as shim:
        shim.open()
        refused = shim.call("kernel_load_notebook", path=name, run=True)
        assert refused["isError"]
        assert words in refused["content"][0]["text"]
        assert shim.call("kernel_history")["_meta"][RESULT]["entries"] == []


def test_command_line_loads_and_runs(home: Home) -> None:
    path = _notebook(home.project / "n.ipynb", v4.new_code_cell("y = 41"), v4.new_code_cell("1 / 0"))
    loaded = home.cli("load", path.name)
    assert (loaded.returncode, "2 cells" in loaded.stdout) == (0, True), loaded
    ran = home.cli("load", path.name, "--run")
    assert ran.returncode == 1
    assert "ZeroDivisionError" in ran.stdout
    assert home.cli("exec", "y + 1").stdout.strip() == "42"
