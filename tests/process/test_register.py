"""Promise: `register` tells each client about the server, once, and leaves everything else in its files as it stood."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Home, fresh_home

pytestmark = pytest.mark.timeout(120)
CLIENTS = ("claude", "codex", "gemini", "cursor", "vscode")
PROGRAMS = ("claude", "codex", "gemini", "code")
FILES = {
    "claude": ".mcp.json",
    "codex": ".codex/config.toml",
    "gemini": ".gemini/settings.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".vscode/mcp.json",
}
"""Of a project."""
NAME = "kernel-supervisor"


@pytest.fixture(scope="module")
def desk() -> Iterator[Home]:
    """One daemon for all: nothing here ends it."""
    with fresh_home() as home:
        yield home


class Person:
    """Somebody with a home directory, a project and clients of their own."""

    def __init__(self, desk: Home, folder: Path, *programs: str) -> None:
        self.desk, self.home, self.project, self.said = desk, folder / "home", folder / "project", folder / "said"
        for place in (self.home, self.project, self.said, folder / "bin"):
            place.mkdir()
        for program in programs:
            stand_in = folder / "bin" / program
            stand_in.write_text(f'#!/bin/sh\nfor each; do printf "%s\\n" "$each"; done > "{self.said}/{program}"\n')
            stand_in.chmod(0o755)
        dropped = {"CODEX_HOME", "CLAUDE_CONFIG_DIR"}
        env = {name: value for name, value in desk.env.items() if name not in dropped}
        self.env = {**env, "HOME": str(self.home), "PATH": f"{folder / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"}

    def register(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return self.desk.cli("register", *arguments, cwd=self.project, env={**self.env, **more})

    def heard(self, program: str) -> list[str]:
        """What a client's own program was called with."""
        return (self.said / program).read_text().splitlines()

    def files(self) -> list[str]:
        """All that lies in the home directory and the project."""
        return sorted(str(path) for place in (self.home, self.project) for path in place.rglob("*") if path.is_file())


def _toml(text: str) -> Any:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 does not read TOML")
    return tomllib.loads(text)


def _snippet(said: str) -> str:
    """What is to stand in a client's file, as it is printed: indented by four."""
    return "".join(line[4:] + "\n" for line in said.partition(" in ")[2].splitlines()[2:] if line[:4] == "    ")


def test_claude_code_and_any_other_client_are_told_what_to_do(desk: Home, tmp_path: Path) -> None:
    person = Person(desk, tmp_path, "claude")
    done = person.register("--print", "--session", "fixed")
    assert done.returncode == 0, done.stderr
    (command,) = re.findall(r"claude mcp add .*", done.stdout)
    assert command.endswith("--session fixed")
    document, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index("\n{") + 1 :])
    (server,) = document["mcpServers"].values()
    assert os.path.isabs(server["command"])
    assert server["env"] == {"KERNEL_SUPERVISOR_HOME": str(desk.path)}
    assert sys.executable in done.stdout, "it says which interpreter runs the default kernel"
    told = subprocess.run(
        [server["command"], *server["args"], "--version"], capture_output=True, text=True, env=desk.env, check=True
    )
    assert told.stdout.startswith("kernel-supervisor-mcp "), "what it prints can be run"
    assert person.files() == []
    assert not list(person.said.iterdir())


@pytest.mark.parametrize("client", ["claude", "gemini", "vscode"])
def test_a_clients_own_command_is_run_where_it_is_there(desk: Home, tmp_path: Path, client: str) -> None:
    person = Person(desk, tmp_path, *PROGRAMS)
    assert person.register(client).returncode == 0
    home = f"KERNEL_SUPERVISOR_HOME={desk.path}"
    if client == "vscode":
        flag, entry = person.heard("code")
        wanted = {"name": NAME, "command": sys.executable, "args": ["-I", "-m", "mcp_shim"]}
        assert (flag, json.loads(entry)) == ("--add-mcp", {**wanted, "env": {"KERNEL_SUPERVISOR_HOME": str(desk.path)}})
    elif client == "claude":
        words = ["mcp", "add", "--scope", "user", NAME, "-e", home, "--", sys.executable, "-I", "-m", "mcp_shim"]
        assert person.heard("claude") == words
    else:
        words = ["mcp", "add", "--scope", "user", "-e", home, NAME, sys.executable, "--", "-I", "-m", "mcp_shim"]
        assert person.heard("gemini") == words
    assert person.files() == []


