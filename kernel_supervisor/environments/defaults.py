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
from kernel_supervisor.environments.places import upwards
from kernel_supervisor.environments.prefixes import prefix_of
from kernel_supervisor.environments.tools import tool_of


def default(where: Where, configured: str | None = None) -> Interpreter:
    """`default_environment` as what starts a kernel, its `why` in words. Blocks and raises as that does."""
    environment, why = default_environment(where, configured)
    return replace(as_interpreter(environment, why), name="default", kind="default")


def default_environment(where: Where, configured: str | None = None) -> tuple[Environment, str]:
    """The configured environment, else that which the shim is installed in; and why it is that one.

    Where the shim's is a tool's own: the project's, else the client's active one, else the tool's after all.
    Blocks on files alone. Raises RefusedError where `configured` (`--python`: a path, a command on the
    client's PATH, or an environment's name) names nothing usable, and where nothing is found.
    """
    if configured:
        return _configured(configured, where), f"it was configured (--python {configured})"
    own = _own(where)
    tool = tool_of(own.prefix) if own is not None else ""
    if own is not None and not tool:
        return own, "kernel-supervisor is installed in it"
    # A tool's own environment holds nothing that anybody works with, and an upgrade of the tool replaces it.
    setting = "kernel-supervisor's own environment cannot be told"
    if tool:
        setting = f"kernel-supervisor runs in an environment of its own ({tool})"
    passed_over: list[str] = []
    for prefix, words in (*_project(where), *_active(where)):
        environment = describe(prefix, where)
        if environment is not None and environment.broken:
            passed_over.append(f"{prefix} was passed over: {environment.broken}")
        elif environment is not None and not tool_of(prefix):
            return environment, "; ".join((setting, f"this is {words}", *passed_over))
    if own is None or own.broken:
        raise RefusedError(
            f"{setting}, and no usable .venv was found from {where.directory} upwards. "
            "Name an interpreter with --python."
        )
    setting += f", and neither a .venv from {where.directory} upwards nor an active environment was found"
    return own, "; ".join((setting, *passed_over))


def _configured(configured: str, where: Where) -> Environment:
    if os.sep in configured:
        return resolve(configured, (), where)
    command = shutil.which(configured, path=where.environ.get("PATH", ""))
    if command and prefix_of(command):  # else it is a script like pyenv's, that only stands for interpreters
        return resolve(os.path.abspath(command), (), where)
    return resolve(configured, discover(where), where)


def _own(where: Where) -> Environment | None:
    if not where.shim_python:
        return None
    prefix = prefix_of(where.shim_python)
    return describe(prefix, where, python=where.shim_python) if prefix else None


def _project(where: Where) -> Iterator[tuple[str, str]]:
    """The nearest project's environment, as uv and pixi place it."""
    configured = where.environ.get("UV_PROJECT_ENVIRONMENT")
    for folder in upwards(where.directory):
        if configured and os.path.isfile(folder / "uv.lock"):
            yield str(folder / configured), "the project's environment (UV_PROJECT_ENVIRONMENT)"
        yield str(folder / ".venv"), f"the project's .venv ({folder})"
        yield str(folder / ".pixi" / "envs" / "default"), f"the project's pixi environment ({folder})"
        if folder == where.home:
            return


def _active(where: Where) -> Iterator[tuple[str, str]]:
    """The client's active environment; where two are active, the one whose commands its PATH finds first."""
    path = where.environ.get("PATH", "").split(os.pathsep)
    named = [(where.environ[name], name) for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if where.environ.get(name)]

    def position(item: tuple[str, str]) -> int:
        command = os.path.join(item[0], "bin")
        return path.index(command) if command in path else len(path)

    for prefix, name in sorted(named, key=position):
        yield prefix, f"the client's active environment ({name})"
