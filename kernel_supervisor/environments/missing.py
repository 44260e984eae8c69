"""A module that a cell could not import: which environments here have it, and how the running one would."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.environments.discovery import describe, discover, packages_of
from kernel_supervisor.environments.installing import install_command
from kernel_supervisor.environments.model import Environment, Where
from kernel_supervisor.environments.projects import project_folders
from kernel_supervisor.paths import children

_MISSING = re.compile(r"No module named '?([A-Za-z_]\w*)(?:'|$)")
"""A name that is no identifier is no module's; of `a.b`, `a` was found."""
_NO_PIP = re.compile(
    r"(?:^|: )No module named '?pip'?\s*$|^Successfully installed \S+-\d|^Requirement already satisfied: \S+ in ",
    re.MULTILINE,
)
"""As Python prints it for `-m pip`, or what a pip says that may be another Python's."""
_PRINTED = 4_000
"""Characters, of the end of what was printed, in which that is looked for."""
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
    "distutils": "setuptools",
    "git": "GitPython",
    "imblearn": "imbalanced-learn",
    "jwt": "PyJWT",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "Bio": "biopython",
    "PIL": "pillow",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""Where what is installed has another name than what is imported."""
_SHARED = frozenset({"azure", "backports", "google", "jaraco", "mpl_toolkits", "ruamel", "sphinxcontrib", "zope"})
"""Names that many distributions have in common: which one is missing is not known."""


def missing_module(name: str, value: str) -> str:
    """The top-level module that an error of that name and text could not find; empty where it says no such thing."""
    found = _MISSING.match(value) if name in ("ModuleNotFoundError", "ImportError") else None
    known = found is None or found[1] in sys.stdlib_module_names or found[1].startswith("__")
    return "" if found is None or known else found[1]


def pip_is_missing(streams: Iterable[Mapping[str, Any]]) -> str:
    """`pip`, where a command printed that its interpreter has none, or some pip was at work; else empty."""
    return "pip" if any(_NO_PIP.search(str(each["text"])[-_PRINTED:]) for each in streams) else ""


def where_to_find(module: str, prefix: str, python: str, where: Where) -> Words:
    """One line: that the environment at `prefix` lacks `module`, where it is, and how it could be had.

    Empty where it has that module after all, or is no environment. Blocks on files alone.
    """
    here = describe(prefix, where, python=python)
    if here is None or here.broken or _has(here, module, where):
        return ""
    if module == "pip":
        with contextlib.suppress(RefusedError):
            how = install_command(here, where.environ, "PACKAGE")
            return f"pip is not in this kernel's environment ({prefix}); `{how}` installs a package there."
        return ""
    if own := _in_project(module, where):
        return f"{module} is the project's own, in {own}: `import sys; sys.path.append({own!r})` makes it known here."
    others = [each for each in discover(where) if _differs(each, here) and _has(each, module, where)]
    told: tuple[str | WayOn, ...] = (f"{module} is not in this kernel's environment ({prefix})",)
    if others:
        told += (f"; it is in {_places(others)}", WayOn("use other"))
    if module not in _SHARED:
        with contextlib.suppress(RefusedError):
            package = _DISTRIBUTIONS.get(module, module)
            told += (f"; `{install_command(here, where.environ, package)}` installs it here",)
    return (*told, ".")


def _differs(environment: Environment, here: Environment) -> bool:
    usable = environment.kind != "kernelspec" and not environment.broken and environment.language == "python"
    return usable and os.path.realpath(environment.prefix) != os.path.realpath(here.prefix)


def _in_project(module: str, where: Where) -> str:
    """The folder of the project that has `module`, empty where none does: no index has what is meant."""
    places = (folder / name for folder in project_folders(where) for name in ("", "src"))
    return next((str(place) for place in places if _is_module(place, module)), "")


def _is_module(place: Path, name: str) -> bool:
    """Whether `place` has code of that name: a folder may have anything else (`wandb`, `data`)."""
    inside = children(place / name)
    packages = (os.path.isfile(place / name / each / "__init__.py") for each in inside)
    return os.path.isfile(place / f"{name}.py") or any(each.endswith(".py") for each in inside) or any(packages)


def _has(environment: Environment, module: str, where: Where) -> bool:
    beginnings = (module + ".py", module + ".abi3.so", module + ".cpython-")
    return any(
        os.path.isdir(os.path.join(folder, module)) or any(name.startswith(beginnings) for name in children(folder))
        for folder in packages_of(environment, where)
    )


def _places(environments: Sequence[Environment]) -> str:
    shown = [f"{each.name} ({each.prefix})" for each in environments[:_SHOWN]]
    more = f" and {len(environments) - _SHOWN} more" if len(environments) > _SHOWN else ""
    return ", ".join(shown) + more
