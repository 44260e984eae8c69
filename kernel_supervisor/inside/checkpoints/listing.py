"""Which variables a checkpoint has, and what their types are called. Nothing of theirs is called."""

from __future__ import annotations

import os
import re
import sys
import types
from typing import Any

_IPYTHONS = re.compile(
    r"_+|_i+|_i?\d+|_[iod]h|_exit_code|"
    r"__(name|doc|package|loader|spec|file|cached|path|dict|weakref|builtins?|\w*annotat\w+|session|debug)__"
)
"""The names that IPython, and Python, give for themselves."""
_IMPORT = re.compile(r"^\s*import\s+([\w., ]+)", re.MULTILINE)
_LONGEST = 80


def user_variables(shell: Any, only: Any = None) -> dict[str, Any]:
    """What the user has, by name: hidden ones, too, that were made by the user; of these `only` the ones named."""
    missing, hidden, namespace = object(), dict(shell.user_ns_hidden), dict(shell.user_ns)
    found = {
        name: value
        for name, value in namespace.items()
        if type(name) is str and not _IPYTHONS.fullmatch(name) and hidden.get(name, missing) is not value
    }
    return found if only is None else {name: found[name] for name in found if name in only}


def module_name(value: Any) -> str:
    """By what name a module can be imported again; empty where it is none, or one that was made by hand."""
    if not issubclass(type(value), types.ModuleType):
        return ""
    name = namespace_of(value).get("__name__")
    top = sys.modules.get(name.partition(".")[0]) if type(name) is str else None
    if name != "__main__" and getattr(top, "__spec__", None) is None:
        return ""
    return name if type(name) is str and sys.modules.get(name) is value else ""


def namespace_of(module: Any) -> dict[str, Any]:
    """What a module has, read past a `__getattribute__` that would load it."""
    descriptor: Any = vars(types.ModuleType)["__dict__"]
    found: dict[str, Any] = descriptor.__get__(module)
    return found


def type_name(value: Any) -> str:
    """As `lookup.py` shows it. From the class itself: a metaclass may have properties of these names."""
    kind = type(value)
    module = type.__dict__["__module__"].__get__(kind)
    name = str(type.__dict__["__qualname__"].__get__(kind))
    if type(module) is str and module not in ("builtins", "__main__"):
        name = module.partition(".")[0] + "." + name
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def code_run(shell: Any) -> list[str]:
    """The cells, as IPython has them."""
    cells = getattr(getattr(shell, "history_manager", None), "input_hist_parsed", ())
    return [cell for cell in cells if type(cell) is str]


def folders() -> list[str]:
    """Where modules are looked for; cells add to it."""
    try:
        here = os.getcwd()
    except OSError:  # it is gone
        here = ""
    found = [os.path.normpath(os.path.join(here, each)) for each in list(sys.path) if type(each) is str and each]
    return [each for each in found if os.path.isabs(each)]


def loaded_beneath(imports: dict[str, str], code: list[str]) -> list[str]:
    """The modules that cells have imported by dotted names, of which they bind the first part alone."""
    named = {name for cell in code for line in _IMPORT.findall(cell) for name in re.findall(r"[\w.]+", line)}
    tops = {top for name, top in imports.items() if name == top}
    return sorted(name for name in named if name in sys.modules and "." in name and name.partition(".")[0] in tops)


def versions(names: Any) -> dict[str, str]:
    """The versions of packages by the names of modules, as they say themselves; none of what comes with Python."""
    own: Any = getattr(sys, "stdlib_module_names", ())
    found = {}
    for top in sorted({str(name).partition(".")[0] for name in names}):
        module = sys.modules.get(top)
        if module is not None and top not in own and top != "__main__" and issubclass(type(module), types.ModuleType):
            said = namespace_of(module).get("__version__")
            found[top] = said if type(said) is str else ""
    return found
