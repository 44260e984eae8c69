"""Puts ipykernel into an environment with the tool that keeps it, and tells people the command for any package."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.environments.commands import Progress, follow
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.prefixes import prefix_of, read_text, tool_of
from kernel_supervisor.isolation import VARIABLES
from kernel_supervisor.paths import children

_CREATOR = re.compile(r"^# cmd: (\S*/)?(conda|mamba|micromamba)\b", re.MULTILINE)
_PIP_TROUBLE = frozenset({"PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV"})
_PYTHON_TROUBLE = frozenset({*VARIABLES, "PYTHONDONTWRITEBYTECODE", "JPY_PARENT_PID"})


def install_command(environment: Environment, environ: Mapping[str, str], package: str = "ipykernel") -> str:
    """What a person would type to have `package` in `environment`, with the tool that made it.

    `environ` are the client's variables: where its tools are found. Raises RefusedError for a kernelspec of
    another language and for a broken environment.
    """
    if _kept_by_system(environment):
        python = shlex.quote(environment.python)
        return f"{python} -m venv .venv && .venv/bin/python -m pip install {package}"
    return " && ".join(map(shlex.join, _commands(environment, environ, package)))


def install(
    environment: Environment, progress: Progress, environ: Mapping[str, str], *, deadline: float = 900.0
) -> None:
    """Run that command; each line it prints goes to `progress`. Blocks, each step at most `deadline` seconds.

    Raises RefusedError as `install_command` does and where the operating system keeps the interpreter for
    itself, UnavailableError with the end of what the command said where it fails.
    """
    if _kept_by_system(environment):
        raise RefusedError(
            f"{environment.python} belongs to the operating system, which installs into it alone. "
            f"An environment of your own: {install_command(environment, environ)}"
        )
    for command in _commands(environment, environ, "ipykernel"):
        progress(f"installing ipykernel: {shlex.join(command)}")
        _run(command, progress, environ, deadline)


def _run(command: list[str], progress: Progress, environ: Mapping[str, str], deadline: float) -> None:
    python, *words = command
    isolated = [python, "-I", *words] if words[0] == "-m" else command
    try:
        ended = follow(isolated, installer_environ(environ), deadline=deadline, progress=progress)
    except OSError as error:
        raise UnavailableError(f"{shlex.join(command)} does not start: {error}") from error
    if ended.code != 0:
        how = f"failed with code {ended.code}" if ended.code is not None else f"was not done in {deadline:g} s"
        raise UnavailableError(f"{shlex.join(command)} {how}:\n{ended.tail}")


def installer_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The client's variables without those that send an installer elsewhere or break its interpreter."""
    kept = {n: value for n, value in environ.items() if n not in _PIP_TROUBLE and n not in _PYTHON_TROUBLE}
    return {**kept, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def find_uv(environ: Mapping[str, str]) -> str:
    """Path of a `uv`: the client's, else one installed beside us; empty where there is none."""
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    usual = ("~/.local/bin", "~/.cargo/bin")
    home = environ.get("HOME", "")
    path = os.pathsep.join((environ.get("PATH", ""), *(place.replace("~", home) for place in usual if home)))
    return shutil.which("uv", path=path) or (beside if os.access(beside, os.X_OK) else "")


def has_pip(environment: Environment) -> bool:
    """Whether its own interpreter can run pip, as far as its folders tell."""
    return any(map(os.path.isdir, _in_libraries(environment, "site-packages/pip")))


def _kept_by_system(environment: Environment) -> bool:
    """PEP 668: a marker file beside the standard library, which virtual environments do not have."""
    marked = map(os.path.isfile, _in_libraries(environment, "EXTERNALLY-MANAGED"))
    return environment.kind in ("python", "pyenv") and any(marked)


def _in_libraries(environment: Environment, name: str) -> Iterator[Path]:
    """What is called so beside each standard library that the environment may have."""
    library = Path(environment.prefix, "lib")
    return (library / each / name for each in children(library))


def _commands(environment: Environment, environ: Mapping[str, str], package: str) -> list[list[str]]:
    if environment.broken or not environment.python:
        reason = environment.broken or "there is no Python in it"
        raise RefusedError(f"{package} cannot be installed in {environment.name}: {reason}.")
    if environment.language != "python":
        raise RefusedError(f"{environment.name} is a kernel for {environment.language}: it needs no ipykernel.")
    prefix = environment.prefix or prefix_of(environment.python)
    tool = tool_of(prefix) if prefix else ""
    if tool == "pipx":
        return [["pipx", "inject", os.path.basename(prefix), package]]
    if tool == "uv tool":
        return [["uv", "tool", "install", os.path.basename(prefix), "--with", package]]
    if tool == "pixi global":
        return [["pixi", "global", "add", "--environment", os.path.basename(prefix), package]]
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        return [_pixi(prefix, package) or _conda(prefix, environ, package)]
    pip = [environment.python, "-m", "pip", "install", package]
    if environment.kind != "uv" and has_pip(environment):
        return [pip]
    uv = find_uv(environ)
    if uv or environment.kind == "uv":
        return [[uv or "uv", "pip", "install", "--python", environment.python, package]]
    return [[environment.python, "-m", "ensurepip"], pip]


def _pixi(prefix: str, package: str) -> list[str]:
    envs, name = os.path.split(prefix)
    if os.path.basename(os.path.dirname(envs)) != ".pixi":
        return []
    project = Path(prefix).parents[2]
    manifest = next((n for n in ("pixi.toml", "pyproject.toml") if (project / n).is_file()), "pixi.toml")
    feature = [] if name == "default" else ["--feature", name]
    return ["pixi", "add", "--manifest-path", str(project / manifest), *feature, package]


def _conda(prefix: str, environ: Mapping[str, str], package: str) -> list[str]:
    """The one of conda's family that made the prefix if it is at hand, else another one that is."""
    made = _CREATOR.search(read_text(os.path.join(prefix, "conda-meta", "history")))
    first = made.group(2) if made else "conda"
    known = dict.fromkeys((first, "conda", "mamba", "micromamba"))
    at_hand = ((name, path) for name in known if (path := _conda_tool(name, prefix, environ)))
    name, path = next(at_hand, (first, first))
    channel = ["--channel", "conda-forge"] if name == "micromamba" else []  # which has no channel of its own
    return [path, "install", "--yes", "--prefix", prefix, *channel, package]


def _conda_tool(name: str, prefix: str, environ: Mapping[str, str]) -> str:
    told = environ.get("CONDA_EXE" if name == "conda" else "MAMBA_EXE", "")
    if os.path.basename(told) == name and os.access(told, os.X_OK):
        return told
    envs = os.path.dirname(prefix)
    roots = [prefix, os.path.dirname(envs)] if os.path.basename(envs) == "envs" else [prefix]
    beside = [os.path.join(root, folder) for root in roots for folder in ("condabin", "bin")]
    return shutil.which(name, path=os.pathsep.join((environ.get("PATH", ""), *beside))) or ""
