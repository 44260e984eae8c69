"""Virtual environments, bare interpreters, kernelspecs, tools' environments: found, and kernels run in them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_supervisor.environments.choice import resolve
from kernel_supervisor.environments.defaults import default
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.installing import install
from kernel_supervisor.environments.model import Environment, Where
from tests.process.test_environments_support import Run, kernels, seen_from, variables_in


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with kernels(tmp_path_factory.getbasetemp() / "overlays") as started:
        yield started


@pytest.fixture
def uv() -> str:
    found = shutil.which("uv", path=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}")
    assert found, "uv is in the test extra"
    return found


def test_a_projects_uv_environment_runs_a_kernel_with_its_own_packages(tmp_path: Path, uv: str, run: Run) -> None:
    prefix = tmp_path / "my project" / ".venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(prefix)], check=True)
    where = seen_from(prefix.parent, tmp_path)
    found = resolve(".venv", discover(where), where)
    assert (found.kind, found.ipykernel) == ("uv", "")
    lines: list[str] = []
    install(found, lines.append, where.environ)
    assert "uv pip install" in lines[0].replace("'", "")
    found = resolve(".venv", discover(where), where)
    assert found.ipykernel.partition(".")[0].isdecimal()
    seen = variables_in(run, found, where)
    assert (seen["prefix"], seen["VIRTUAL_ENV"]) == (str(prefix), str(prefix))


def test_a_venv_at_a_very_long_path_runs_a_kernel(tmp_path: Path, run: Run) -> None:
    prefix = tmp_path.joinpath(*["very long folder name" * 8] * 5, ".venv")
    venv.create(prefix, with_pip=False)
    assert len(str(prefix)) > 800
    where = seen_from(prefix.parent, tmp_path)
    seen = variables_in(run, resolve(".venv", discover(where), where), where)
    assert seen["prefix"] == str(prefix)


def interpreters() -> list[Environment]:
    """Every Python at hand that is old enough, one per version."""
    found = discover(seen_from(Path("/"), Path.home()))
    usable = {e.python_version: e for e in found if e.kind in ("pyenv", "python") and not e.broken}
    return [usable[version] for version in sorted(usable)]


@pytest.mark.parametrize("environment", [pytest.param(e, id=f"{e.kind}-{e.python_version}") for e in interpreters()])
def test_every_python_at_hand_runs_a_kernel(environment: Environment, run: Run) -> None:
    seen = variables_in(run, environment, seen_from(Path("/"), Path.home()))
    assert seen["version"].startswith(environment.python_version)
    assert os.path.realpath(seen["executable"]) == os.path.realpath(environment.python)


def test_a_kernel_of_another_language_runs_in_the_environment_that_brings_it(tmp_path: Path, uv: str, run: Run) -> None:
    prefix = tmp_path / ".venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(prefix)], check=True)
    python = str(prefix / "bin" / "python")
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "bash_kernel"], check=True)
    subprocess.run([python, "-m", "bash_kernel.install", "--sys-prefix"], check=True, capture_output=True)
    where = seen_from(tmp_path, tmp_path)
    found = resolve("bash", discover(where), where)
    assert (found.kind, found.language, found.prefix) == ("kernelspec", "bash", str(prefix))
    assert run(found, 'echo "$VIRTUAL_ENV $((6 * 7))"', where).split() == [str(prefix), "42"]


def test_what_uvx_makes_is_told_from_a_persons_environment(tmp_path: Path, uv: str) -> None:
    ask = "import sys; print(sys.executable)"
    asked = subprocess.run(
        [uv, "tool", "run", "--quiet", "--python", sys.executable, "--with", "six", "python", "-c", ask],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    venv.create(tmp_path / "project" / ".venv", with_pip=False)
    where = Where(
        environ={"PATH": os.defpath},
        home=tmp_path,
        directory=tmp_path / "project",
        shim_python=asked.stdout.strip(),
    )
    chosen = default(where)
    assert chosen.prefix == str(tmp_path / "project" / ".venv")
    assert "uvx" in chosen.why
