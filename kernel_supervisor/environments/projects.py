"""Which environments a project has, as its own tools place them: found in files, nothing of the project is run."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from kernel_supervisor.environments.conda import conda_prefixes
from kernel_supervisor.environments.model import Where
from kernel_supervisor.environments.places import PROJECT_FOLDERS, hatch_data, pipenv_folder, poetry_folders
from kernel_supervisor.environments.prefixes import prefix_of, read_text
from kernel_supervisor.paths import children

_REPOSITORY = (".git", ".hg", ".jj", ".svn")
_NAME = re.compile(r"^name:[ \t]*[\"']?([\w.-]+)", re.MULTILINE)


def project_folders(where: Where) -> Iterator[Path]:
    """The session's directory and the folders above it, up to the repository's root, the nearest first.

    Never the home directory itself, nor the root of the file system. A folder above counts as long as not everybody can
    put an environment there; in no repository, as long as no other user can.
    """
    root = _root(where.directory)
    home = os.path.realpath(where.home)
    for folder in (where.directory, *where.directory.parents):
        if folder.parent == folder or os.path.realpath(folder) == home:
            return
        if folder != where.directory and not _counts(folder, where.directory, in_repository=root is not None):
            return
        yield folder
        if folder == root:
            return


def project_environments(where: Where) -> Iterator[tuple[str, str]]:
    """Folders that should be the project's environment, the nearest and most likely first, each in words."""
    for folder in project_folders(where):
        for prefix, words in _in(folder, where):
            yield prefix, f"{words} ({folder})"


def _root(directory: Path) -> Path | None:
    """The root of the repository that `directory` is in; of a submodule that of the repository around it."""
    for folder in (directory, *directory.parents):
        if any(os.path.lexists(folder / mark) for mark in _REPOSITORY):
            inner = re.match(r"gitdir: .*/modules/", read_text(folder / ".git")) is not None
            return (_root(folder.parent) if inner else None) or folder
    return None


def _counts(folder: Path, directory: Path, *, in_repository: bool) -> bool:
    """Whether `folder`, above `directory`, has what its project put there: `/tmp` and its like have anybody's.

    Where everybody can write to `directory` as well, there are no modes (Windows' drives under WSL), or no secrets.
    """
    try:
        seen, inner = os.stat(folder), os.stat(directory)
    except OSError:
        return False
    anybodys = bool(seen.st_mode & stat.S_IWOTH and not inner.st_mode & stat.S_IWOTH)
    return not anybodys and (in_repository or seen.st_uid in (0, os.getuid()))


def _in(folder: Path, where: Where) -> Iterator[tuple[str, str]]:
    chosen = where.environ.get("UV_PROJECT_ENVIRONMENT")
    if chosen and os.path.isfile(folder / "uv.lock"):
        yield str(folder / chosen), "the project's environment by UV_PROJECT_ENVIRONMENT"
    if os.path.lexists(folder / ".venv"):
        yield str(folder / ".venv"), "the project's .venv"
    if os.path.isdir(folder / ".pixi" / "envs" / "default"):
        yield str(folder / ".pixi" / "envs" / "default"), "the project's pixi environment"
    for tool, prefixes in (("pdm", _pdm), ("poetry", _poetry), ("pipenv", _pipenv), ("hatch", _hatch)):
        yield from ((prefix, f"the project's {tool} environment") for prefix in prefixes(folder, where))
    for name in PROJECT_FOLDERS:
        if name != ".venv" and any(os.path.exists(folder / name / mark) for mark in ("pyvenv.cfg", "conda-meta")):
            yield str(folder / name), f"the project's environment {name}"
    yield from ((prefix, "the conda environment of the project's environment.yml") for prefix in _conda(folder, where))


def _pdm(folder: Path, where: Where) -> Iterator[str]:
    """https://pdm-project.org/latest/usage/project/#working-with-a-virtual-environment: `.pdm-python` has its path."""
    python = read_text(folder / ".pdm-python").strip()
    if os.path.isabs(python) and python.isprintable() and os.path.basename(python).startswith(("python", "pypy")):
        yield prefix_of(python) or os.path.dirname(os.path.dirname(python))


def _poetry(folder: Path, where: Where) -> Iterator[str]:
    """`NAME-HASH-pyX.Y`, the hash that of the project's path; `envs.toml` says which one is in use.

    https://github.com/python-poetry/poetry/blob/main/src/poetry/utils/env/env_manager.py (generate_env_name)
    """
    if not os.path.isfile(folder / "poetry.lock") and "[tool.poetry" not in read_text(folder / "pyproject.toml"):
        return
    path = os.path.normcase(os.path.realpath(folder))
    pattern = re.compile(rf".+-{re.escape(_digest(path))}-py(\d+)\.(\d+)")
    for place in poetry_folders(where):
        found = [match for name in children(place) if (match := pattern.fullmatch(name))]
        used = read_text(os.path.join(place, "envs.toml"))
        found.sort(key=lambda match: (not _in_use(match, used), -int(match[1]), -int(match[2])))
        yield from (os.path.join(place, match[0]) for match in found)


def _in_use(found: re.Match[str], used: str) -> bool:
    name, minor = found[0].rpartition("-py")[0], f"{found[1]}.{found[2]}"
    return re.search(rf"^\[\"?{re.escape(name)}\"?\][^\[]*^minor\s*=\s*\"{minor}\"", used, re.MULTILINE) is not None


def _pipenv(folder: Path, where: Where) -> Iterator[str]:
    """`NAME-HASH`, the hash that of the Pipfile's path (pipenv/project.py, `_get_virtualenv_hash`)."""
    if os.path.isfile(folder / "Pipfile"):
        digest = _digest(str(folder / "Pipfile"))
        place = pipenv_folder(where)
        yield from (os.path.join(place, name) for name in children(place) if name.endswith(f"-{digest}"))


def _hatch(folder: Path, where: Where) -> Iterator[str]:
    """`env/virtual/PROJECT/HASH/PROJECT` is the default one: https://hatch.pypa.io/latest/plugins/environment/virtual/."""
    if "hatch" not in read_text(folder / "pyproject.toml") and not os.path.isfile(folder / "hatch.toml"):
        return
    place = os.path.join(hatch_data(where), "env", "virtual")
    for project in children(place):
        prefix = os.path.join(place, project, _digest(str(folder)), project)
        if os.path.isdir(prefix):
            yield prefix


def _conda(folder: Path, where: Where) -> Iterator[str]:
    for name in ("environment.yml", "environment.yaml"):
        told = _NAME.search(read_text(folder / name))
        if told and told[1] != "base":
            yield from (prefix for prefix in conda_prefixes(where) if os.path.basename(prefix) == told[1])


def _digest(text: str) -> str:
    """As poetry, pipenv and hatch shorten a path."""
    return base64.urlsafe_b64encode(hashlib.sha256(os.fsencode(text)).digest()).decode()[:8]
