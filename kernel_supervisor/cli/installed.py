"""What of ours stands outside our own folders: registrations in Claude Code's files, and kernelspecs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_supervisor.cli import jupyter
from kernel_supervisor.cli.clients import CLIENTS, LARGEST, NAME, entry_in, text_of
from kernel_supervisor.cli.registration import OPTIONS
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import put, read_regular

_CLAUDE = CLIENTS["claude"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """Our entry in a file of Claude Code's."""

    file: Path
    keys: tuple[str, ...]
    """Where in it the servers stand among which it is."""
    words: tuple[str, ...]
    """The command that it starts."""

    @property
    def scope(self) -> str:
        """As `claude mcp` calls it."""
        return "project" if self.file.name == ".mcp.json" else "local" if len(self.keys) > 1 else "user"

    @property
    def where(self) -> str:
        """For a person."""
        return f"{self.file}" + (f", for {self.keys[1]}" if len(self.keys) > 1 else "")

    @property
    def fresh(self) -> list[str]:
        """What this version would write, with the options that were chosen."""
        options = [each for each in self.words if each.startswith("--")]
        values = [self.words[self.words.index(each) + 1 :][:1] for each in options]
        chosen = [
            word for each, value in zip(options, values, strict=True) if each in OPTIONS for word in (each, *value)
        ]
        return [*isolated("mcp_shim"), *chosen]

    def rewrite(self, words: list[str] | None) -> None:
        """Put another command there, or take the entry out. What else stands in the file stays. Raises OSError."""
        content = json.loads(read_regular(str(self.file), LARGEST))
        servers = content
        for key in self.keys:
            servers = servers[key]
        if words is None:
            del servers[NAME]
        else:
            servers[NAME].update(command=words[0], args=words[1:])
        target = self.file.resolve()
        put(str(target), json.dumps(content, indent=2, ensure_ascii=False), target.stat().st_mode & 0o777)


def registrations() -> Iterator[Registration]:
    """Those of this user, of all projects, and of the project that we are in. What cannot be read has none of ours."""
    for file in map(_CLAUDE.file, ("user", "project")):
        try:
            content = _CLAUDE.read(text_of(file))
        except (OSError, ValueError):
            continue
        projects = entry_in(content, ("projects",))
        yield from _in(file, content, (_CLAUDE.key,))
        for project in projects if isinstance(projects, dict) else ():
            yield from _in(file, content, ("projects", project, _CLAUDE.key))


def _in(file: Path, content: Any, keys: tuple[str, ...]) -> Iterator[Registration]:
    entry = entry_in(content, (*keys, NAME))
    if isinstance(entry, dict) and isinstance(entry.get("command"), str):
        arguments = entry.get("args")
        words = (entry["command"], *(map(str, arguments) if isinstance(arguments, list) else ()))
        yield Registration(file=file, keys=keys, words=words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernelspec:
    """One of ours, in the user's Jupyter folder."""

    folder: Path
    words: tuple[str, ...]

    @property
    def fresh(self) -> list[str]:
        """What this version would write."""
        return jupyter.command()

    def rewrite(self, words: list[str]) -> None:
        """Put another command there. Raises OSError."""
        jupyter.write(self.folder, {**jupyter.read(self.folder), "argv": words})


def kernelspecs() -> Iterator[Kernelspec]:
    """Those that `kernelspec install` wrote."""
    folder = jupyter.users_folder()
    for name in jupyter.installed(folder):
        words = jupyter.read(folder / name).get("argv")
        yield Kernelspec(folder=folder / name, words=tuple(map(str, words)) if isinstance(words, list) else ())


def stale(item: Registration | Kernelspec) -> str:
    """Why the command in it is to be written anew; empty where it is this version's, or another's that is there."""
    program = item.words[0] if item.words else ""
    if os.path.isabs(program) and not os.path.exists(program):
        return f"starts {program}, which is gone"
    if program == sys.executable and list(item.words) != item.fresh:
        return "was written by another version"
    return "" if program else "starts nothing"
