"""Jupyter's kernelspecs, read from their `kernel.json` files without Jupyter's libraries."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace

from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.environments.prefixes import prefix_of, remember
from kernel_supervisor.paths import children, read_regular

_SHARED = (sys.prefix, "/usr/local", "/usr")
_BARE_PYTHON = re.compile(r"python(3(\.\d+)?)?$")
IPYKERNEL_MODULES = ("ipykernel_launcher", "ipykernel")


def only_names_an_interpreter(spec: Environment) -> bool:
    """Whether it says nothing but which interpreter to start an ordinary ipykernel with."""
    plain = len(spec.argv) == 5 and spec.argv[1] == "-m" and spec.argv[2] in IPYKERNEL_MODULES
    return plain and not spec.env and not spec.provisioned


def shared_specs(where: Where) -> Iterable[Environment]:
    """Kernelspecs that Jupyter itself would find for the client; of one name the first counts."""
    found: dict[str, Environment] = {}
    for folder in dict.fromkeys(_folders(where)):
        for spec in specs_in(folder):
            found.setdefault(spec.name.lower(), spec)
    return found.values()


def specs_of(prefix: str) -> Iterator[Environment]:
    """Kernelspecs that the environment at `prefix` brings along."""
    yield from specs_in(os.path.join(prefix, "share", "jupyter", "kernels"))


def specs_in(folder: str) -> Iterator[Environment]:
    """Kernelspecs in `folder` as they are written, unreadable ones with the reason. Never raises."""
    for name in children(folder):
        path = os.path.join(folder, name, "kernel.json")
        if os.path.isfile(path):
            yield remember(("kernelspec", path), lambda name=name, path=path: (_read(name, path), [path]))  # type: ignore[misc]  # mypy cannot infer a lambda's defaults


def resolved(spec: Environment, where: Where, *, prefix: str = "") -> Environment:
    """`spec` with what it comes to here; `prefix` is whose `share/jupyter` it stands in, empty if shared."""
    argv = (interpreter_of(spec, where, prefix), *spec.argv[1:]) if spec.argv else ()
    python = argv[0] if argv and spec.language == "python" else ""
    prefix = prefix or (prefix_of(python) if os.path.isabs(python) else "")
    broken = spec.broken or _fault(spec, argv, prefix, where)
    return replace(spec, argv=argv, prefix=prefix, python=python, broken=broken)


def interpreter_of(spec: Environment, where: Where, prefix: str = "") -> str:
    """The command that `spec` starts, a bare `python` resolved as jupyter_client does: the one beside it."""
    command = spec.argv[0] if spec.argv else ""
    if not _BARE_PYTHON.match(command):
        return command
    beside = os.path.join(prefix or spec.resource_dir.rpartition("/share/jupyter/")[0], "bin", command)
    return beside if os.path.exists(beside) else where.shim_python or command


def _folders(where: Where) -> Iterator[str]:
    """`jupyter --paths`: https://docs.jupyter.org/en/latest/use/jupyter-directories.html, for the client."""
    environ, home = where.environ, where.home
    for path in filter(None, environ.get("JUPYTER_PATH", "").split(os.pathsep)):
        yield os.path.join(path, "kernels")
    support = home / "Library" / "Jupyter"
    data = os.path.join(environ.get("XDG_DATA_HOME") or home / ".local" / "share", "jupyter")
    yield os.path.join(environ.get("JUPYTER_DATA_DIR") or (support if sys.platform == "darwin" else data), "kernels")
    for prefix in filter(None, (prefix_of(where.shim_python), *_SHARED)):
        yield os.path.join(prefix, "share", "jupyter", "kernels")


def _read(name: str, path: str) -> Environment:
    """https://jupyter-client.readthedocs.io/en/stable/kernels.html#kernel-specs."""
    empty = Environment(name=name, kind="kernelspec", language="", resource_dir=os.path.dirname(path))
    try:
        told = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError) as error:
        return replace(empty, broken=f"{path} cannot be read: {error}")
    told = told if isinstance(told, dict) else {}
    argv, env, metadata = told.get("argv", []), told.get("env") or {}, told.get("metadata") or {}
    provisioner = metadata.get("kernel_provisioner", {}) if isinstance(metadata, dict) else None
    words = isinstance(argv, list) and all(isinstance(word, str) for word in argv)
    if not words or not isinstance(env, dict) or not isinstance(provisioner, dict):
        return replace(empty, broken=f"{path} is no kernelspec: argv, env or metadata has the wrong type")
    if not argv and "kernel_provisioner" not in metadata:
        return replace(empty, broken=f"{path} names no command")
    if not provisioner and not any("{connection_file}" in word for word in argv):
        return replace(empty, broken=f"the command in {path} takes no {{connection_file}}")
    return replace(
        empty,
        argv=tuple(argv),
        language=str(told.get("language", "")).lower(),
        env={str(key): str(value) for key, value in env.items()},
        provisioned="kernel_provisioner" in metadata,
    )


def _fault(spec: Environment, argv: tuple[str, ...], prefix: str, where: Where) -> str:
    if not argv or spec.provisioned:
        return ""
    searched = os.pathsep.join(filter(None, (prefix and os.path.join(prefix, "bin"), where.environ.get("PATH", ""))))
    if "{" in argv[0] or shutil.which(argv[0], path=searched):
        return ""
    return f"its command is gone: {argv[0]}" if os.path.isabs(argv[0]) else f"its command is not on PATH: {argv[0]}"
