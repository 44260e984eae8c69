"""Promise: programs that run notebooks (nbclient, papermill) use our kernels, and end those that they started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Home, until_now

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(standing_home: Home) -> Iterator[Home]:
    """The home, with kernelspecs in a Jupyter folder of its own."""
    yield standing_home
    standing_home.cli("kill", "--all")


@pytest.fixture
def env(home: Home, tmp_path: Path) -> dict[str, str]:
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("RUNTIME", "DATA", "CONFIG")}
    return {**home.env, **own}


def notebook(folder: Path, *cells: str) -> Path:
    path = folder / "run.ipynb"
    cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    found = [{**cell, "id": f"cell-{number}", "source": source} for number, source in enumerate(cells)]
    spec = {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}}
    path.write_text(json.dumps({"cells": found, "metadata": spec, "nbformat": 4, "nbformat_minor": 5}))
    return path


def outputs(path: Path) -> list[str]:
    cells = json.loads(path.read_text())["cells"]
    return ["".join(output["data"]["text/plain"]) for cell in cells for output in cell["outputs"]]


def run(home: Home, program: str, kernelspec: str, env: dict[str, str]) -> None:
    if program == "nbclient":
        code = (
            "import nbformat, nbclient; n = nbformat.read('run.ipynb', 4); "
            f"nbclient.NotebookClient(n, kernel_name={kernelspec!r}).execute(); nbformat.write(n, 'run.ipynb')"
        )
        command = [sys.executable, "-c", code]
    else:
        command = [sys.executable, "-m", "papermill", "run.ipynb", "run.ipynb", "--no-progress-bar", "-k", kernelspec]
    done = subprocess.run(command, cwd=home.project, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("program", ["nbclient", "papermill"])
def test_a_program_runs_a_notebook_in_a_kernel_of_ours_and_ends_it(
    home: Home, env: dict[str, str], program: str
) -> None:
    installed = home.cli("kernelspec", "install", env=env)
    assert installed.returncode == 0, installed.stderr
    assert home.cli("kernelspec", "list", env=env).stdout.startswith("supervised ")
    path = notebook(home.project, "import os; x = 41", "x + 1", "os.getcwd()")
    run(home, program, "supervised", env)
    assert outputs(path) == ["42", repr(str(home.project))]
    until_now(lambda: not home.kernels(), "the kernel that it started is gone")
    status = json.loads(home.cli("status", "--json").stdout)
    (session,) = [name for name in status["sessions"] if name.startswith("project/run-")][-1:]
    entries = json.loads(home.cli("history", "--session", session, "--json").stdout)["entries"]
    run_there = [each["code"] for each in entries if each["kind"] == "code"]  # asyncio may complain as a kernel ends
    assert run_there == ["import os; x = 41", "x + 1", "os.getcwd()"]
    assert home.cli("kernelspec", "uninstall", env=env).returncode == 0
    assert not list(Path(env["JUPYTER_DATA_DIR"], "kernels").iterdir())


@pytest.mark.parametrize("program", ["nbclient", "papermill"])
def test_a_program_that_joins_a_session_leaves_its_kernel(home: Home, env: dict[str, str], program: str) -> None:
    assert home.cli("exec", "--session", "model", "x = 41").returncode == 0
    (pid,) = [each.pid for each in home.kernels()]
    assert home.cli("kernelspec", "install", "--session", "model", env=env).returncode == 0
    path = notebook(home.project, "x += 1; x")
    run(home, program, "supervised-session-project-model", env)
    assert outputs(path) == ["42"]
    assert [each.pid for each in home.kernels()] == [pid]
    assert home.cli("exec", "--session", "model", "x").stdout.strip() == "42"


def test_a_notebook_saved_with_its_sessions_kernel_opens_in_it(home: Home, env: dict[str, str]) -> None:
    assert home.cli("exec", "--session", "opened", "x = 41").returncode == 0
    assert home.cli("kernelspec", "install", "--session", "opened", env=env).returncode == 0
    (home.project / "run.ipynb").unlink(missing_ok=True)  # another test's
    plain = home.cli("save", "--session", "opened", "run.ipynb")
    assert plain.returncode == 0, plain.stderr
    assert json.loads((home.project / "run.ipynb").read_text())["metadata"]["kernelspec"]["name"] == "python3"
    saved = home.cli("save", "--session", "opened", "run.ipynb", "--session-kernel")
    assert "kernel-supervisor jupyterlab" in saved.stdout, saved.stderr
    path = home.project / "run.ipynb"
    content = json.loads(path.read_text())
    content["cells"][0].update(source="x += 1; x", outputs=[])
    path.write_text(json.dumps(content))
    run(home, "nbclient", content["metadata"]["kernelspec"]["name"], env)
    assert outputs(path) == ["42"]
    assert home.cli("exec", "--session", "opened", "x").stdout.strip() == "42", "it was the session's kernel"


def test_a_program_that_knows_no_provisioners_is_told_what_to_do(home: Home, env: dict[str, str]) -> None:
    assert home.cli("kernelspec", "install", env=env).returncode == 0
    spec = json.loads(Path(env["JUPYTER_DATA_DIR"], "kernels/supervised/kernel.json").read_text())
    told = subprocess.run(spec["argv"], capture_output=True, text=True, timeout=60, check=False, env=env)
    assert told.returncode != 0
    assert "kernel-supervisor jupyterlab" in told.stderr


def test_jupyterlab_where_it_is_not_installed_says_how(home: Home, tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'jupyterlab' else find(name, *more)\n"
    )
    done = home.cli("jupyterlab", env={**home.env, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"})
    assert done.returncode == 1
    assert "pip install jupyterlab" in done.stderr
