"""Everything that `.ci/run` checks, each session in an environment of its own with the built package in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "packages", "systemd"]
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
SYSTEM = {"chromium": "chromium", "pdftoppm": "poppler-utils", "pdftotext": "poppler-utils", "sshd": "openssh-server"}
SYSTEM |= {"zsh": "zsh", "fish": "fish"}
MACHINES = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap"}
FAST = ("tests/unit", "tests/wire")
ELSEWHERE = ("--ignore", "tests/systemd", "--ignore", "tests/packages")
PARALLEL = ("--numprocesses", "3", "--dist", "loadfile", "--durations", "30", *ELSEWHERE)
PYTEST = ("pytest", "--hypothesis-profile", "unhurried")
NEWER_THAN = (3, 10)
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process would compile again what it imports


def other_pythons() -> list[str]:
    """The oldest interpreter ≥ 3.10 at hand, and the newest, but this one's version: on PATH, and pyenv's."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(10, 20)]
    candidates += [str(path) for path in sorted(Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python"))]
    found: dict[tuple[int, ...], str] = {sys.version_info[:2]: sys.executable}
    for candidate in filter(None, candidates):
        answer = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"Python (\d+)\.(\d+)", answer.stdout)
        if version and (key := tuple(map(int, version.groups()))) >= NEWER_THAN:
            found.setdefault(key, os.path.realpath(candidate))
    ends = {min(found), max(found)}
    return [found[key] for key in sorted(ends) if key != sys.version_info[:2]]


OTHERS = other_pythons()
if OTHERS:  # nox finds no session that has no Python
    nox.options.sessions = [*nox.options.sessions, "fast"]


def system_packages(session: nox.Session, wanted: dict[str, str], codes: tuple[int, ...] = (0,)) -> None:
    """What only the system can bring, on a machine that exists for tests: `wanted` has packages by their commands."""
    missing = [package for command, package in wanted.items() if not shutil.which(command)]
    if missing and os.environ.get("CI") and os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (("update",), ("install", "-y", *missing)):
            command = ("apt-get", "-qq", "-o", "Acquire::http::Timeout=10", *words)
            session.run(*command, external=True, silent=True, success_codes=codes)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, who may import whom, and the workflows' form."""
    session.install("check-jsonschema>=0.31", "import-linter>=2.3", "ruff>=0.11", ".")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-cache")
    workflows = map(str, sorted(Path(".github/workflows").iterdir()))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over product and tests."""
    session.install(".[test]")
    session.run("mypy", "kernel_supervisor", "mcp_shim", "tests")


@nox.session
def tests(session: nox.Session) -> None:
    """All four layers, against the built package, on the Python that runs this."""
    system_packages(session, SYSTEM)
    session.install("--compile-bytecode", ".[test]")
    session.run(*PYTEST, *(session.posargs or [*PARALLEL, "tests"]))


@nox.session
def packages(session: nox.Session) -> None:
    """dist/ with wheel and sdist: what is in them, and the main job for an ordinary user who installs them."""
    session.install("--compile-bytecode", ".", "build", "hypothesis", "pytest", "pytest-timeout", "twine", "uv")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "uv", silent=True)
    session.run(*PYTEST, *(session.posargs or ["--durations", "5", "tests/packages"]))


@nox.session
def systemd(session: nox.Session) -> None:
    """The service on a machine that systemd runs, booted for it; skipped by name where that cannot be."""
    system_packages(session, MACHINES, codes=(0, 100))
    session.install("--compile-bytecode", ".", "hypothesis", "pip", "pytest", "pytest-timeout", "pytest-xdist")
    said = str(session.run("python", "-m", "tests.systemd.image", silent=True, success_codes=[0, 1])).strip()
    if not said.startswith("image: "):
        session.skip(f"no machine with systemd: {said}")
    session.run(*PYTEST, *(session.posargs or ["--numprocesses", "2", "--durations", "5", "tests/systemd"]))


@nox.session(python=OTHERS)
def fast(session: nox.Session) -> None:
    """The fast layers on the oldest Python ≥ 3.10 at hand, and on the newest."""
    session.install(".[demo]", "hypothesis", "pyte", "pytest", "pytest-timeout", "pytest-xdist")
    session.run(*PYTEST, "--numprocesses", "3", "--dist", "loadfile", *FAST)


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """All layers with the oldest dependencies that pyproject.toml admits."""
    session.install("--resolution", "lowest-direct", ".[test]")
    session.run(*PYTEST, *ELSEWHERE, "tests")
