"""Where environments may be, the nearest first. Whether one is there is not asked here."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kernel_supervisor.environments.conda import conda_prefixes
from kernel_supervisor.environments.model import EnvironmentKind, Where
from kernel_supervisor.environments.prefixes import prefix_of, read_text
from kernel_supervisor.paths import children

PROJECT_FOLDERS = (".venv", "venv", ".env", "env")
_POETRY = re.compile(r"(.+)-[\w-]{8}-py\d+\.\d+$")
_MACOS = sys.platform == "darwin"
_COMMANDS = ("python3", "python", *(f"python3.{minor}" for minor in range(8, 20)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A folder that may be an environment."""

    prefix: str
    kind: EnvironmentKind
    """What it is if its own files say no more than that it is one."""
    name: str = ""
    aliases: tuple[str, ...] = ()
    python: str = ""
    """Its interpreter, where that is not the prefix's `bin/python`."""


def candidates(where: Where) -> Iterator[Candidate]:
    """Everything to look at: the project's first, then the client's, then the machine's."""
    yield from _project(where)
    yield from _active(where)
    for prefix in conda_prefixes(where):
        yield Candidate(prefix=prefix, kind="conda")
    yield from _virtual_environments(where)
    yield from _poetry(where)
    yield from _hatch(where)
    yield from _tools(where)
    yield from _interpreters(where)


def _project(where: Where) -> Iterator[Candidate]:
    near: set[str] = set()
    for folder in (where.directory, *where.directory.parents):
        for name in PROJECT_FOLDERS:
            if os.path.isfile(folder / name / "pyvenv.cfg"):
                yield Candidate(prefix=str(folder / name), kind="venv", aliases=() if name in near else (name,))
                near.add(name)
        for name in children(folder / ".pixi" / "envs"):
            yield Candidate(prefix=str(folder / ".pixi" / "envs" / name), kind="pixi")


def _active(where: Where) -> Iterator[Candidate]:
    named = (where.environ.get("UV_PROJECT_ENVIRONMENT"), where.environ.get("VIRTUAL_ENV"))
    for prefix in filter(None, (*named, prefix_of(where.shim_python))):
        yield Candidate(prefix=os.path.join(where.directory, prefix), kind="python")


def _virtual_environments(where: Where) -> Iterator[Candidate]:
    """virtualenvwrapper's, pipenv's, pyenv's and plain folders of virtual environments."""
    yield from _each(where.environ.get("WORKON_HOME") or where.home / ".virtualenvs", "venv")
    yield from _each(_data(where) / "virtualenvs", "venv")
    yield from _each(Path(where.environ.get("PYENV_ROOT") or where.home / ".pyenv") / "versions", "pyenv")


def pipenv_folder(where: Where) -> str:
    """Where pipenv keeps what it makes: https://pipenv.pypa.io/en/latest/virtualenv.html."""
    return where.environ.get("WORKON_HOME") or str(_data(where) / "virtualenvs")


def _poetry(where: Where) -> Iterator[Candidate]:
    for found in poetry_folders(where):
        for name in children(found):
            short = _POETRY.match(name)
            aliases = (short.group(1),) if short else ()
            yield Candidate(prefix=os.path.join(found, name), kind="poetry", name=name, aliases=aliases)


def poetry_folders(where: Where) -> Iterator[str]:
    """https://python-poetry.org/docs/configuration/#virtualenvspath."""
    cache = where.environ.get("POETRY_CACHE_DIR") or _folder(where, "Caches", "XDG_CACHE_HOME", ".cache") / "pypoetry"
    yield where.environ.get("POETRY_VIRTUALENVS_PATH") or os.path.join(cache, "virtualenvs")
    settings = _folder(where, "Application Support", "XDG_CONFIG_HOME", ".config") / "pypoetry" / "config.toml"
    told = re.search(r"^\s*path\s*=\s*[\"'](/[^\"'\n]+)[\"']", read_text(settings), re.MULTILINE)
    if told:
        yield told.group(1)


def _hatch(where: Where) -> Iterator[Candidate]:
    """`env/virtual/PROJECT/HASH/ENVIRONMENT`: https://hatch.pypa.io/latest/plugins/environment/virtual/."""
    data = hatch_data(where)
    for project in children(data / "env" / "virtual"):
        for digest in children(data / "env" / "virtual" / project):
            folder = data / "env" / "virtual" / project / digest
            for name in children(folder):
                called = project if name == project else f"{project}:{name}"
                yield Candidate(prefix=str(folder / name), kind="hatch", name=called)
    yield from _each(data / "pythons", "python", below="python")


def hatch_data(where: Where) -> Path:
    """https://hatch.pypa.io/latest/config/hatch/#data."""
    support = where.home / "Library" / "Application Support" / "hatch"
    return Path(where.environ.get("HATCH_DATA_DIR") or (support if _MACOS else _data(where) / "hatch"))


def _tools(where: Where) -> Iterator[Candidate]:
    """Environments of single tools (pipx, uv, pixi), and the interpreters that uv keeps."""
    environ = where.environ
    for home in (environ.get("PIPX_HOME") or _data(where) / "pipx", where.home / ".local" / "pipx"):
        yield from _each(os.path.join(home, "venvs"), "pipx")
    yield from _each("/opt/pipx/venvs", "pipx")
    yield from _each(environ.get("UV_TOOL_DIR") or _data(where) / "uv" / "tools", "uv-tool")
    yield from _each(environ.get("UV_PYTHON_INSTALL_DIR") or _data(where) / "uv" / "python", "python")
    yield from _each(Path(environ.get("PIXI_HOME") or where.home / ".pixi") / "envs", "pixi")


def _interpreters(where: Where) -> Iterator[Candidate]:
    """Interpreters on the client's PATH."""
    for folder in dict.fromkeys(where.environ.get("PATH", "").split(os.pathsep)):
        if not os.path.isabs(folder) or folder.startswith("/mnt/"):  # Windows' own folders under WSL: slow, no use
            continue
        for command in _COMMANDS:
            path = os.path.join(folder, command)
            prefix = prefix_of(path) if os.path.isfile(path) else ""
            if prefix:
                yield Candidate(prefix=prefix, kind="python", python=path)


def _each(folder: str | os.PathLike[str], kind: EnvironmentKind, below: str = "") -> Iterator[Candidate]:
    for name in children(folder):
        yield Candidate(prefix=os.path.join(folder, name, below).rstrip("/"), kind=kind, name=name)


def _data(where: Where) -> Path:
    return Path(where.environ.get("XDG_DATA_HOME") or where.home / ".local" / "share")


def _folder(where: Where, of_macos: str, variable: str, usual: str) -> Path:
    """A folder for programs' files: on macOS in `~/Library`, else where XDG says."""
    return where.home / "Library" / of_macos if _MACOS else Path(where.environ.get(variable) or where.home / usual)
