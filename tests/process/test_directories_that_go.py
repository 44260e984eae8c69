"""Promise: where a session's directory is gone it is said, and nothing makes it anew that was not told to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import RESULT, Home, Shim, until_now


def _removed(folder: Path) -> None:
    shutil.rmtree(folder)


def _is_removed(folder: Path) -> bool:
    """Remove a folder in which something may be written at the same time."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("it was a folder")


def _left_behind_a_file(folder: Path) -> None:
    """Not only the folder: the one it is in."""
    shutil.rmtree(folder.parent)
    folder.parent.write_text("it was a folder")


def _closed(folder: Path) -> None:
    folder.chmod(0o000)


WAYS: dict[str, Callable[[Path], None]] = {
    "removed": _removed,
    "replaced by a file": _replaced_by_a_file,
    "below a file": _left_behind_a_file,
    **({"closed": _closed} if os.geteuid() else {}),  # nothing is closed to root
}
WORDS = {"removed": "is gone", "replaced by a file": "is no folder any more", "below a file": "is gone"}


@pytest.fixture
def project(standing_home: Home, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A project of the test's own; its kernels are ended after it."""
    folder = (standing_home.project / str(abs(hash(request.node.name))) / "project").resolve()
    folder.mkdir(parents=True)
    yield folder
    for kernel in standing_home.kernels():
        kernel.kill()
        kernel.wait(10)


def text_of(result: Any) -> str:
    return str(result["content"][0]["text"])


def refused_to_save(shim: Shim, **arguments: Any) -> str:
    result = shim.call("kernel_save_notebook", **arguments)
    assert result["isError"], text_of(result)
    assert text_of(result).startswith("path: "), text_of(result)
    return text_of(result)


@pytest.mark.parametrize("way", WAYS)
def test_a_restart_says_that_the_directory_is_gone_and_a_save_asks_for_a_path(
    standing_home: Home, project: Path, tmp_path: Path, way: str
) -> None:
    with standing_home.shim(cwd=project) as shim:
        shim.open()
        shim.run("x = 1")
        WAYS[way](project)
        here = text_of(shim.call("kernel_status"))
        restarted = shim.call("kernel_restart")
        assert not restarted["isError"], restarted
        home = os.path.expanduser("~")
        assert restarted["_meta"][RESULT]["kernel_directory"] == home
        for said in (text_of(restarted), here, text_of(shim.call("kernel_status"))):
            assert f"{project} {WORDS.get(way, 'cannot be entered')}" in said
        assert f"works in {home}" in text_of(restarted)
        assert shim.run("import os; print('cwd', os.getcwd())")["text"].endswith(f"cwd {home}")
        for arguments in ({}, {"path": "notes"}, {"save_html": True}, {"autosave": True}):
            refused_to_save(shim, **arguments)
        assert not project.is_dir() or not os.access(project, os.X_OK)
        saved = shim.call("kernel_save_notebook", path=str(tmp_path / "new" / "notes"))
        assert not saved["isError"], saved
        assert (tmp_path / "new" / "notes.ipynb").exists()
        assert not project.is_dir() or not os.access(project, os.X_OK)


def test_a_directory_that_is_back_has_the_kernel_again_after_a_restart(standing_home: Home, project: Path) -> None:
    with standing_home.shim(cwd=project) as shim:
        shim.open()
        shim.run("x = 1")
        _removed(project)
        shim.call("kernel_restart")
        project.mkdir()
        assert "kernel_restart takes the kernel there" in text_of(shim.call("kernel_status"))
        restarted = shim.call("kernel_restart")
        assert "works in" not in text_of(restarted)
        assert shim.run("import os; print('cwd', os.getcwd())")["text"].endswith(f"cwd {project}")
        assert not shim.call("kernel_save_notebook")["isError"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which directory a process works in")
def test_a_kernel_in_a_directory_that_was_removed_and_made_anew_says_so(standing_home: Home, project: Path) -> None:
    with standing_home.shim(cwd=project) as shim:
        shim.open()
        shim.run("x = 1")
        assert "made anew" not in text_of(shim.call("kernel_status"))
        _removed(project)
        project.mkdir()
        told = text_of(shim.call("kernel_status"))
        assert f"{project} was removed and made anew" in told
        shim.run(f"import os; os.chdir({str(project)!r})")
        assert "made anew" not in text_of(shim.call("kernel_status"))
        assert shim.run("x")["text"].endswith("1")


def test_the_first_kernel_of_a_session_says_that_its_directory_is_gone(standing_home: Home, project: Path) -> None:
    with standing_home.shim(cwd=project) as shim:
        shim.open()
        shim.call("kernel_add_markdown", text="# Words")
        _removed(project)
        first = shim.run("import os; print('cwd', os.getcwd())")["text"]
        assert f"note: the directory {project} is gone; the kernel works in" in first
        assert "note: the directory" not in shim.run("1")["text"], "it is said once"
        refused_to_save(shim)
        assert not project.exists()


def test_autosave_makes_no_folder_that_was_removed(standing_home: Home, project: Path) -> None:
    with standing_home.shim(cwd=project) as shim:
        shim.open()
        shim.run("x = 1")
        assert not shim.call("kernel_save_notebook", path="sub/kept.ipynb", autosave=True)["isError"]
        assert (project / "sub/kept.ipynb").exists()
        until_now(lambda: _is_removed(project), "nothing is being written there")
        told = until_now(
            lambda: text if "is gone" in (text := shim.run("x += 1")["text"]) else "", "it is said that it is gone"
        )
        assert "the notebook was not saved" in told
        assert "path" in told
        assert "x += 1" in shim.call("kernel_history")["content"][0]["text"]
        refused_to_save(shim)
        assert not project.exists()


def test_the_command_line_in_a_removed_directory_means_its_session_and_makes_nothing(
    standing_home: Home, project: Path
) -> None:
    with standing_home.shim(cwd=project) as shim:
        shim.open()
        shim.run("x = 41")
    ran = from_a_removed_directory(standing_home, project, "exec", "x+1")
    assert ran.stdout.split()[-1] == "42", ran
    for arguments in (("save",), ("save", "notes")):
        refused = from_a_removed_directory(standing_home, project, *arguments)
        assert refused.returncode != 0, refused
        assert "path: " in refused.stderr
        assert str(project) in refused.stderr
        assert "Traceback" not in refused.stderr


def from_a_removed_directory(home: Home, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a shell starts it whose directory was removed; it is not there afterwards."""
    project.mkdir(exist_ok=True)
    command = ["sh", "-c", 'cd "$0"; rm -r "$PWD"; exec "$@"', str(project), *home.cli_command(*arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=home.env, timeout=60, cwd="/")
    assert not project.exists()
    return ended
