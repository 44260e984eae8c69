"""Which environment is meant by what somebody wrote."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Interpreter
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.discovery import describe
from kernel_supervisor.environments.kernelspecs import IPYKERNEL_MODULES, resolved, specs_in
from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.environments.prefixes import prefix_of

_SUGGESTIONS = 3
PROVISIONED = "provisioned"
"""The kind of an interpreter that a provisioner places."""


def resolve(wanted: str, environments: Sequence[Environment], where: Where) -> Environment:
    """The one environment that `wanted` means: by name, or by path of a prefix, interpreter or kernelspec.

    Paths are taken from `where.directory`, `~` is `where.home`; what a path names need not be in
    `environments`. Blocks on files alone. Raises RefusedError where nothing or more than one thing is meant,
    or where what is meant is broken; the text says what to write instead.
    """
    wanted = wanted.strip()
    if not wanted:
        raise RefusedError("The environment's name is empty.", WayOn("see environments"))
    if os.sep in wanted or wanted in (".", "..", "~"):
        return _usable(_at(wanted, environments, where))
    named = _called(wanted, environments)
    matches = [environment for environment in named if not environment.broken] or named
    if len(matches) > 1:
        raise RefusedError(_ambiguous(wanted, matches))
    if matches:
        return _usable(matches[0])
    here = describe(str(where.directory / wanted), where)
    if here is not None:
        return _usable(here)
    raise _unknown(wanted, environments)


def as_interpreter(environment: Environment, why: str = "") -> Interpreter:
    """What starts a kernel in `environment`.

    Where the kernel is an ipykernel, `argv` ends before `-m`; else it is the kernelspec's whole command, and
    has `{connection_file}` in it; of a kernelspec with a provisioner it is the kernelspec's file.
    """
    plain = Interpreter(name=environment.name, kind=environment.kind, argv=(), language=environment.language, why=why)
    if environment.provisioned:
        return replace(plain, kind=PROVISIONED, argv=(os.path.join(environment.resource_dir, "kernel.json"),))
    argv = environment.argv or (environment.python,)
    if "-m" in argv[1:-1]:
        at = argv.index("-m", 1)
        argv = argv[:at] if argv[at + 1] in IPYKERNEL_MODULES else argv
    return replace(plain, argv=argv, prefix=environment.prefix)


def _usable(environment: Environment) -> Environment:
    if environment.broken:
        place = environment.prefix or environment.resource_dir
        raise RefusedError(
            f"The environment {environment.name} ({place}) cannot be used: {environment.broken}.",
            WayOn("mend environment"),
        )
    return environment


def _called(wanted: str, environments: Sequence[Environment]) -> list[Environment]:
    """Those of that name; else those with that alias; else the same without regard to case."""
    for fold in (str, str.casefold):
        asked = fold(wanted)
        named = [e for e in environments if fold(e.name) == asked]
        if named := named or [e for e in environments if asked in map(fold, e.aliases)]:
            return named
    return []


def _at(wanted: str, environments: Sequence[Environment], where: Where) -> Environment:
    path = str(where.home) + wanted[1:] if wanted == "~" or wanted.startswith("~/") else wanted
    path = os.path.normpath(os.path.join(where.directory, path))
    if os.path.basename(path) == "kernel.json":
        path = os.path.dirname(path)
    if os.path.isfile(os.path.join(path, "kernel.json")):
        return _kernelspec(path, environments, where)
    if os.path.isdir(path):
        return _prefix(path, environments, where)
    if os.path.isfile(path):
        return _interpreter(path, environments, where)
    if os.path.islink(path):
        raise RefusedError(f"{path} leads nowhere: {os.path.realpath(path)} is gone. Make that environment anew.")
    if os.path.exists(path):
        raise RefusedError(f"{path} is neither a file nor a folder, and so no environment.", WayOn("see environments"))
    raise RefusedError(f"There is nothing at {path}.", WayOn("see environments"))


def _kernelspec(folder: str, environments: Sequence[Environment], where: Where) -> Environment:
    for environment in environments:
        if environment.resource_dir and os.path.realpath(environment.resource_dir) == os.path.realpath(folder):
            return environment
    spec = next(spec for spec in specs_in(os.path.dirname(folder)) if spec.name == os.path.basename(folder))
    return resolved(spec, where)


def _prefix(path: str, environments: Sequence[Environment], where: Where) -> Environment:
    """The environment at `path`, or that in the project folder `path`."""
    real = os.path.realpath(path)
    for environment in environments:
        if environment.kind != "kernelspec" and os.path.realpath(environment.prefix) == real:
            return environment
    for place in (path, os.path.join(path, ".venv"), os.path.join(path, ".pixi", "envs", "default")):
        if found := describe(place, where):
            return found
    raise RefusedError(
        f"{path} is a folder, but no environment: it has neither pyvenv.cfg nor conda-meta nor a Python "
        "library. Name the environment's own folder, or its bin/python."
    )


def _interpreter(path: str, environments: Sequence[Environment], where: Where) -> Environment:
    if not os.access(path, os.X_OK):
        raise RefusedError(f"{path} is a file that cannot be run, so no interpreter. Name a prefix or its bin/python.")
    prefix = prefix_of(path)
    if not prefix:
        return Environment(name=os.path.basename(path), kind="python", python=path)
    for environment in (e for e in environments if e.python and e.kind != "kernelspec"):
        same = os.path.realpath(environment.prefix) == os.path.realpath(prefix)
        if same and os.path.realpath(environment.python) == os.path.realpath(path):
            return replace(environment, python=path)
    found = describe(prefix, where, python=path)
    return found or Environment(name=os.path.basename(path), kind="python", python=path, prefix=prefix)


def _ambiguous(wanted: str, matches: Sequence[Environment]) -> str:
    lines = "\n".join(f"  {_place(environment)}  ({_words(environment)})" for environment in matches)
    return f"{wanted} names {len(matches)} environments; say which by its path:\n{lines}"


def _unknown(wanted: str, environments: Sequence[Environment]) -> RefusedError:
    by_name: dict[str, Environment] = {}
    for environment in environments:
        for name in (environment.name, *environment.aliases):
            by_name.setdefault(name.casefold(), environment)
    close = difflib.get_close_matches(wanted.casefold(), by_name, n=_SUGGESTIONS, cutoff=0.6)
    inside = [name for name in by_name if len(wanted) > 2 and wanted.casefold() in name]
    near = [by_name[name] for name in dict.fromkeys([*close, *inside])][:_SUGGESTIONS]
    if near:
        meant = " or ".join(dict.fromkeys(f"{e.name} ({_words(e)}, {_place(e)})" for e in near))
        near_ones = f"No environment is called {wanted}. Did you mean {meant}?"
        return RefusedError(near_ones, WayOn("all environments", ("all",)))
    known = f"the {len(environments)} there are; a path works too"
    return RefusedError(f"No environment is called {wanted}.", WayOn("all environments", (known,)))


def _place(environment: Environment) -> str:
    return environment.resource_dir or environment.prefix or environment.python


def _words(environment: Environment) -> str:
    version = f", Python {environment.python_version}" if environment.python_version else ""
    language = f", {environment.language}" if environment.language not in ("", "python") else ""
    broken = f", broken: {environment.broken}" if environment.broken else ""
    return f"{environment.kind}{language}{version}{broken}"
