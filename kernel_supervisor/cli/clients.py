"""MCP clients that people use: where each has its servers, in which form, and its own command that adds one.

Their files belong to people: an entry of ours is put in beside all else, comments and layout included, and only where
reading the outcome proves that nothing else changed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel_supervisor.paths import put, read_regular

NAME = "kernel-supervisor"
LARGEST = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What a client is to start."""

    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    handed_on: tuple[str, ...] = ()
    """Variables that have their value where the client runs: what is shared names no place on one machine."""

    @property
    def entry(self) -> dict[str, Any]:
        """As it stands in most files."""
        entry = {"command": self.command[0], "args": self.command[1:]}
        return {**entry, "env": self.env} if self.env else entry


@dataclass(frozen=True, slots=True, kw_only=True)
class McpClient:
    """One client. `{}` in `reference` is a variable's name."""

    title: str
    program: str
    user: Callable[[], Path]
    """Its file with the servers of this user."""
    project: str
    """That of a project, from its folder."""
    key: str = "mcpServers"
    """What the servers stand under."""
    reference: str = "${{{}:-}}"
    """How its files name a variable of its own environment that may be missing."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """What an entry has besides."""
    adding: Callable[[str, Server], list[str]] | None = None
    """Its own command that adds a server in a scope, where it has one that says all; empty for a scope without one."""
    removing: str = ""

    def file(self, scope: str) -> Path:
        """Where the servers of a scope stand."""
        return Path.cwd() / self.project if scope == "project" else self.user()

    def keys(self, scope: str) -> tuple[str, ...]:
        """Under what."""
        return ("projects", str(Path.cwd()), self.key) if scope == "local" else (self.key,)

    def server(self, server: Server) -> Server:
        """With the variables that are handed on as this client names them, where its entries have no place for them."""
        env = {**server.env, **{name: self.reference.format(name) for name in server.handed_on}}
        return Server(command=server.command, env=env)

    def entry(self, server: Server) -> dict[str, Any]:
        """As it stands in its file."""
        return {**self.more, **self.server(server).entry}

    def whole(self, entry: Mapping[str, Any]) -> str:
        """The text of a file that has this entry alone."""
        return json.dumps({self.key: {NAME: entry}}, indent=2, ensure_ascii=False) + "\n"

    def read(self, text: str) -> Any:
        """What is in such a file. Raises ValueError."""
        return _shallow(json.loads, text) if text.strip() else {}

    def with_entry(self, text: str, entry: Mapping[str, Any]) -> str:
        """The text with the entry put in, everything else as it stood. Raises ValueError where that cannot be done."""
        content = self.read(text)
        if not text.strip():
            return self.whole(entry)
        servers = content.get(self.key, {}) if isinstance(content, dict) else None
        if not isinstance(servers, dict) or NAME in servers:
            raise ValueError("it is laid out otherwise")
        for changed in self._tries(text, entry, content):
            if _parsed(self.read, changed) == {**content, self.key: {**servers, NAME: entry}}:
                return changed
        raise ValueError("no place in it was found")

    def _tries(self, text: str, entry: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
        """The text with the entry in each place that may be right."""
        block = f"{json.dumps(NAME)}: {json.dumps(entry, indent=2, ensure_ascii=False)}"
        places, beside = [found.end() for found in re.finditer(rf'"{self.key}"\s*:\s*{{', text)], content.get(self.key)
        deep = "    "
        if self.key not in content:
            block = f"{json.dumps(self.key)}: {{\n{textwrap.indent(block, '  ')}\n}}"
            places, beside, deep = [text.index("{") + 1], content, "  "
        end = "," if beside else "\n" + deep[2:]
        return [f"{text[:at]}\n{textwrap.indent(block, deep)}{end}{text[at:]}" for at in places]


class Codex(McpClient):
    """Its file is TOML, and a table may stand at its end. `codex mcp add` knows nothing of `required`, and comments
    beside other servers are lost by it."""

    __slots__ = ()

    def entry(self, server: Server) -> dict[str, Any]:
        """As it stands in its file."""
        entry = super().entry(Server(command=server.command, env=server.env))
        return {**entry, "env_vars": list(server.handed_on)} if server.handed_on else entry

    def whole(self, entry: Mapping[str, Any]) -> str:
        """The text of a file that has this entry alone."""
        lines = [f"{name} = {_toml(value)}" for name, value in entry.items()]
        return "\n".join([f"[{self.key}.{NAME}]", *lines]) + "\n"

    def read(self, text: str) -> Any:
        """What is in such a file. Raises ValueError, also where this Python cannot read TOML."""
        if sys.version_info >= (3, 11):
            import tomllib  # 5 ms, for those alone who have Codex

            return _shallow(tomllib.loads, text)
        raise ValueError("Python 3.10 does not read TOML")

    def _tries(self, text: str, entry: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
        return [f"{text.rstrip()}\n\n{self.whole(entry)}"]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(each)}" for name, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _shallow(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parsed(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError:
        return None


def entry_in(content: Any, keys: Iterable[str]) -> Any:
    """What stands there in a file's content; None for nothing."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def text_of(file: Path) -> str:
    """What is in it; empty where it is not there. Raises OSError, ValueError."""
    try:
        return read_regular(str(file), LARGEST).decode()
    except FileNotFoundError:
        return ""


