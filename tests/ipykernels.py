"""Environments with some ipykernel: each is built once in a run, whichever of its processes asks, and goes with it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_FOLDER = "TESTS_OF_KERNEL_SUPERVISOR_ENVIRONMENTS"


def name_folder() -> bool:
    """Say where they are built, to the processes of this run too; whether nobody said it before."""
    is_first = _FOLDER not in os.environ
    os.environ.setdefault(_FOLDER, f"/var/tmp/ks-environments-{os.getpid()}")
    return is_first


def remove_all() -> None:
    """At the end of the run."""
    shutil.rmtree(os.environ.pop(_FOLDER), ignore_errors=True)


def python_with(requirement: str) -> str:
    """An interpreter of the tests' own Python with that ipykernel."""
    return str(built(sys.executable, requirement) / "bin/python")


def built(python: str, *wanted: str) -> Path:
    """The prefix of an environment of that Python with those packages."""
    python = os.path.realpath(python)
    name = hashlib.sha256(repr((python, wanted)).encode()).hexdigest()[:12]
    folder = Path(os.environ[_FOLDER])
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not lock.read():
            _build(folder / name, python, wanted)
            lock.write("built")
    return folder / name


def _build(prefix: Path, python: str, wanted: tuple[str, ...]) -> None:
    """What is imported of it is compiled then: that is a tenth of what there is."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--clear", "--python", python, str(prefix)], check=True)
    subprocess.run([*uv, "pip", "install", "-q", "--python", str(prefix / "bin/python"), *wanted], check=True)
