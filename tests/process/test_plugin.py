"""Promise: Claude Code's plugin starts the installed server, and says what lives as a conversation begins."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from kernel_supervisor import __version__
from kernel_supervisor.mcp.registry import TOOLS
from tests.support import DEADLINE_S, Home, Session, until_now

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "plugin"
TEXTS = sorted(PLUGIN.rglob("*.md"))
REQUIRED = {"commands": {"description", "argument-hint"}, "skills": {"name", "description"}}
"""What stands above a text by the plugins' reference (code.claude.com/docs/en/plugins-reference)."""


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder with the two commands as an installer puts them, for PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, module in (("kernel-supervisor", "kernel_supervisor.cli.main"), ("kernel-supervisor-mcp", "mcp_shim")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -m {module} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def _hook(home: Home, path: str) -> subprocess.CompletedProcess[str]:
    """What the hook says at the beginning of a conversation, run as Claude Code runs it."""
    (group,) = _json(PLUGIN / "hooks/hooks.json")["hooks"]["SessionStart"]
    env = {**home.env, "CLAUDE_PLUGIN_ROOT": str(PLUGIN), "PATH": f"{path}:/usr/bin:/bin"}
    command = ["/bin/sh", "-c", group["hooks"][0]["command"]]
    return subprocess.run(
        command, input="{}", cwd=home.project, env=env, timeout=DEADLINE_S, capture_output=True, text=True, check=False
    )


def test_the_marketplace_has_the_plugin_of_this_version() -> None:
    (entry,) = _json(ROOT / ".claude-plugin/marketplace.json")["plugins"]
    manifest = _json(ROOT / entry["source"] / ".claude-plugin/plugin.json")
    assert (manifest["name"], manifest["version"]) == (entry["name"], __version__)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", manifest["name"])


@pytest.mark.parametrize("file", TEXTS, ids=[each.stem if each.stem != "SKILL" else each.parent.name for each in TEXTS])
def test_what_the_plugin_teaches_is_there(file: Path) -> None:
    """Every tool that it names, and what stands above it."""
    _, head, text = file.read_text(encoding="utf-8").split("---\n", 2)
    kind = file.relative_to(PLUGIN).parts[0]
    assert {line.partition(":")[0] for line in head.splitlines()} == REQUIRED[kind]
    named = set(re.findall(r"\bkernel_\w+", text))
    assert named
    assert named <= set(TOOLS)


@pytest.mark.anyio
async def test_its_server_is_the_one_that_is_installed(home: Home, path: Path) -> None:
    (server,) = _json(PLUGIN / ".mcp.json")["mcpServers"].values()
    command = server["command"].replace("${CLAUDE_PLUGIN_ROOT}", str(PLUGIN))
    env = {**home.env, "PATH": f"{path}:/usr/bin:/bin"}
    parameters = StdioServerParameters(command=command, args=[], env=env, cwd=str(home.project))
    async with Client(stdio_client(parameters)) as client:
        assert (await Session(client).run("6 * 7")).text.endswith("42")


def test_without_an_installed_server_it_says_what_to_do(home: Home, tmp_path: Path) -> None:
    env = {**home.env, "PATH": str(tmp_path)}
    done = subprocess.run(
        [PLUGIN / "bin/serve"], env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 127
    assert "pipx install kernel-supervisor" in done.stderr


def test_a_conversation_begins_with_what_lives(home: Home, path: Path) -> None:
    assert home.cli("exec", "x = 41").returncode == 0
    lives, last = _hook(home, str(path)).stdout.splitlines()
    assert lives.startswith(f"Python session {home.project.name}/ of kernel-supervisor lives: a kernel that is idle")
    assert "1 cell;" in lives
    assert last == "Execution 1 was the last (ok): x = 41"
    loop = "while 'go' not in globals():\n    import time; time.sleep(0.05)"
    assert home.cli("exec", "--no-wait", loop).returncode == 0
    until_now(lambda: "is busy" in _hook(home, str(path)).stdout, "the cell runs")
    _, running = _hook(home, str(path)).stdout.splitlines()
    assert re.fullmatch(r"Execution 2 has been at work for .* m?s: while 'go' not in globals\(\): …", running)


def test_it_says_nothing_where_nothing_lives_and_starts_nothing(home: Home, path: Path, tmp_path: Path) -> None:
    for where in (str(tmp_path / "empty"), str(path)):
        done = _hook(home, where)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not home.daemons()
    assert home.cli("start").returncode == 0
    done = _hook(home, str(path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert home.cli("exec", "import os; os._exit(3)").returncode == 1
    until_now(lambda: not _hook(home, str(path)).stdout, "the kernel is known to be gone")