def add(client: McpClient, file: Path, entry: Mapping[str, Any], mode: int) -> None:
    """Put the entry into a file, through links, or make it with `mode`. Raises OSError, ValueError."""
    text, target = client.with_entry(text_of(file), entry), file.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    put(str(target), text, target.stat().st_mode & 0o777 if target.exists() else mode)


def _home(*parts: str) -> Callable[[], Path]:
    return lambda: Path(os.path.expanduser("~"), *parts)


def _claudes() -> Path:
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~"), ".claude.json")


def _codexes() -> Path:
    return Path(os.environ.get("CODEX_HOME") or os.path.expanduser("~/.codex"), "config.toml")


def _codes() -> Path:
    place = "~/Library/Application Support" if sys.platform == "darwin" else "~/.config"
    return Path(os.path.expanduser(place), "Code/User/mcp.json")


def _added_by_claude(scope: str, server: Server) -> list[str]:
    """The name before the variables: as many as come belong to `-e`."""
    env = [word for name, value in server.env.items() for word in ("-e", f"{name}={value}")]
    return ["claude", "mcp", "add", "--scope", scope, NAME, *env, "--", *server.command]


def _added_by_gemini(scope: str, server: Server) -> list[str]:
    env = [word for name, value in server.env.items() for word in ("-e", f"{name}={value}")]
    program, *arguments = server.command
    return ["gemini", "mcp", "add", "--scope", scope, *env, NAME, program, *(["--", *arguments] if arguments else [])]


def _added_by_code(scope: str, server: Server) -> list[str]:
    if scope == "project":
        return []
    return ["code", "--add-mcp", json.dumps({"name": NAME, **server.entry}, ensure_ascii=False)]


CLIENTS: dict[str, McpClient] = {
    "claude": McpClient(
        title="Claude Code",
        program="claude",
        user=_claudes,
        project=".mcp.json",
        adding=_added_by_claude,
        removing="claude mcp remove --scope {scope} " + NAME,
    ),
    "codex": Codex(
        title="Codex",
        program="codex",
        user=_codexes,
        project=".codex/config.toml",
        key="mcp_servers",
        more={"required": True},
    ),
    "gemini": McpClient(
        title="Gemini CLI",
        program="gemini",
        user=_home(".gemini", "settings.json"),
        project=".gemini/settings.json",
        adding=_added_by_gemini,
        removing="gemini mcp remove --scope {scope} " + NAME,
    ),
    "cursor": McpClient(
        title="Cursor",
        program="cursor",
        user=_home(".cursor", "mcp.json"),
        project=".cursor/mcp.json",
        reference="${{env:{}}}",
    ),
    "vscode": McpClient(
        title="VS Code",
        program="code",
        user=_codes,
        project=".vscode/mcp.json",
        key="servers",
        reference="${{env:{}}}",
        more={"type": "stdio"},
        adding=_added_by_code,
    ),
}
