"""Which modules of a project cells imported, and which of them were changed on disk since: kernels go on with the old.

Found from the code of cells and from files alone; nothing of it is done in a kernel.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from kernel_supervisor.core.model import Execution, ExecutionId, KernelId

_WORD = re.compile(r"[^\W\d]\w*")
_PLAY = re.compile(r"autoreload|sys\.modules|sys\.path|chdir|^\s*%cd\b", re.MULTILINE)
"""Code that has modules read anew by itself, or from elsewhere: nothing is known from then on."""
_ANEW = re.compile(r"\breload\s*\(")
_LARGEST = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Import:
    module: str
    path: str
    execution: ExecutionId
    mtime: float


@dataclass(slots=True)
class _Known:
    """Of one life of a kernel."""

    last: int = 0
    over: bool = False
    """Whether nothing can be said of it any more."""
    names: dict[str, _Import] = field(default_factory=dict)
    """By the names that cells have for a module, or for what is in it."""


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
        said = [_said(each) for each in _stale(known, execution.source)]
        if execution.status == "ok":
            for name, module in _imported(execution.source):
                _learn(known, name, module, execution, directory)
        return said


def _read_anew(known: _Known, execution: Execution) -> None:
    """Take the files as they are for those that were read, unless they may have been changed meanwhile."""
    for name, each in known.names.items():
        mtime = _mtime(each.path)
        if mtime is not None and execution.started_at is not None and mtime < execution.started_at:
            known.names[name] = replace(each, mtime=mtime)


def _stale(known: _Known, source: str) -> Iterator[_Import]:
    """Those that a cell's code names and that are no longer as they were, each once."""
    words = set(_WORD.findall(source)) if known.names else set()
    for path in {each.path for name, each in known.names.items() if name in words}:
        mtime = _mtime(path)
        before = next(each for each in known.names.values() if each.path == path)
        if mtime is None or mtime == before.mtime:
            continue
        for name, each in known.names.items():
            if each.path == path:
                known.names[name] = replace(each, mtime=mtime)
        yield before


def _said(imported: _Import) -> str:
    module, file = imported.module, os.path.basename(imported.path)
    return (
        f"{file} was changed on disk after execution {imported.execution} imported {module}, and the kernel goes on "
        f"with what it imported: import importlib, {module}; importlib.reload({module}) reads it anew (then repeat "
        "`from … import …`), as do %load_ext autoreload and %autoreload 2 from then on."
    )


def _learn(known: _Known, name: str, module: str, execution: Execution, directory: str) -> None:
    """Note an import of a module of the project's: the first one read its file."""
    earlier = next((each for each in known.names.values() if each.module == module), None)
    if earlier is not None:
        known.names[name] = earlier
        return
    path = os.path.join(directory, *module.split("."))
    for file in (os.path.join(path, "__init__.py"), path + ".py"):
        mtime = _mtime(file)
        if mtime is not None and execution.started_at is not None and mtime < execution.started_at:
            known.names[name] = _Import(module=module, path=file, execution=execution.id, mtime=mtime)
            return


def _imported(source: str) -> Iterator[tuple[str, str]]:
    """The names that code binds by importing, with the modules that are read for them."""
    code = "\n".join("" if line.lstrip()[:1] in ("%", "!", "?") else line for line in source.splitlines())
    try:
        found = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for each in found:
        if isinstance(each, ast.Import):
            for alias in each.names:
                yield alias.asname or alias.name.partition(".")[0], alias.name
        elif isinstance(each, ast.ImportFrom) and each.module and not each.level:
            for alias in each.names:
                yield alias.asname or alias.name, each.module


def _mtime(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except (OSError, ValueError):
        return None
