"""Which modules of a project cells imported, and which of them were changed on disk since: kernels go on with the old.

Found from the code of cells and of modules alone; nothing of it is done in a kernel.
"""

from __future__ import annotations

import ast
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kernel_supervisor.core.model import Execution, ExecutionId, KernelId
from kernel_supervisor.core.parsing import parsed
from kernel_supervisor.outputs.shellwords import run_at_once

_WORD = re.compile(r"[^\W\d]\w*")
_PLAY = re.compile(r"autoreload|sys\.modules|sys\.path|chdir|^\s*%cd\b", re.MULTILINE)
"""Code that has modules read anew by itself, or from elsewhere: nothing is known from then on."""
_ANEW = re.compile(r"\breload\s*\(")
_LARGEST = 100_000
_MOST = 50
"""Files of a project that are looked into for one import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A module's, as it was when a cell had it read."""

    module: str
    path: str
    execution: ExecutionId
    mtime: float
    digest: int


@dataclass(slots=True)
class _Known:
    """Of one life of a kernel."""

    last: int = 0
    over: bool = False
    """Whether nothing can be said of it any more."""
    files: dict[str, _File] = field(default_factory=dict)
    """By their paths."""
    names: dict[str, set[str]] = field(default_factory=dict)
    """By the names that cells have for a module, or for what is in it: the paths of what was read for that."""


class Imports:
    """What cells imported, by kernel and generation, as far as this daemon has shown their results."""

    def __init__(self) -> None:
        self._known: dict[KernelId, tuple[int, _Known]] = {}

    def concerns(self, execution: Execution) -> bool:
        """Whether a look is worth its while."""
        _, known = self._known.get(execution.kernel_id or KernelId(""), (0, _Known()))
        source = execution.source
        return execution.settled and bool(known.names or "import" in source or _PLAY.search(source[:_LARGEST]))

    def changed(self, execution: Execution, directory: str) -> list[str]:
        """A line for each module that a cell uses and that was changed after another one imported it; told once for
        each change. Blocks on files."""
        assert execution.kernel_id is not None
        generation, known = self._known.get(execution.kernel_id, (0, _Known()))
        if generation != execution.generation:
            known = _Known()
        self._known[execution.kernel_id] = (execution.generation, known)
        if execution.id <= known.last or known.over or len(execution.source) > _LARGEST:
            return []
        known.last = execution.id
        if _PLAY.search(execution.source):
            known.over, known.names = True, {}
            return []
        if _ANEW.search(execution.source):
            _read_anew(known, execution)
        said = list(_stale(known, execution.source))
        if execution.status == "ok":
            _take(known, execution, directory)
        return said


def _read_anew(known: _Known, execution: Execution) -> None:
    """Take the files as they are for those that were read, unless they may have been changed meanwhile."""
    for path, each in known.files.items():
        mtime = _mtime(path)
        if mtime is not None and execution.started_at is not None and mtime < execution.started_at:
            known.files[path] = replace(each, mtime=mtime, digest=_digest(path))


def _stale(known: _Known, source: str) -> Iterator[str]:
    """What to say of those that a cell's code names and that are no longer as they were, each once."""
    words = set(_WORD.findall(source)) if known.names else set()
    for path in sorted({path for name, paths in known.names.items() if name in words for path in paths}):
        before, mtime = known.files.get(path), _mtime(path)
        if before is None or mtime == before.mtime:
            continue
        if mtime is None:
            del known.files[path]
            yield _said_of_removed(before)
            continue
        known.files[path] = replace(before, mtime=mtime, digest=_digest(path))
        if known.files[path].digest != before.digest:
            yield _said(before)


def _said(file: _File) -> str:
    module, name = file.module, os.path.basename(file.path)
    return (
        f"{name} was changed on disk after execution {file.execution} imported {module}, and the kernel goes on "
        f"with what it imported: import importlib, {module}; importlib.reload({module}) reads it anew (then repeat "
        "`from … import …`), as do %load_ext autoreload and %autoreload 2 from then on."
    )


def _said_of_removed(file: _File) -> str:
    name = os.path.basename(file.path)
    return (
        f"{name}, which execution {file.execution} imported as {file.module}, is no longer there: the kernel goes on "
        "with what it imported, and a fresh one could not import it."
    )


def _take(known: _Known, execution: Execution, directory: str) -> None:
    """Note which names a cell gave to modules of the project's, or to what is in them, and which to something else."""
    tree = _parsed(execution.source)
    for name in _bound(tree) if known.names else ():
        known.names.pop(name, None)
    for name, modules in _imported(tree, ""):
        paths = known.names.get(name, set()) | _read_for(known, modules, execution, directory)
        if paths:
            known.names[name] = paths


def _read_for(known: _Known, modules: list[str], execution: Execution, directory: str) -> set[str]:
    """The files of the project's that were read for an import: those of the modules, and of what they import."""
    found, left, seen = set[str](), list(modules), set[str]()
    while left and len(found) < _MOST:
        module = left.pop()
        path = _path(module, directory) if module not in seen else None
        seen.add(module)
        if path is None:
            continue
        if path not in known.files:
            mtime = _mtime(path)
            if mtime is None or execution.started_at is None or mtime >= execution.started_at:
                continue
            known.files[path] = _File(
                module=module, path=path, execution=execution.id, mtime=mtime, digest=_digest(path)
            )
        found.add(path)
        package = module if path.endswith("__init__.py") else module.rpartition(".")[0]
        left += [each for _, behind in _imported(_parsed(_text(path)), package) for each in behind]
    return found


def _path(module: str, directory: str) -> str | None:
    path = os.path.join(directory, *module.split("."))
    return next((each for each in (os.path.join(path, "__init__.py"), path + ".py") if os.path.isfile(each)), None)


def _imported(tree: ast.Module, package: str) -> Iterator[tuple[str, list[str]]]:
    """The names that code of a package binds by importing, with the modules that may be read for them."""
    for each in run_at_once(tree):
        if isinstance(each, ast.Import):
            for alias in each.names:
                yield alias.asname or alias.name.partition(".")[0], [alias.name]
        elif isinstance(each, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - each.level + 1] if each.level else []
            module = ".".join(filter(None, (*parents, each.module)))
            for alias in each.names:
                yield alias.asname or alias.name, [module, f"{module}.{alias.name}"] if module else [alias.name]


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that code gives to something that it does not import."""
    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield definition.name
    for each in run_at_once(tree):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id


def _parsed(source: str) -> ast.Module:
    """Code without IPython's own lines; nothing of what cannot be read."""
    code = "\n".join("" if line.lstrip()[:1] in ("%", "!", "?") else line for line in source.splitlines())
    return parsed(code) or ast.Module(body=[], type_ignores=[])


def _text(path: str) -> str:
    """What is in a module's file, as far as it may be looked into."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, ValueError):
        return ""
    return text if len(text) <= _LARGEST else ""


def _digest(path: str) -> int:
    """Of what is in a file. One that cannot be read is none of the others."""
    try:
        with open(path, "rb") as file:
            return zlib.crc32(file.read())
    except (OSError, ValueError):
        return -1


def _mtime(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except (OSError, ValueError):
        return None
