"""Files of the user's that keep a kernel from starting: Python takes them for modules that the start needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.paths import children

_NEEDED = (
    sys.stdlib_module_names
    | {"IPython", "comm", "dateutil", "debugpy", "decorator", "executing", "ipykernel", "ipykernel_launcher", "jedi"}
    | {"jupyter_client", "jupyter_core", "matplotlib_inline", "nest_asyncio", "nest_asyncio2", "packaging", "parso"}
    | {"pexpect", "platformdirs", "prompt_toolkit", "psutil", "pygments", "sitecustomize", "six", "stack_data"}
    | {"tornado", "traitlets", "typing_extensions", "usercustomize", "wcwidth", "zmq"}
)
_NAMED = 5


def searched_first(record: KernelRecord, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The folders in which the interpreter of `record`, started with `environ`, looks before it looks in its own."""
    given = environ.get("PYTHONPATH")
    folders = given.split(os.pathsep) if given else []
    if not record.recorded and {"-m", "-c"} & set(record.interpreter.argv):
        folders.insert(0, "")
    return tuple(dict.fromkeys(os.path.normpath(os.path.join(record.directory, folder)) for folder in folders))


def in_the_way(folders: Sequence[str], said: str) -> str:
    """A line that names what in `folders` is in the way of a start that failed and `said` this; empty for nothing.

    Blocks on the folders.
    """
    files = sorted(file for folder in folders for file in _taken_for_modules(folder))
    certain = [file for file in files if file in said]
    named = (certain or files)[:_NAMED]
    if not named:
        return ""
    how = "In its way" if certain else "In its way may be"
    return f"\n{how}: {', '.join(named)}: Python takes that for a module which the kernel needs. Rename it or move it."


def _taken_for_modules(folder: str) -> Iterator[str]:
    for name in children(folder):
        path = os.path.join(folder, name)
        stem, dot, ending = name.partition(".")
        module = ending in ("py", "pyc") or ending.endswith("so")
        if stem in _NEEDED and (module if dot else os.path.isfile(os.path.join(path, "__init__.py"))):
            yield path
