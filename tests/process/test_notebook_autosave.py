"""Promise: a session's notebook is kept up to date, whatever dies, and nobody's change to it is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.nbf import nbformat
from tests.support import RESULT, Home, Shim, until_now

CHANGED = "was changed by somebody else and is left alone"


def _sources(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells]


def _when(path: Path, sources: list[str]) -> list[str]:
    """Wait until the notebook at `path` has these cells."""
    condition: Callable[[], Any] = lambda: path.exists() and _sources(path) == sources  # noqa: E731 - it needs a type
    until_now(condition, f"{path} has {sources}")
    return _sources(path)


def _autosaved(shim: Shim, path: Path) -> None:
    result = shim.call("kernel_save_notebook", path=str(path), autosave=True)
    assert not result["isError"], result
    assert result["_meta"][RESULT]["autosave"] == str(path)


@pytest.fixture
def path(home: Home) -> Path:
    return home.project.resolve() / "kept.ipynb"


def test_notebook_follows_every_execution_text_and_note(home: Home, path: Path) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 1")
        _autosaved(shim, path)
        assert _sources(path) == ["x = 1"]
        shim.run("x / 0")
        _when(path, ["x = 1", "x / 0"])
        shim.call("kernel_add_markdown", text="# Words")
        _when(path, ["x = 1", "x / 0", "# Words"])
        shim.call("kernel_restart")
        until_now(lambda: "restarted" in _sources(path)[-1], "the note of the restart")
    assert sorted(os.listdir(path.parent)) == ["kept.ipynb"]


def test_output_that_comes_after_its_cell_is_kept_too(home: Home, path: Path) -> None:
    gate = home.project / "gate"
    code = (
        "import os, threading, time\n"
        f"def late():\n    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n    print('it came late')\n"
        "threading.Thread(target=late).start()"
    )
    with home.shim() as shim:
        shim.open()
        _autosaved(shim, path)
        shim.run(code)
        _when(path, [code])
        gate.touch()
        until_now(lambda: "it came late" in str(nbformat.read(path, as_version=4).cells[0].outputs), "the late output")


def test_autosave_goes_on_after_the_daemon_was_killed(home: Home, path: Path) -> None:
    with home.shim() as shim:
        shim.open()
        _autosaved(shim, path)
        sources = []
        for number in range(8):
            shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": f"n = {number}"}}, id=f"n-{number}")
            sources.append(f"n = {number}")
            if number % 2:
                assert not shim.answer(f"n-{number}")["result"]["isError"]
                home.kill_daemon()  # at whatever it is with the notebook
        shim.run("last = 1")
        _when(path, [*sources, "last = 1"])
        assert CHANGED not in shim.run("1 + 1")["text"], "its own file was taken for another's"
    beside = [name for name in os.listdir(path.parent) if name.endswith(".ipynb")]
    assert beside == ["kept.ipynb"]


def test_next_daemon_catches_up_without_being_asked(home: Home, path: Path) -> None:
    gate = home.project / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('done')"
    with home.shim() as shim:
        shim.open()
        _autosaved(shim, path)
        shim.run(code, wait=False)
        (kernel,) = home.kernels()
    home.kill_daemon()  # with no shim there that would start the next one
    until_now(lambda: not home.daemons(), "the daemon is gone")
    gate.touch()
    assert kernel.is_running()
    assert home.cli("start").returncode == 0
    until_now(
        lambda: "done" in str(nbformat.read(path, as_version=4).cells) and _sources(path) == [code],
        "the daemon wrote what came meanwhile, and does not call it running any more",
    )


def test_changed_file_is_left_alone_and_that_is_said_once(home: Home, path: Path) -> None:
    other = path.with_name("kept-1.ipynb")
    with home.shim() as shim:
        shim.open()
        shim.run("x = 1")
        _autosaved(shim, path)
        theirs = path.read_text().replace("x = 1", "x = 1  # mine")
        path.write_text(theirs)
        texts = [shim.run("x = 2")["text"]]  # it may be noticed before, by what was still to be written
        _when(other, ["x = 1", "x = 2"])
        texts.append(shim.run("x = 3")["text"])
        texts.append(shim.run("x = 4")["text"])
        assert [CHANGED in text for text in texts].count(True) == 1, texts
        assert str(other) in next(text for text in texts if CHANGED in text)
        _when(other, [f"x = {number}" for number in (1, 2, 3, 4)])
    assert path.read_text() == theirs


def test_what_has_to_be_said_of_a_notebook_is_said_though_the_daemon_dies(home: Home, path: Path) -> None:
    other = path.with_name("kept-1.ipynb")
    with home.shim() as shim:
        shim.open()
        _autosaved(shim, path)
        path.write_text(path.read_text() + "\n")
        shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": "x = 2"}}, id="x")
        until_now(other.exists, "it is kept beside")  # and perhaps not more: it is killed at whatever it does next
        home.kill_daemon()
        texts = [shim.answer("x")["result"]["content"][0]["text"], shim.run("x = 3")["text"]]
        assert any(CHANGED in text and str(other) in text for text in texts), texts
        assert CHANGED not in shim.run("x = 4")["text"]
        _when(other, ["x = 2", "x = 3", "x = 4"])


def test_new_notebook_has_the_mode_that_its_client_would_give_it(home: Home, path: Path) -> None:
    with home.shim(umask=0o027) as shim:
        shim.open()
        shim.run("x = 1")
        saved = shim.call("kernel_save_notebook", path="new/folder/n", save_html=True)
        assert not saved["isError"], saved
    folder = path.with_name("new")
    found = {each.name: each.stat().st_mode & 0o777 for each in (folder, *folder.rglob("*"))}
    assert found == {"new": 0o750, "folder": 0o750, "n.ipynb": 0o640, "n.html": 0o640}


def test_another_may_not_be_overwritten_by_asking_for_autosave(home: Home, path: Path) -> None:
    path.write_text("mine")
    with home.shim() as shim:
        shim.open()
        shim.run("x = 1")
        refused = shim.call("kernel_save_notebook", path=str(path), autosave=True)
        assert refused["isError"]
        shim.run("x = 2")
        saved = shim.call("kernel_save_notebook", path="other")["_meta"][RESULT]
    assert path.read_text() == "mine"
    assert saved["autosave"] is None


def test_autosave_can_be_turned_off(home: Home, path: Path) -> None:
    with home.shim() as shim:
        shim.open()
        _autosaved(shim, path)
        shim.run("x = 1")
        off = shim.call("kernel_save_notebook", autosave=False)["_meta"][RESULT]
        assert off["path"] == str(path)
        assert off["autosave"] is None
        before = path.read_bytes()
        shim.run("x = 2")
        _autosaved(shim, path.with_name("second.ipynb"))
        shim.run("x = 3")
        _when(path.with_name("second.ipynb"), ["x = 1", "x = 2", "x = 3"])
        assert path.read_bytes() == before
        refused = shim.call("kernel_save_notebook", autosave=True, only="ok")
        assert refused["isError"]
        assert "whole session" in refused["content"][0]["text"]


def test_failure_is_said_once_and_tried_again(home: Home, path: Path) -> None:
    folder = home.project.resolve() / "folder"
    kept = folder / "kept.ipynb"
    with home.shim() as shim:
        shim.open()
        _autosaved(shim, kept)
        until_now(lambda: _stands_in_the_way(folder), "a file stands where the folder was")
        words = "is a file, not a folder"  # who was just writing there met another one first
        until_now(lambda: words in shim.run("x = 3")["text"], "the failure is said")
        assert words not in shim.run("x = 3")["text"]
        folder.unlink()
        folder.mkdir()  # which nobody makes unasked
        shim.run("last = 1")
        until_now(lambda: kept.exists() and _sources(kept)[-1] == "last = 1", "it is written again")


def _stands_in_the_way(folder: Path) -> bool:
    """Put a file in the folder's place; False where the notebook was just being written there."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.write_text("in the way")
    except IsADirectoryError:
        return False
    return True


def test_command_line_keeps_a_notebook_up_to_date(home: Home, path: Path) -> None:
    assert home.cli("exec", "x = 1").returncode == 0
    saved = home.cli("save", "kept", "--autosave")
    assert saved.returncode == 0, saved.stderr
    assert "kept up to date" in saved.stdout
    assert home.cli("exec", "x = 2").returncode == 0
    _when(path, ["x = 1", "x = 2"])
    assert "autosave is off" in home.cli("save", "--no-autosave").stdout
