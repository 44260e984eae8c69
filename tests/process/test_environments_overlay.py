"""ipykernel laid over an environment: built once, whole or not at all, and explained where it fails."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.environments.choice import resolve
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.installing import install
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.overlay import ensure_overlay
from tests.process.test_environments_support import Run, kernels, seen_from, silent
from tests.shadows import MODULES, PACKAGES, Shadows

BUILD = """
import os, sys
from pathlib import Path
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.overlay import ensure_overlay
environment = Environment(name="e", kind="venv", prefix=sys.argv[1], python=sys.argv[1] + "/bin/python")
said = lambda line: print(line, flush=True)
print(ensure_overlay(environment, Path(sys.argv[2]), said, os.environ), flush=True)
"""
OFFLINE = {
    "UV_OFFLINE": "1",
    "UV_NO_CACHE": "1",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "",
}


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with kernels(tmp_path_factory.getbasetemp() / "overlays") as started:
        yield started


@pytest.fixture
def bare(tmp_path: Path) -> Environment:
    """A virtual environment with nothing in it."""
    prefix = tmp_path / "bare one"
    venv.create(prefix, with_pip=False)
    return Environment(name="bare one", kind="venv", prefix=str(prefix), python=str(prefix / "bin" / "python"))


def building(environment: Environment, cache: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", BUILD, environment.prefix, str(cache)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def test_an_overlay_is_seen_by_the_kernel_and_not_by_its_subprocesses(tmp_path: Path, run: Run) -> None:
    venv.create(tmp_path / ".venv", with_pip=False)
    before = sorted(path.name for path in (tmp_path / ".venv").rglob("*"))
    where = seen_from(tmp_path, tmp_path)
    code = (
        "import subprocess, sys, ipykernel; print(ipykernel.__file__)\n"
        "print(subprocess.run([sys.executable, '-c', 'import ipykernel'], capture_output=True).returncode)"
    )
    said = run(resolve(".venv", discover(where), where), code, where).split()
    assert "overlays" in said[0]
    assert said[1] == "1"
    assert sorted(path.name for path in (tmp_path / ".venv").rglob("*")) == before


def test_of_two_that_need_the_same_overlay_one_builds(bare: Environment, tmp_path: Path) -> None:
    both = [building(bare, tmp_path / "cache") for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("fetching ipykernel" in lines for lines in said) == 1
    assert said[0].splitlines()[-1] == said[1].splitlines()[-1]


def test_a_builder_that_is_killed_leaves_nothing_that_counts(bare: Environment, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = building(bare, cache)
    with process:
        assert process.stdout is not None
        assert "fetching" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not [path for path in cache.iterdir() if path.is_dir() and ".new-" not in path.name]
    overlay = ensure_overlay(bare, cache, silent, os.environ)
    assert (overlay / "ipykernel_launcher.py").is_file()


def test_an_overlay_that_a_cleaner_has_been_at_is_built_anew(bare: Environment, tmp_path: Path) -> None:
    overlay = ensure_overlay(bare, tmp_path / "cache", silent, os.environ)
    shutil.rmtree(overlay / "ipykernel")
    assert ensure_overlay(bare, tmp_path / "cache", silent, os.environ) == overlay
    assert (overlay / "ipykernel" / "kernelapp.py").is_file()
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [overlay]


def test_without_uv_and_pip_the_pip_that_python_brings_is_borrowed(
    bare: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_supervisor.environments.overlay.find_uv", lambda environ: "")
    overlay = ensure_overlay(bare, tmp_path / "cache", silent, os.environ)
    assert (overlay / "ipykernel_launcher.py").is_file()
    assert not list(Path(bare.prefix).rglob("pip"))


def test_offline_the_note_says_the_command_for_that_environment(bare: Environment, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="pip install") as failed:
        ensure_overlay(bare, tmp_path / "cache", silent, {**os.environ, **OFFLINE})
    assert bare.python in str(failed.value)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_offline_an_installation_fails_with_the_end_of_what_was_said(bare: Environment) -> None:
    with pytest.raises(UnavailableError, match="failed with code") as failed:
        install(bare, silent, {**os.environ, **OFFLINE})
    assert "ipykernel" in str(failed.value).partition("\n")[2]


NOISE = """
import atexit, os, sys
print("hello", end="")
print('{"not": "for you"}')
os.write(1, b"at once")
atexit.register(print, "goodbye")
"""


@pytest.mark.parametrize("borrowed", [False, True], ids=["uv", "pip"])
def test_an_interpreter_that_prints_around_its_answers_is_given_an_overlay(
    bare: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, borrowed: bool
) -> None:
    if borrowed:
        monkeypatch.setattr("kernel_supervisor.environments.overlay.find_uv", lambda environ: "")
    site = Path(bare.prefix, "lib", f"python{sysconfig.get_python_version()}", "site-packages")
    (site / "sitecustomize.py").write_text(NOISE)
    (site / "loud.pth").write_text("import sys; sys.stdout.write('loud'); sys.stdout.flush()\n")
    overlay = ensure_overlay(bare, tmp_path / "cache", silent, os.environ)
    assert (overlay / "ipykernel_launcher.py").is_file()
    assert "hello" not in overlay.name


def test_a_clients_variables_and_modules_reach_neither_probe_nor_installer(bare: Environment, tmp_path: Path) -> None:
    shadows = Shadows(tmp_path / "project", tmp_path / "ran")
    shadows.folder.mkdir()
    shadows.lay(*MODULES, *PACKAGES)
    environ = {**os.environ, **shadows.variables(), "PWD": str(shadows.folder)}
    assert ensure_overlay(bare, tmp_path / "cache", silent, environ).is_dir()
    with pytest.raises(UnavailableError, match="failed with code"):  # quickly: this is about what runs
        install(bare, silent, {**environ, **OFFLINE})
    assert shadows.run_outside_kernels() == []


@pytest.mark.parametrize("script", ["#!/bin/sh\necho boom >&2; exit 3\n", "#!/no/boom\n", "boom is no program\n"])
def test_an_interpreter_that_does_not_run_is_explained(bare: Environment, tmp_path: Path, script: str) -> None:
    python = Path(bare.python)
    python.unlink()
    python.write_text(script)
    python.chmod(0o755)
    with pytest.raises(UnavailableError, match="Stage interpreter") as failed:
        ensure_overlay(bare, tmp_path / "cache", silent, os.environ)
    assert str(python) in str(failed.value)


def test_a_cache_that_cannot_be_written_is_explained(bare: Environment, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="Not a directory"):
        ensure_overlay(bare, tmp_path / "file" / "cache", silent, os.environ)
