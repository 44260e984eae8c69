"""Every environment and kernelspec on the machine, found by reading files: nothing is run, nothing raises."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace

from kernel_supervisor.environments import kernelspecs
from kernel_supervisor.environments.model import Environment, EnvironmentKind, Where
from kernel_supervisor.environments.places import PROJECT_FOLDERS, Candidate, candidates
from kernel_supervisor.environments.prefixes import Contents, contents

_OWNED: tuple[EnvironmentKind, ...] = ("poetry", "hatch", "pipx", "uv-tool")


def discover(where: Where) -> list[Environment]:
    """Environments first, in the order project, client, machine; then kernelspecs.

    One prefix is listed once, by where its links lead. What is broken is listed with the reason, what has
    vanished or cannot be read is passed over. Blocks on files alone; what was read is kept while unchanged.
    """
    found: dict[str, tuple[Contents, list[Candidate]]] = {}
    for candidate in candidates(where):
        seen = contents(candidate.prefix, python=candidate.python, user_base=_user_base(where))
        if seen is not None:
            found.setdefault(_identity(candidate, seen), (seen, []))[1].append(candidate)
    named = [_named(seen, everywhere) for seen, everywhere in found.values()]
    environments = [environment for environment in named if environment.python or environment.kind != "pixi"]
    return _with_kernelspecs(environments, where)


def describe(prefix: str, where: Where, *, python: str = "") -> Environment | None:
    """The environment at `prefix`, wherever it stands, or None where there is none."""
    seen = contents(prefix, python=python, user_base=_user_base(where))
    return _named(seen, [Candidate(prefix=prefix, kind="python", python=python)]) if seen else None


def packages_of(environment: Environment, where: Where) -> tuple[str, ...]:
    """The folders that an environment's interpreter imports packages from."""
    seen = contents(environment.prefix, python=environment.python, user_base=_user_base(where))
    return seen.packages if seen is not None else ()


def _user_base(where: Where) -> str:
    if where.environ.get("PYTHONNOUSERSITE"):
        return ""
    return where.environ.get("PYTHONUSERBASE") or str(where.home / ".local")


def _identity(candidate: Candidate, seen: Contents) -> str:
    """Its real path; with the Python version where one prefix (`/usr`) holds several interpreters."""
    minor = ".".join(seen.python_version.split(".")[:2]) if seen.form == "plain" else ""
    return f"{os.path.realpath(candidate.prefix)}:{minor}"


def _named(seen: Contents, everywhere: list[Candidate]) -> Environment:
    first = everywhere[0]
    kind = _kind(seen, everywhere)
    names = list(dict.fromkeys(_names(first.prefix, seen, kind, everywhere)))
    return Environment(
        name=names[0],
        kind=kind,
        prefix=first.prefix,
        python=seen.python,
        python_version=seen.python_version,
        ipykernel=seen.ipykernel,
        aliases=tuple(names[1:]),
        broken=seen.broken,
    )


def _kind(seen: Contents, everywhere: list[Candidate]) -> EnvironmentKind:
    hints: list[EnvironmentKind] = [candidate.kind for candidate in everywhere]
    if seen.form == "conda":
        return "pixi" if "pixi" in hints or f"{os.sep}.pixi{os.sep}envs{os.sep}" in everywhere[0].prefix else "conda"
    if seen.form == "venv":
        return next((hint for hint in hints if hint in _OWNED), "uv" if seen.made_by_uv else "venv")
    return "pyenv" if "pyenv" in hints else "python"


def _names(prefix: str, seen: Contents, kind: EnvironmentKind, everywhere: list[Candidate]) -> Iterator[str]:
    """What it may be called, the best name first."""
    yield from (candidate.name for candidate in everywhere if candidate.name)
    folder = os.path.basename(prefix)
    if kind == "pixi":
        yield from _pixi_names(prefix)
    elif seen.form == "conda":
        yield from ("base", folder) if seen.base else (folder,)
    elif seen.form == "venv":
        in_project = folder in PROJECT_FOLDERS
        yield from filter(None, (seen.prompt, os.path.basename(os.path.dirname(prefix)) if in_project else folder))
    if seen.form == "plain" and seen.python_version:
        yield "python" + ".".join(seen.python_version.split(".")[:2])
    for candidate in everywhere:
        yield from candidate.aliases
    if kind != "pixi" and seen.form != "plain" and folder not in PROJECT_FOLDERS:
        yield folder


def _pixi_names(prefix: str) -> Iterator[str]:
    """`.pixi/envs/NAME` of a project is called after the project, a global one by its name."""
    envs, name = os.path.split(prefix)
    home = os.path.dirname(envs)
    project = os.path.basename(os.path.dirname(home))
    if os.path.isdir(os.path.join(home, "manifests")):
        yield name
    elif name == "default":
        yield project
    else:
        yield from (f"{project}:{name}", name)


def _with_kernelspecs(environments: list[Environment], where: Where) -> list[Environment]:
    """A kernelspec that only names an interpreter found becomes another name for its environment."""
    by_interpreter = {environment.python: index for index, environment in enumerate(environments) if environment.python}
    by_folder = {os.path.realpath(e.prefix): index for index, e in enumerate(environments)}
    known = list(environments)
    specs: dict[str, Environment] = {}
    for spec, prefix in _specs(environments, where):
        folder = os.path.realpath(spec.resource_dir)
        if folder in specs:
            continue
        interpreter = kernelspecs.interpreter_of(spec, where, prefix)
        index = by_interpreter.get(interpreter, _owner(interpreter, by_folder))
        if kernelspecs.only_names_an_interpreter(spec) and index is not None:
            known[index] = _also_called(known[index], spec.name)
        else:
            specs[folder] = _completed(kernelspecs.resolved(spec, where, prefix=prefix), where)
    return known + list(specs.values())


def _specs(environments: Iterable[Environment], where: Where) -> Iterator[tuple[Environment, str]]:
    for spec in kernelspecs.shared_specs(where):
        yield spec, ""
    for environment in environments:
        for spec in kernelspecs.specs_of(environment.prefix):
            if not kernelspecs.only_names_an_interpreter(spec):
                yield spec, environment.prefix


def _owner(interpreter: str, by_folder: dict[str, int]) -> int | None:
    """Which environment `interpreter` belongs to by its folder: `bin/python3.12` is `bin/python` there."""
    if not os.path.isabs(interpreter) or not os.path.basename(interpreter).startswith("python"):
        return None
    return by_folder.get(os.path.realpath(os.path.dirname(os.path.dirname(interpreter))))


def _also_called(environment: Environment, name: str) -> Environment:
    if name in (environment.name, *environment.aliases):
        return environment
    return replace(environment, aliases=(*environment.aliases, name))


def _completed(spec: Environment, where: Where) -> Environment:
    """A kernelspec with the versions of the interpreter that it starts."""
    owner = describe(spec.prefix, where) if spec.prefix and spec.language == "python" else None
    return replace(spec, python_version=owner.python_version, ipykernel=owner.ipykernel) if owner else spec
