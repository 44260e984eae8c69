"""Promise: what belongs to a widget is that widget's alone, in results and notebooks, and stands at its last state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.nbf import nbformat
from tests.support import RESULT, Home, Shim

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
SETUP = """
import threading, ipywidgets as widgets
from IPython.display import clear_output, display
from tqdm.auto import tqdm
"""
BAR = "bar_format='{l_bar}{bar}{n_fmt}/{total_fmt}'"


@pytest.fixture(scope="module")
def shim(standing_home: Home) -> Iterator[Shim]:
    """A client whose kernel has widgets."""
    with standing_home.shim() as shim:
        shim.open()
        shim.run(SETUP)
        yield shim


def ran(shim: Shim, code: str) -> tuple[str, int]:
    """What a cell's result says under its status line, and the cell's number."""
    result = shim.call("kernel_exec", code=code)
    assert result["_meta"][RESULT]["status"] == "ok", result
    return shown(result), result["_meta"][RESULT]["execution_id"]


def shown(result: dict[str, Any]) -> str:
    text = "\n".join(block.get("text", "[picture]") for block in result["content"])
    return "\n".join(line for line in text.splitlines()[1:] if not line.startswith("note:"))


def read(shim: Shim, number: int) -> str:
    return shown(shim.call("kernel_output", execution_id=number))


def saved(shim: Shim, path: Path, **what: Any) -> Any:
    path = path.with_suffix(".ipynb")
    result = shim.call("kernel_save_notebook", path=str(path), overwrite=True, **what)
    assert not result["isError"], result
    return nbformat.read(path, as_version=4)


def captured_by(notebook: Any, view: Any) -> list[Any]:
    """What the Output widget of a view has captured."""
    outputs = notebook.metadata.widgets[STATE]["state"][view["data"][VIEW]["model_id"]]["state"]["outputs"]
    return [output.get("text", output) for output in outputs]


def test_clearing_an_output_widget_spares_its_cell_and_the_other_way_round(shim: Shim, tmp_path: Path) -> None:
    cell, first = ran(
        shim,
        "out = widgets.Output(); display(out); print('kept')\nwith out: print('gone')\nout.clear_output()\n"
        "with out: print('stays')",
    )
    assert cell == "stays\n[stdout]\nkept"
    assert ran(shim, "with out:\n    clear_output(wait=True); print('latest')")[0].endswith("latest")
    assert ran(shim, "print('cleared'); clear_output(); print('mine')")[0] == "mine"
    assert read(shim, first) == cell, "a result is what it was at its end"
    notebook = saved(shim, tmp_path / "n", first=first)
    outputs = [cell.outputs for cell in notebook.cells]
    assert [[output.get("text", "view") for output in each] for each in outputs] == [["view", "kept\n"], [], ["mine\n"]]
    assert captured_by(notebook, outputs[0][0]) == ["latest\n"]


def test_a_bar_stands_at_its_last_state_wherever_it_was_moved(shim: Shim, tmp_path: Path) -> None:
    made, first = ran(shim, f"bar = tqdm(total=4, desc='steps', {BAR})")
    assert made == "steps: 0% |          | 0/4"
    assert ran(shim, "bar.update(1); bar.refresh();")[0] == ""
    assert ran(shim, "bar.update(3); bar.close(); bar.container")[0].endswith("steps: 100% |██████████| 4/4")
    assert read(shim, first) == made
    notebook = saved(shim, tmp_path / "n", first=first, save_html=True)
    state = notebook.metadata.widgets[STATE]["state"].values()
    (progress,) = [model["state"] for model in state if model["model_name"] == "FloatProgressModel"]
    assert (progress["value"], progress["max"], progress["bar_style"]) == (4, 4, "success")
    page = (tmp_path / "n.html").read_text()
    assert page.count("steps: 100% |██████████| 4/4") == 2, "shown by two cells"


def test_a_bar_that_is_not_left_leaves_nothing(shim: Shim, tmp_path: Path) -> None:
    text, number = ran(shim, f"for _ in tqdm(range(3), leave=False, {BAR}): pass")
    assert text == ""
    assert saved(shim, tmp_path / "n", first=number).cells[0].outputs == []


def test_a_thread_that_works_on_while_others_clear_is_shown_as_it_ended(shim: Shim, tmp_path: Path) -> None:
    _, first = ran(
        shim,
        "shared = widgets.Output(); display(shared); go_on = threading.Event()\n"
        "def work():\n    with shared: print('first')\n    go_on.wait()\n    with shared: print('last')\n"
        "thread = threading.Thread(target=work); thread.start()",
    )
    ran(shim, "shared.clear_output()\nwith shared: print('between')")
    text, number = ran(shim, "display(shared); go_on.set(); thread.join()")
    assert text == "between\nlast"
    notebook = saved(shim, tmp_path / "n", first=first)
    assert captured_by(notebook, notebook.cells[0].outputs[0]) == ["between\nlast\n"]
    assert all(output.output_type != "stream" for cell in notebook.cells for output in cell.outputs)
    part = saved(shim, tmp_path / "part", first=number)
    assert captured_by(part, part.cells[0].outputs[0]) == ["between\nlast\n"], "a part has what its views need"
    assert len(part.metadata.widgets[STATE]["state"]) == 2, "and nothing else: the widget, and its layout"


def test_interact_is_its_controls_and_the_latest_call(shim: Shim) -> None:
    text, _ = ran(shim, "@widgets.interact(n=2)\ndef double(n):\n    print('of', n)\n    return 2 * n")
    assert text == "IntSlider(value=2, description='n')\n[stdout]\nof 2\n[display]\n4"
    moved, _ = ran(shim, "double.widget.children[0].value = 3\ndouble.widget")
    assert moved.endswith("[stdout]\nof 3\n[display]\n6")
    assert "of 2" not in moved


def test_pictures_and_errors_in_an_output_widget_reach_the_reader(shim: Shim) -> None:
    drawn = "%matplotlib inline\nimport matplotlib.pyplot as plt\nseen = widgets.Output()\n"
    result = shim.call("kernel_exec", code=drawn + "with seen: plt.plot([1, 2]); plt.show()\nseen")
    assert [block["type"] for block in result["content"]].count("image") == 1
    raised = shim.call("kernel_exec", code="with seen: undefined_name\nprint('goes on')")
    assert raised["_meta"][RESULT]["status"] == "ok"
    text = "\n".join(block["text"] for block in raised["content"])
    assert "an error was shown" in text.splitlines()[0]
    assert "NameError: name 'undefined_name' is not defined" in text
    assert "goes on" in text


def test_a_daemon_that_was_killed_writes_the_same_notebook(standing_home: Home, shim: Shim, tmp_path: Path) -> None:
    saved(shim, tmp_path / "before")
    text, number = ran(shim, "display(shared)")
    standing_home.kill_daemon()
    assert read(shim, number) == text == "between\nlast"
    before, after = (saved(shim, tmp_path / name, last=number - 1) for name in ("again", "after"))
    assert before == after == nbformat.read(tmp_path / "before.ipynb", as_version=4)
