"""The client's variables as they are where an environment is active, for a kernel to start with."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from string import Template

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.environments.commands import capture
from kernel_supervisor.environments.model import Environment
from kernel_supervisor.environments.prefixes import contents, read_text, tool_of
from kernel_supervisor.paths import children

_HARMFUL = frozenset(
    {
        "JPY_PARENT_PID",  # the kernel would end with whoever it names
        "JPY_INTERRUPT_EVENT",
        "JPY_SESSION_NAME",
        "IPY_INTERRUPT_EVENT",
        "PYTHONDONTWRITEBYTECODE",  # 0.6 s more for every start
        "PYTHONHOME",
        "PYTHONEXECUTABLE",
        "PYTHONPLATLIBDIR",
        "PYTHONINSPECT",
        "__PYVENV_LAUNCHER__",
    }
)
_OF_AN_ENVIRONMENT = re.compile(
    r"VIRTUAL_ENV(_PROMPT|_DISABLE_PROMPT)?$|_OLD_VIRTUAL_\w+$"
    r"|CONDA_(PREFIX(_\d+)?|DEFAULT_ENV|PROMPT_MODIFIER|SHLVL|STACKED_\d+)$|__CONDA_SHLVL_\w+$|_CE_(M|CONDA)$"
    r"|PIXI_(PROJECT|ENVIRONMENT|IN_SHELL|PROMPT)\w*$"
    r"|PYENV_(VERSION|VIRTUAL_ENV|DIR|HOOK_PATH|ACTIVATE_SHELL)$|(POETRY|PIPENV|HATCH_ENV)_ACTIVE$"
)
_OF_A_SHELL = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "SHELLOPTS", "BASHOPTS", "BASH_ENV", "ENV"})
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*$", re.ASCII)
_LEAVING = 5.0  # seconds
_UNSET = "***unset***"  # what conda's state file writes for a variable that is taken away
_SOURCE = 'exec 9>&1 >/dev/null; for s do . "$s"; set +eu; done; exec /usr/bin/env -0 >&9 9>&-'

Variables = dict[str, str]


def activate(environment: Environment, environ: Mapping[str, str], *, deadline: float = 30.0) -> Variables:
    """The client's variables `environ` with `environment` active and the client's own environment left.

    Blocks: files are read, and where there are scripts in `activate.d` bash runs them, within `deadline`
    seconds all together, their output thrown away; so, before, those in the left one's `deactivate.d`.
    Raises UnavailableError where the scripts of `activate.d` do not come to an end, or end the shell.
    Variables that harm a kernel (`PYTHONHOME`, `JPY_PARENT_PID`, …) are always left out. A kernelspec without
    an environment of its own keeps the client's.
    """
    variables = {name: value for name, value in environ.items() if name not in _HARMFUL}
    if environment.prefix:
        variables = left(variables, deadline)
        variables = _entered(environment, variables, deadline)
    for name, value in environment.env.items():
        variables[name] = Template(value).safe_substitute(variables)
    return {name: value for name, value in variables.items() if name not in _HARMFUL}


def of_an_environment(name: str) -> bool:
    """Whether a variable says which environment is active, for every kind of them."""
    return name == "PATH" or _OF_AN_ENVIRONMENT.match(name) is not None


def left(environ: Mapping[str, str], deadline: float = 30.0) -> Variables:
    """Deactivated, as far as the active environment's files and variables tell what it had set. Blocks as `activate`
    does."""
    variables = dict(environ)
    active = [value for name, value in variables.items() if re.match(r"(CONDA_PREFIX(_\d+)?|VIRTUAL_ENV)$", name)]
    pyenv = [os.path.join(variables.get("PYENV_ROOT", ""), "versions", variables.get("PYENV_VERSION", "none"))]
    prefix = variables.get("CONDA_PREFIX", "")
    if prefix:
        with contextlib.suppress(UnavailableError):  # what is left need not work: it is not what was asked for
            scripts = _scripts(prefix, "deactivate.d")[::-1]
            variables = _sourced(scripts, variables, min(deadline, _LEAVING), f"leaving {prefix}")
        for name in _conda_variables(prefix):
            saved = variables.get(f"__CONDA_SHLVL_{_level(variables) - 1}_{name}")
            _put(variables, name, saved)
    variables = {name: value for name, value in variables.items() if not _OF_AN_ENVIRONMENT.match(name)}
    gone = {os.path.join(folder, "bin") for folder in (*active, *pyenv)}
    if "PATH" in variables:
        entries = variables["PATH"].split(os.pathsep)
        kept = [entry for entry in entries if entry.rstrip("/") not in gone and not _belongs_to_a_tool(entry)]
        variables["PATH"] = os.pathsep.join(kept)
    return variables


def _level(variables: Mapping[str, str]) -> int:
    told = variables.get("CONDA_SHLVL", "")
    return int(told) if told.isdecimal() else 1


def _belongs_to_a_tool(entry: str) -> bool:
    """uvx and pipx put the folder of the tool that they run on its PATH: no place for a kernel to look in."""
    prefix = os.path.dirname(entry.rstrip("/"))
    return os.path.isfile(os.path.join(prefix, "pyvenv.cfg")) and bool(tool_of(prefix))


def _entered(environment: Environment, variables: Variables, deadline: float) -> Variables:
    prefix = environment.prefix
    if prefix not in ("/usr", "/usr/local"):  # on PATH already, and in the order that their user gave them
        commands, entries = os.path.join(prefix, "bin"), variables.get("PATH", os.defpath).split(os.pathsep)
        others = os.pathsep.join(entry for entry in entries if entry.rstrip("/") != commands)
        variables["PATH"] = os.pathsep.join(filter(None, (commands, others)))
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        _name_conda(environment, variables)
        for name, value in _conda_variables(prefix).items():
            _put(variables, name, value)
        scripts = _scripts(prefix, "activate.d")
        return _sourced(scripts, variables, deadline, f"activating {environment.name} ({prefix})")
    if os.path.isfile(os.path.join(prefix, "pyvenv.cfg")):
        variables.update(VIRTUAL_ENV=prefix, VIRTUAL_ENV_PROMPT=environment.name)
    return variables


def _name_conda(environment: Environment, variables: Variables) -> None:
    """What `conda activate` sets, and for a pixi project what `pixi shell` adds to it."""
    envs, name = os.path.split(environment.prefix)
    seen = contents(environment.prefix)
    called = "base" if seen is not None and seen.base else environment.prefix
    if os.path.basename(envs) == "envs":
        called = environment.name if environment.kind == "pixi" else name
    variables.update(
        CONDA_PREFIX=environment.prefix,
        CONDA_DEFAULT_ENV=called,
        CONDA_SHLVL="1",
        CONDA_PROMPT_MODIFIER=f"({called}) ",
    )
    if os.path.basename(os.path.dirname(envs)) == ".pixi":
        variables.update(PIXI_PROJECT_ROOT=os.path.dirname(os.path.dirname(envs)), PIXI_ENVIRONMENT_NAME=name)


def _conda_variables(prefix: str) -> dict[str, str | None]:
    """What the prefix's packages and `conda env config vars set` want in the environment; None takes away.

    https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html#setting-environment-variables
    """
    told: dict[str, object] = {}
    packages = os.path.join(prefix, "etc", "conda", "env_vars.d")
    for name in children(packages):
        told.update(_object(os.path.join(packages, name)))
    state = _object(os.path.join(prefix, "conda-meta", "state")).get("env_vars")
    told.update(state if isinstance(state, dict) else {})
    return {name: None if value == _UNSET else str(value) for name, value in told.items()}


def _object(path: str) -> dict[str, object]:
    try:
        told = json.loads(read_text(path) or "{}")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _put(variables: Variables, name: str, value: str | None) -> None:
    if value is None:
        variables.pop(name, None)
    else:
        variables[name] = value


def _scripts(prefix: str, kind: str) -> list[str]:
    folder = os.path.join(prefix, "etc", "conda", kind)
    return [os.path.join(folder, name) for name in children(folder) if name.endswith(".sh")]


def _sourced(scripts: list[str], variables: Variables, deadline: float, doing: str) -> Variables:
    """`variables` as they stand after bash (or where there is none, sh) has read `scripts` in this order."""
    if not scripts:
        return variables
    shell = shutil.which("bash", path=f"{variables.get('PATH', '')}:/usr/bin:/bin")
    command = (shell, "--noprofile", "--norc") if shell else ("/bin/sh",)
    inner = {name: value for name, value in variables.items() if name not in _OF_A_SHELL}
    try:
        ended = capture([*command, "-c", _SOURCE, "activation", *scripts], inner, deadline=deadline)
    except OSError as error:
        raise UnavailableError(f"Stage activation: {doing}: {command[0]} does not start: {error}") from error
    if ended.code != 0 or not ended.output:
        how = f"did not end within {deadline:g} s" if ended.code is None else f"ended the shell with code {ended.code}"
        raise UnavailableError(
            f"Stage activation: {doing}: its scripts ({', '.join(scripts)}) {how}. {ended.tail}".rstrip()
        )
    pairs = (entry.partition(b"=") for entry in ended.output.split(b"\0") if entry)
    after = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    # A shell takes no variable whose name it could not write, and has some of its own.
    kept = {n: v for n, v in variables.items() if n in _OF_A_SHELL or not _IDENTIFIER.match(n)}
    return {**{n: v for n, v in after.items() if n not in _OF_A_SHELL}, **kept}
