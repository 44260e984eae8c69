"""Promise: what was done is in the notebook, whoever is dead by then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.notebooks_corpus.nbf import nbformat
from tests.support import RESULT, Home, Shim, until_now


def _saved(shim: Shim, path: Path, **arguments: Any) -> Any:
    result = shim.call("kernel_save_notebook", path=str(path), **arguments)
    assert not result["isError"], result
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def _ticking(folder: Path) -> str:
    """Code that prints and shows a picture, says so with a file, and never ends."""
    return (
        "import pathlib, sys, time\n"
        "from IPython.display import display, Image\n"
        "print('before the end', flush=True)\n"
        "display({'image/png': 'iVBORw0KGgo=', 'text/plain': 'a picture'}, raw=True)\n"
        "sys.stdout.flush(); sys.stderr.flush()\n"
        f"pathlib.Path({str(folder)!r}, 'there').touch()\n"
        "while True: time.sleep(0.1)"
    )


def test_session_is_saved_whole_after_kernel_and_daemon_were_killed(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 1\nprint('one')\nx + 1")
        shim.call("kernel_add_markdown", text="# Words")
        shim.run("1 / 0")
        running = shim.run(_ticking(home.project), wait=False)["execution_id"]
        until_now((home.project / "there").exists, "the cell runs")
        (kernel,) = home.kernels()
        home.kill_daemon()
        kernel.kill()
        kernel.wait(10)
        notebook = _saved(shim, home.project / "n.ipynb")
        dead = shim.call("kernel_output", execution_id=running)["_meta"][RESULT]
    assert dead["status"] == "dead"
    one, words, raised, died, remark = notebook.cells
    assert [output.get("text") or output.data["text/plain"] for output in one.outputs] == ["one\n", "2"]
    assert words.source == "# Words"
    assert raised.outputs[0].ename == "ZeroDivisionError"
    assert died.outputs[0].text == "before the end\n"
    assert died.outputs[1].data["image/png"].strip() == "iVBORw0KGgo="
    assert died.metadata.kernel_supervisor.status == "dead"
    assert died.metadata.tags == ["skip-execution"]
    assert "kernel died" in remark.source
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info.name == "python"
    assert notebook.metadata.language_info.version


def test_what_a_notebook_says_of_its_kernel_does_not_change_when_that_is_gone(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        kernel_id = shim.run("x = 1")["kernel_id"]
        before = _saved(shim, home.project / "before.ipynb").metadata
        shim.call("kernel_shutdown", kernel_id=kernel_id)
        after = _saved(shim, home.project / "after.ipynb").metadata
    assert before == after
    assert before.language_info.file_extension == ".py"


def test_running_and_waiting_cells_are_in_it_and_marked(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        running = shim.run(_ticking(home.project), wait=False)["execution_id"]
        until_now((home.project / "there").exists, "the cell runs")
        shim.run("y = 1", wait=False)
        notebook = _saved(shim, home.project / "n.ipynb")
        shim.call("kernel_interrupt", execution_id=running)
        after = _saved(shim, home.project / "n.ipynb")
    cell, remark, waiting, waits = notebook.cells
    assert cell.outputs[0].text == "before the end\n"
    assert "image/png" in cell.outputs[1].data
    assert cell.metadata.kernel_supervisor.status == "running"
    assert "still running" in remark.source
    assert waiting.metadata.kernel_supervisor.status == "queued"
    assert "not run yet" in waits.source
    assert after.cells[0].outputs[-1].ename == "KeyboardInterrupt"
    assert after.cells[0].metadata.kernel_supervisor.status == "interrupted"
    assert "interrupted" in after.cells[1].source
