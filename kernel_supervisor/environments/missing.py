"""A module that a cell could not import: which environments here have it, and how the running one would."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.environments.discovery import describe, discover, packages_of
from kernel_supervisor.environments.installing import install_command
from kernel_supervisor.environments.model import Environment, Where

_MISSING = re.compile(r"No module named '?([A-Za-z_]\w*)'?")
_SHOWN = 3
_DISTRIBUTIONS = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "GitPython",
    "jwt": "PyJWT",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Where what is installed has another name than what is imported."""


def missing_module(name: str, value: str) -> str:
    """The top-level module that an error of that name and text could not find; empty where it says no such thing."""
    found = _MISSING.match(value) if name in ("ModuleNotFoundError", "ImportError") else None
    return found[1] if found is not None and found[1] not in sys.stdlib_module_names else ""


def where_to_find(module: str, prefix: str, python: str, where: Where) -> str:
    """One line: that the environment at `prefix` lacks `module`, which others have it, and how it could be had.

    Empty where it has that module after all, or is no environment. Blocks on files alone.
    """
    here = describe(prefix, where, python=python)
    if here is None or here.broken or _has(here, module, where):
        return ""
    others = [each for each in discover(where) if _differs(each, here) and _has(each, module, where)]
    told = [f"{module} is not in this kernel's environment ({prefix})"]
    if others:
        told.append(f"it is in {_places(others)}, which kernel_use_env changes to")
    with contextlib.suppress(RefusedError):
        package = _DISTRIBUTIONS.get(module, module)
        told.append(f"`{install_command(here, where.environ, package)}` installs it here")
    return "; ".join(told) + "."


def _differs(environment: Environment, here: Environment) -> bool:
    usable = environment.kind != "kernelspec" and not environment.broken and environment.language == "python"
    return usable and os.path.realpath(environment.prefix) != os.path.realpath(here.prefix)


def _has(environment: Environment, module: str, where: Where) -> bool:
    beginnings = (module + ".py", module + ".abi3.so", module + ".cpython-")
    for folder in packages_of(environment, where):
        if os.path.isdir(os.path.join(folder, module)):
            return True
        if any(name.startswith(beginnings) for name in _names(folder)):
            return True
    return False


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _places(environments: Sequence[Environment]) -> str:
    shown = [f"{each.name} ({each.prefix})" for each in environments[:_SHOWN]]
    more = f" and {len(environments) - _SHOWN} more" if len(environments) > _SHOWN else ""
    return ", ".join(shown) + more