@pytest.mark.parametrize("client", CLIENTS)
def test_where_a_client_has_no_command_what_belongs_into_its_file_is_printed(
    desk: Home, tmp_path: Path, client: str
) -> None:
    person = Person(desk, tmp_path)
    done = person.register(client)
    assert done.returncode == 0, done.stderr
    snippet = _snippet(done.stdout)
    if client == "codex":
        assert "config.toml" in done.stdout
        (entry,) = _toml(snippet)["mcp_servers"].values()
        assert entry.pop("required") is True, "Codex goes without our tools where they are not there at once"
    else:
        ((key, servers),) = json.loads(snippet).items()
        assert key == ("servers" if client == "vscode" else "mcpServers")
        entry = servers[NAME]
    entry.pop("type", None)
    env = {"KERNEL_SUPERVISOR_HOME": str(desk.path)}
    assert entry == {"command": sys.executable, "args": ["-I", "-m", "mcp_shim"], "env": env}
    assert person.files() == [], "nothing is written where the client is not"


@pytest.mark.parametrize(
    "theirs",
    [
        '# mine\nmodel = "x"  # the best\n\n[mcp_servers.other]\ncommand = "a"  # theirs\n',
        "# nothing but words\n",
        '[mcp_servers."else"]\ncommand = "b"',
    ],
)
def test_codex_has_its_entry_behind_what_stands_in_its_file(desk: Home, tmp_path: Path, theirs: str) -> None:
    person = Person(desk, tmp_path, "codex")
    file = person.home / "dotfiles.toml"
    file.write_text(theirs)
    file.chmod(0o640)
    (person.home / ".codex").mkdir()
    (person.home / ".codex/config.toml").symlink_to(file)
    assert person.register("codex", "--session", "m").returncode == 0
    text = file.read_text()
    assert text.startswith(theirs)
    assert file.stat().st_mode & 0o777 == 0o640
    assert (person.home / ".codex/config.toml").is_symlink()
    assert _toml(text)["mcp_servers"][NAME] == {
        "required": True,
        "command": sys.executable,
        "args": ["-I", "-m", "mcp_shim", "--session", "m"],
        "env": {"KERNEL_SUPERVISOR_HOME": str(desk.path)},
    }
    again = person.register("codex", "--session", "m")
    assert (again.returncode, file.read_text()) == (0, text)
    assert "already" in again.stdout


@pytest.mark.parametrize("client", CLIENTS)
def test_a_projects_file_names_nothing_of_this_machine(desk: Home, tmp_path: Path, client: str) -> None:
    """Claude Code's and Gemini's own commands write it where they are there, as their stand-ins show elsewhere."""
    person = Person(desk, tmp_path)
    (tmp_path / "bin/kernel-supervisor-mcp").symlink_to(sys.executable)
    done = person.register(client, "--scope", "project", "--session", "m")
    assert done.returncode == 0, done.stderr
    file = person.project / FILES[client]
    assert person.files() == [str(file)]
    text = file.read_text()
    for place in (str(tmp_path), str(desk.path), sys.prefix, os.path.expanduser("~")):
        assert place not in text
    assert file.stat().st_mode & 0o777 == 0o644
    (servers,) = (_toml(text) if client == "codex" else json.loads(text)).values()
    assert (servers[NAME]["command"], servers[NAME]["args"]) == (
        "kernel-supervisor-mcp",
        ["--session", "m"],
    )
    named = servers[NAME].get("env_vars") or list(servers[NAME]["env"])
    assert named == ["KERNEL_SUPERVISOR_HOME"]
    again = person.register(client, "--scope", "project", "--session", "m")
    assert (again.returncode, file.read_text()) == (0, text)
    assert "already" in again.stdout


def test_a_project_is_registered_by_claude_codes_own_command_and_by_uvx(desk: Home, tmp_path: Path) -> None:
    person = Person(desk, tmp_path, "claude", "uvx")
    assert person.register("--scope", "project").returncode == 0
    said = person.heard("claude")
    assert said[:5] == ["mcp", "add", "--scope", "project", NAME]
    assert said[said.index("--") + 1 :] == ["uvx", "--from", NAME, "kernel-supervisor-mcp"]
    assert said[5:7] == ["-e", "KERNEL_SUPERVISOR_HOME=${KERNEL_SUPERVISOR_HOME:-}"], "of whoever works there"


THEIRS = [
    '{"mcpServers": {"other": {"command": "a"}}, "more": [1,  2]}',
    '{\n\t"inputs": [],\n\t"mcpServers": {}\n}',
    '{"more": {"mcpServers": {"x": 1}}, "mcpServers": {\n  "other": {}\n}}',
    '{ "inputs": [] }\n',
    "{}",
    "",
]


@pytest.mark.parametrize("theirs", THEIRS)
def test_what_else_stands_in_a_file_stays_as_it_is(desk: Home, tmp_path: Path, theirs: str) -> None:
    person = Person(desk, tmp_path)
    file = person.project / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text(theirs)
    assert person.register("cursor", "--scope", "project").returncode == 0
    text = file.read_text()
    content, before = json.loads(text), json.loads(theirs or "{}")
    assert NAME in content["mcpServers"]
    del content["mcpServers"][NAME]
    assert content == {"mcpServers": {}, **before}
    rest = iter(text)
    assert all(character in rest for character in theirs.strip()), "every character of theirs is there, in order"


