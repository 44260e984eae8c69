"""What a session's kernel runs where nobody chose."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Interpreter
from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.discovery import describe, discover
from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.environments.prefixes import prefix_of, tool_of
from kernel_supervisor.environments.projects import project_environments


def default(where: Where, configured: str | None = None) -> Interpreter:
    """`default_environment` as what starts a kernel, its `why` in words. Blocks and raises as that does."""
    environment, why = default_environment(where, configured)
    return replace(as_interpreter(environment, why), name="default", kind="default")


def default_environment(where: Where, configured: str | None = None) -> tuple[Environment, str]:
    """The configured environment, else the project's, the client's active one, the shim's own; and why it is that one.

    What is broken is passed over with its reason, and so is what a tool keeps for itself. Blocks on files alone.
    Raises RefusedError where `configured` (`--python`: a path, a command on the client's PATH, or an environment's
    name) names nothing usable, and where nothing is found.
    """
    if configured:
        return _configured(configured, where), f"it was configured (--python {configured})"
    passed_over: list[str] = []
    for prefix, words in (*project_environments(where), *_active(where)):
        environment = describe(prefix, where)
        fault = environment.broken if environment is not None else _no_environment(prefix)
        if environment is not None and not fault and not tool_of(prefix):
            return environment, "; ".join((f"it is {words}", *passed_over))
        if fault:
            passed_over.append(f"{prefix} was passed over: {fault}")
    own = _own(where)
    if own is None or own.broken:
        raise RefusedError(
            "; ".join(("there is no environment that a kernel could run in", *passed_over))
            + f". Make one in {where.directory} (python3 -m venv .venv), or name an interpreter with --python."
        )
    tool = f" ({tool_of(own.prefix)})" if tool_of(own.prefix) else ""
    why = f"kernel-supervisor is installed in it{tool}, and neither the project nor the client has one"
    return own, "; ".join((why, *passed_over))


def _no_environment(prefix: str) -> str:
    """Why nothing can run in `prefix`, where no environment stands."""
    if os.path.islink(prefix) and not os.path.exists(prefix):
        return f"it leads nowhere: {os.readlink(prefix)}"
    if not os.path.lexists(prefix):
        return "it is gone"
    if not os.path.isdir(prefix):
        return "it is no folder"
    return "it is no environment" if os.access(prefix, os.R_OK | os.X_OK) else "it cannot be read"


def _configured(configured: str, where: Where) -> Environment:
    if os.sep in configured:
        return resolve(configured, (), where)
    command = shutil.which(configured, path=where.environ.get("PATH", ""))
    if command and prefix_of(command):  # else it is a script like pyenv's, that only stands for interpreters
        return resolve(os.path.abspath(command), (), where)
    return resolve(configured, discover(where), where)


def _own(where: Where) -> Environment | None:
    prefix = prefix_of(where.shim_python)
    return describe(prefix, where, python=where.shim_python) if prefix else None


def _active(where: Where) -> Iterator[tuple[str, str]]:
    """The client's active environment; where two are active, the one whose commands its PATH finds first."""
    path = where.environ.get("PATH", "").split(os.pathsep)
    named = [(where.environ[name], name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if where.environ.get(name)]

    def position(item: tuple[str, str]) -> int:
        command = os.path.join(item[0], "bin")
        return path.index(command) if command in path else len(path)

    for prefix, name in sorted(named, key=position):
        yield os.path.join(where.directory, prefix), f"the client's active environment ({name})"
