"""Promise: a notebook is run where it lies, in its language, and read for what is obviously meant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.notebooks_corpus.nbf import nbformat, v4
from tests.process.test_other_languages import kernelspec
from tests.support import ERAS, RESULT, Home, fresh_home

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Desk(Home):
    """A supervisor whose clients speak like that."""

    era: str = ""


@pytest.fixture(scope="module", params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """Both eras of the protocol, one after the other."""
    return str(request.param)


@pytest.fixture(scope="module")
def desk(era: str) -> Iterator[Desk]:
    """One daemon for all of an era: nothing here ends it."""
    with fresh_home() as home:
        yield Desk(home.path, home.project, era=era)


def _notebook(path: Path, *codes: str, **metadata: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    nbformat.write(v4.new_notebook(cells=list(map(v4.new_code_cell, codes)), metadata=metadata), path)
    return path


def _load(home: Desk, path: Path, session: str, *first: str, **more: Any) -> tuple[str, dict[str, Any], str]:
    """Load and run it, in a session in which other code may have run first: what is said, what is known of its
    last entry, and whether it was refused."""
    with home.shim(env={**home.env, **more}) as shim:
        shim.open(home.era)
        for code in first:
            shim.run(code, session=session)
        said = shim.call("kernel_load_notebook", path=str(path), run=True, session=session)
        entries = shim.call("kernel_history", session=session, full=True)["_meta"][RESULT]["entries"]
        last = shim.call("kernel_output", execution_id=entries[-1]["execution_id"]) if entries else {"content": []}
        shown = "\n".join(block["text"] for block in last["content"])
        return said["content"][0]["text"], {"shown": shown, "entries": len(entries)}, "refused" * said["isError"]


def test_a_notebook_runs_in_its_own_folder_where_that_starts_the_kernel(desk: Desk) -> None:
    folder = desk.project / "deep"
    path = _notebook(folder / "n.ipynb", "print(open('beside.csv').read())")
    (folder / "beside.csv").write_text("found\n")
    said, known, refused = _load(desk, path, "lies")
    assert not refused, said
    assert "found" in known["shown"]
    assert str(folder) in said, "it says where, since that is not the session's directory"
    with desk.shim() as shim:
        shim.open(desk.era)
        shim.call("kernel_restart", session="lies")
        assert str(folder) in shim.run("import os; os.getcwd()", session="lies")["text"]


def test_a_kernel_that_is_there_stays_where_it_is_and_that_is_said(desk: Desk) -> None:
    path = _notebook(desk.project / "other" / "n.ipynb", "import os; print(os.getcwd())")
    said, known, refused = _load(desk, path, "stays", "x = 1")
    assert not refused, said
    assert f"works in {desk.project}, as it did before" in said, "it was started there, in the session's directory"
    assert known["shown"].splitlines()[-1] == str(desk.project)


def test_nothing_is_said_of_the_place_where_it_is_the_sessions_own(desk: Desk) -> None:
    said, _, _ = _load(desk, _notebook(desk.project / "n.ipynb", "1"), "own")
    assert "works in" not in said


BASH = {"kernelspec": {"name": "shellish", "display_name": "A shell", "language": "bash"}}


@pytest.mark.parametrize(
    "metadata",
    [BASH, {"language_info": {"name": "bash"}}, {"kernelspec": {"name": "shellish", "display_name": "s"}}],
    ids=["kernelspec", "language", "name"],
)
def test_a_notebook_of_another_language_runs_in_its_kernel_and_keeps_its_kernelspec(
    desk: Desk, metadata: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    jupyter, word = desk.project / "jupyter", f"bash-{request.node.callspec.id}"
    env = kernelspec(jupyter, "shellish", "bash_kernel", "bash") if not jupyter.exists() else None
    path = _notebook(desk.project / "shell" / f"{word}.ipynb", "x=6; echo $((x * 7)) in $PWD", **metadata)
    said, known, refused = _load(desk, path, word, **(env or {"JUPYTER_PATH": str(jupyter)}))
    assert not refused, said
    assert known["shown"].splitlines()[-1] == f"42 in {path.parent}"
    with desk.shim() as shim:
        shim.open(desk.era)
        shim.call("kernel_save_notebook", path=f"{word}-saved", session=word)
    saved = json.loads((desk.project / f"{word}-saved.ipynb").read_text())["metadata"]
    assert saved["language_info"]["name"] == "bash"
    if metadata is BASH:
        assert saved["kernelspec"] == BASH["kernelspec"]
    assert saved["kernelspec"]["name"] == "shellish"


IR = {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}, "language_info": {"name": "R"}}


def test_a_notebook_whose_language_has_no_kernel_here_is_not_run_and_leaves_no_trace(desk: Desk) -> None:
    path = _notebook(desk.project / "r.ipynb", "x <- c(1, 2)", **IR)
    said, known, refused = _load(desk, path, "no-r", JUPYTER_PATH="/nowhere")
    assert refused
    assert "written in R (kernelspec ir)" in said
    assert "kernel_list_envs" in said
    assert known["entries"] == 0
    with desk.shim() as shim:
        shim.open(desk.era)
        loaded = shim.call("kernel_load_notebook", path=str(path), session="only-read")
        assert not loaded["isError"], loaded
        shim.run("x = 1", session="other-one")
        shim.call("kernel_save_notebook", path="r-again", session="only-read")
    assert json.loads((desk.project / "r-again.ipynb").read_text())["metadata"]["kernelspec"] == IR["kernelspec"]


def test_a_notebook_of_another_language_is_not_run_in_the_kernel_that_there_is(desk: Desk) -> None:
    path = _notebook(desk.project / "r2.ipynb", "x <- c(1, 2)", **IR)
    said, known, refused = _load(desk, path, "python-here", "x = 1")
    assert refused
    assert "written in R, and this session's kernel runs python" in said
    assert known["entries"] == 1


def test_a_python_notebook_runs_whatever_its_kernelspec_is_called_and_keeps_it(desk: Desk) -> None:
    theirs = {"name": "conda-env-x-py", "display_name": "Python [x]", "language": "python"}
    path = _notebook(desk.project / "p.ipynb", "6*7", kernelspec=theirs, language_info={"name": "python"})
    _, known, refused = _load(desk, path, "py")
    assert not refused
    assert "42" in known["shown"]
    with desk.shim() as shim:
        shim.open(desk.era)
        shim.call("kernel_save_notebook", path="p-saved", session="py")
    saved = json.loads((desk.project / "p-saved.ipynb").read_text())["metadata"]
    assert saved["kernelspec"] == theirs
    assert saved["language_info"]["version"].startswith(f"{sys.version_info.major}.")


_CELL = '{"cell_type": "code", "source": ["print(6*7)"]%s}'
_MADE_OUT = {
    "no metadata": '{"cells": [' + _CELL % "" + '], "nbformat": 4, "nbformat_minor": 4}',
    "a list for metadata": '{"cells": [' + _CELL % ', "metadata": []' + '], "metadata": [], "nbformat": 4}',
    "no format": '{"cells": [' + _CELL % ', "outputs": null' + "]}",
    "a format in quotes": '{"cells": [' + _CELL % "" + '], "nbformat": "4", "nbformat_minor": "2"}',
    "a cell of nothing": '{"cells": [null, ' + _CELL % "" + '], "nbformat": 4}',
    "no type of a cell that ran": '{"cells": [{"source": "print(6*7)", "outputs": []}]}',
    "format 3": '{"worksheets": [{"cells": [{"cell_type": "code", "input": "print(6*7)", "language": "python"}]}],'
    ' "nbformat": 3, "nbformat_minor": 0}',
}
ENCODINGS = ["utf-8-sig", "utf-16", "utf-32"]


@pytest.mark.parametrize("how", [*_MADE_OUT, *ENCODINGS])
def test_an_odd_file_is_read_for_what_is_obviously_meant(desk: Desk, how: str) -> None:
    path = desk.project / "odd.ipynb"
    path.write_text(_MADE_OUT.get(how, _MADE_OUT["no metadata"]), encoding=how if how in ENCODINGS else "utf-8")
    said, known, refused = _load(desk, path, f"odd {how}")
    assert not refused, said
    assert known["shown"].splitlines()[-1] == "42"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (
            '{\n "cells": [\n<<<<<<< HEAD\n  {}\n=======\n  []\n>>>>>>> theirs\n]}',
            "merge conflict that nobody resolved (line 3)",
        ),
        ("[]", "is JSON, and no notebook"),
        ('{"name": "x"}', "it has no cells"),
        ('{"cells": [], "nbformat": 5}', "newer than the 4"),
        ("print(1)\n", "is not a notebook"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "`git lfs pull`"),
        ("\n<!DOCTYPE html>\n<html></html>", "is a page of HTML"),
        ("PK\x03\x04...", "is compressed"),
        ("\0" * 500, "nothing but NUL bytes"),
        ('{"cells": [{"source": "1"}]}', "cell 1 does not say whether it is code"),
        ('{"cells": [{"cell_type": "code", "source": "1"}, 5]}', "cell 2 is no object"),
        ('{"cells": [{"cell_type": "code", "source": ["1", ["2"]]}]}', "cell 1 has a source that is no text"),
        ('{"cells": [{"cell_type": "code", "source": 7}]}', "cell 1 has a source that is no text"),
        ('{"cells": [{"cell_type": "code", "source": "", "outputs": {"a": 1}}]}', "outputs that are no list"),
    ],
)
def test_what_is_no_notebook_is_refused_in_words(desk: Desk, text: str, words: str) -> None:
    path = desk.project / "none.ipynb"
    path.write_text(text)
    said, known, refused = _load(desk, path, "none")
    assert refused
    assert words in said
    assert known["entries"] == 0
