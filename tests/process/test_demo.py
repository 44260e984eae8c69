"""Promise: one command shows the main job on real data, and says so only where every step's check held."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.notebooks_corpus.nbf import nbformat
from tests.support import Home


def _demo(home: Home, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "kernel_supervisor.cli.main", "demo", "--directory", str(directory)]
    return subprocess.run(command, env=home.env, cwd=home.project, capture_output=True, text=True, timeout=100)


def test_demo_goes_from_nothing_to_a_saved_notebook_and_a_living_kernel(home: Home) -> None:
    place = home.project / "demo"
    done = _demo(home, place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert "Every check held" in done.stdout
    assert re.search(r"image/png, \d+ × \d+ pixels", done.stdout)
    assert "Connection closed" in done.stdout, "what a client is told whose shim was killed"
    killed, second = re.findall(r"✓ shim with pid (\d+)", done.stdout)
    assert killed != second

    page, notebook = sorted(place.iterdir())
    assert (page.suffix, notebook.suffix) == (".html", ".ipynb"), "nothing else is left in the directory"
    document = nbformat.read(notebook, as_version=4)
    nbformat.validate(document)
    assert "image/png" in json.dumps(document), "the plot is in the notebook"
    assert home.daemon() is not None
    assert len(home.kernels()) == 1, "the newcomer can go on in it"


def test_demo_is_in_colour_on_a_terminal_and_leaves_the_directory_alone(home: Home, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**home.env, "XDG_CACHE_HOME": str(tmp_path), "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen(home.cli_command("demo"), stdout=theirs, stderr=theirs, cwd=home.project, env=env) as shown:
        os.close(theirs)
        said = b""
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 1 << 16):
                said += chunk
        assert shown.wait(60) == 0, said.decode()
    os.close(ours)
    assert b"\x1b[" in said
    assert b"Every check held" in said
    assert list(home.project.iterdir()) == []
    assert len(list((tmp_path / "kernel-supervisor-demo").iterdir())) == 2


@pytest.mark.anyio
async def test_variables_of_the_demo_are_there_for_the_next_client(home: Home) -> None:
    done = _demo(home, home.project)
    session = re.findall(r"exec --session (\S+)", done.stdout)[0]
    async with home.client("legacy", "--session", session) as client:
        result = await client.run("len(penguins), int(penguins['species'].nunique())")
    assert result.text.splitlines()[-1] == "(344, 3)"


def test_two_demos_do_not_meet(home: Home) -> None:
    for _ in range(2):
        assert _demo(home, home.project).returncode == 0
    assert len(home.kernels()) == 2
    assert len(list(home.project.iterdir())) == 4


def test_demo_without_pandas_names_the_command_that_installs_it(home: Home) -> None:
    absent = "raise ModuleNotFoundError(\"No module named 'pandas'\", name='pandas')\n"
    (home.project / "pandas.py").write_text(absent)  # the kernel's directory comes first on its sys.path
    done = _demo(home, home.project)
    assert done.returncode == 1
    assert "No module named 'pandas'" in done.stderr
    assert f"{sys.executable} -m pip install pandas matplotlib" in done.stderr
    assert "Every check held" not in done.stdout
    assert not home.kernels(), "a kernel that cannot be used is not left behind"


def test_demo_that_finds_other_data_fails(home: Home) -> None:
    (home.project / "pandas.py").write_text("class read_csv:\n    shape = (1, 1)\n    def __init__(self, path): ...\n")
    done = _demo(home, home.project)
    assert done.returncode == 1
    assert "the data set was not loaded whole" in done.stderr


def test_demo_says_which_directory_it_cannot_use(home: Home) -> None:
    (home.project / "taken").write_text("a file")
    done = _demo(home, home.project / "taken")
    assert done.returncode == 1
    assert "taken" in done.stderr
    assert "Traceback" not in done.stderr