@pytest.mark.parametrize(
    "theirs",
    ['{\n  // mine\n  "mcpServers": {"other": {}}\n}', "[]", '{"mcpServers": []}', "\xff", '{"a": 1} {"b": 2}'],
)
def test_a_file_that_cannot_be_changed_safely_is_left_alone_and_the_entry_is_printed(
    desk: Home, tmp_path: Path, theirs: str
) -> None:
    person = Person(desk, tmp_path)
    file = person.project / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text(theirs, encoding="latin-1")
    done = person.register("cursor", "--scope", "project")
    assert done.returncode == 0, done.stderr
    assert file.read_text(encoding="latin-1") == theirs
    assert f'"{NAME}": {{' in done.stdout
    assert "left as it is" in done.stdout


@pytest.mark.parametrize("theirs", ['mcp_servers = { other = { command = "a" } }', "model = ", "[[mcp_servers]]"])
def test_a_file_of_codex_that_has_no_place_for_a_table_is_left_alone(desk: Home, tmp_path: Path, theirs: str) -> None:
    person = Person(desk, tmp_path, "codex")
    file = person.home / ".codex/config.toml"
    file.parent.mkdir()
    file.write_text(theirs)
    done = person.register("codex")
    assert (done.returncode, file.read_text()) == (0, theirs)
    assert f"[mcp_servers.{NAME}]" in done.stdout


def test_what_is_there_already_is_said_and_another_one_is_not_replaced(desk: Home, tmp_path: Path) -> None:
    person = Person(desk, tmp_path, "claude")
    command = [sys.executable, "-I", "-m", "mcp_shim"]
    env = {"KERNEL_SUPERVISOR_HOME": str(desk.path)}
    entry = {"type": "stdio", "command": command[0], "args": command[1:], "env": env}
    file = person.home / ".claude.json"
    file.write_text(json.dumps({"mcpServers": {NAME: entry}}))
    done = person.register()
    assert done.returncode == 0, done.stderr
    assert f"there already, in {file}" in done.stdout
    other = person.register("--session", "other")
    assert other.returncode == 1
    assert f"claude mcp remove --scope user {NAME}" in other.stderr
    assert not list(person.said.iterdir()), "nothing was run"
    commented = person.home / ".gemini/settings.json"
    commented.parent.mkdir()
    commented.write_text(f'{{"mcpServers": {{ // those\n "{NAME}": {{}}}}}}')
    done = person.register("gemini")
    assert (done.returncode, "there already" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"command": "x", "args": None}, "which starts: x\n"),
        ({"command": "x", "args": 5}, "which starts: x\n"),
        ({"command": "x y", "args": ["a", 1]}, "which starts: 'x y' a 1\n"),
        ({"url": "http://localhost:1/mcp"}, "at http://localhost:1/mcp\n"),
        ({"command": ["x"]}, "which starts nothing\n"),
        ({}, "which starts nothing\n"),
        ("x", "which starts nothing\n"),
    ],
)
def test_an_entry_of_any_form_is_said_to_be_another_one(desk: Home, tmp_path: Path, entry: object, words: str) -> None:
    person = Person(desk, tmp_path)
    file = person.project / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"mcpServers": {NAME: entry}}))
    done = person.register("cursor", "--scope", "project")
    assert done.returncode == 1
    assert f"{file} has another one already, {words}" in done.stderr
    assert f"take {NAME} out of {file}" in done.stderr


@pytest.mark.parametrize(
    ("client", "name", "opening"), [("cursor", ".cursor/mcp.json", ""), ("codex", ".codex/config.toml", "a = ")]
)
def test_a_file_that_nobody_can_read_to_its_end_is_left_alone(
    desk: Home, tmp_path: Path, client: str, name: str, opening: str
) -> None:
    person = Person(desk, tmp_path)
    file = person.project / name
    file.parent.mkdir()
    file.write_text(opening + "[" * 100_000 + "]" * 100_000)
    before = file.read_bytes()
    done = person.register(client, "--scope", "project")
    assert (done.returncode, file.read_bytes()) == (0, before), done.stderr
    assert "left as it is (it is nested too deeply)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["emacs"], "emacs is none of claude, codex"),
        (["codex", "--scope", "local"], "Claude Code's alone"),
        (["--scope", "project", "--python", sys.executable], "another machine"),
    ],
)
def test_what_makes_no_sense_is_refused(desk: Home, tmp_path: Path, arguments: list[str], words: str) -> None:
    person = Person(desk, tmp_path, *PROGRAMS)
    done = person.register(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(person.said.iterdir())
