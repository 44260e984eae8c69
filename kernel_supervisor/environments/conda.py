"""Where conda, mamba and micromamba keep environments, as their own files and variables say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from string import Template

from kernel_supervisor.environments.model import Where
from kernel_supervisor.environments.prefixes import read_text
from kernel_supervisor.paths import children

_BASES = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "miniconda")
_AT_HOME = (*_BASES, "anaconda", "micromamba", "mamba", ".local/share/mamba", ".conda")
_SYSTEM = (
    "/opt/conda",
    *(f"{folder}/{name}" for folder in ("/opt", "/usr/local") for name in _BASES),
    "/opt/homebrew/Caskroom/miniconda/base",
    "/opt/homebrew/Caskroom/miniforge/base",
)
_KEY = re.compile(r"([A-Za-z_]+)\s*:\s*(.*)$")


def conda_prefixes(where: Where) -> Iterator[str]:
    """Prefixes that may be conda environments, in the order of who names them; not checked."""
    active = where.environ.get("CONDA_PREFIX", "")
    if active:
        yield active
    roots = list(dict.fromkeys(_roots(where)))
    yield from roots
    for folder in dict.fromkeys([*_folders(where, roots), *(os.path.join(root, "envs") for root in roots)]):
        yield from (os.path.join(folder, name) for name in children(folder))
    listed = read_text(where.home / ".conda" / "environments.txt")
    yield from (line.strip() for line in listed.splitlines() if line.strip().startswith("/"))


def _roots(where: Where) -> Iterator[str]:
    """Installations: https://docs.conda.io/projects/conda/en/stable/dev-guide/deep-dives/activation.html."""
    programs = (where.environ.get(name, "") for name in ("CONDA_EXE", "MAMBA_EXE", "CONDA_PYTHON_EXE"))
    yield from (os.path.dirname(os.path.dirname(path)) for path in programs if path.startswith("/"))
    folders = (where.environ.get(name, "") for name in ("CONDA_ROOT", "MAMBA_ROOT_PREFIX", "CONDA_ROOT_PREFIX"))
    yield from (path for path in folders if path.startswith("/"))
    yield from (str(where.home / name) for name in _AT_HOME)
    yield from _SYSTEM


def _folders(where: Where, roots: list[str]) -> Iterator[str]:
    """Folders of environments: `envs_dirs` of https://docs.conda.io/projects/conda/en/stable/configuration.html."""
    for name in ("CONDA_ENVS_DIRS", "CONDA_ENVS_PATH"):
        yield from filter(None, where.environ.get(name, "").split(os.pathsep))
    for file in _configurations(where, roots):
        for entry in _listed(read_text(file)):
            spelled = Template(entry).safe_substitute(where.environ)
            spelled = str(where.home) + spelled[1:] if spelled.startswith("~/") else spelled
            if os.path.isabs(spelled):
                yield os.path.normpath(spelled)


def _configurations(where: Where, roots: list[str]) -> Iterator[str]:
    home, settings = str(where.home), where.environ.get("XDG_CONFIG_HOME") or str(where.home / ".config")
    if where.environ.get("CONDARC"):
        yield where.environ["CONDARC"]
    yield from (os.path.join(home, name) for name in (".condarc", ".conda/.condarc", ".mambarc"))
    yield from (os.path.join(settings, "conda", name) for name in (".condarc", "condarc"))
    yield from (os.path.join(root, name) for root in roots for name in (".condarc", "condarc", ".mambarc"))
    yield from ("/etc/conda/.condarc", "/etc/conda/condarc")


def _listed(text: str) -> Iterator[str]:
    """Entries of `envs_dirs` in a `.condarc`: YAML's block list, or its flow list on one line.

    That much YAML is read here, so that listing environments does not need a YAML library.
    """
    inside = False
    for line in text.splitlines():
        bare = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        key = _KEY.match(bare)
        if key:
            inside = key.group(1) in ("envs_dirs", "envs_path")
            flow = key.group(2).strip() if inside else ""
            yield from filter(None, (_unquoted(part) for part in flow.strip("[]").split(",")))
        elif inside and bare.lstrip().startswith("- "):
            yield _unquoted(bare.lstrip()[2:])


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")
