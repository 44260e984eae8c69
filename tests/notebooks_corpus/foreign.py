"""Notebooks that no one here wrote, from the source archives of packages on PyPI."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

EMCEE, JUPYTEXT = "emcee-3.1.6", "jupytext-1.19.6"
"""Both under the MIT licence."""
_TUTORIALS, _INPUTS = f"{EMCEE}/docs/tutorials", f"{JUPYTEXT}/tests/data/notebooks/inputs/ipynb_py"
REAL = {
    "line": _TUTORIALS,
    "moves": _TUTORIALS,
    "parallel": _TUTORIALS,
    "plotly_graphs": _INPUTS,
    "Notebook_with_R_magic": _INPUTS,
}
"""Five with all that people have in theirs, run by them, and the folders that they are in."""


def foreign_notebooks(cache: Path, folder: Path) -> list[Path]:
    """The notebooks of nbconvert's source archive, unpacked into `folder`; `cache` keeps the archive between runs."""
    release = f"nbconvert-{version('nbconvert')}"
    _unpack(release, cache, folder)
    return sorted((folder / release).rglob("*.ipynb"))


def real_notebooks(cache: Path, folder: Path) -> dict[str, Path]:
    """Those of `REAL`, in `folder`, by their names; `cache` likewise."""
    found = {}
    with TemporaryDirectory() as aside:
        for release in (EMCEE, JUPYTEXT):
            _unpack(release, cache, Path(aside))
        for name, place in REAL.items():
            found[name] = Path(aside, place, f"{name}.ipynb").rename(folder / f"{name}.ipynb")
    return found


def _unpack(release: str, cache: Path, folder: Path) -> None:
    archive = cache / f"{release}.tar.gz"
    if not archive.exists():
        package = release.rpartition("-")[0]
        with TemporaryDirectory(dir=cache) as aside:
            command = (*("pip", "download", "--quiet", "--no-deps", "--no-binary", package), "--dest", aside)
            wanted = release.replace("-", "==", 1)
            subprocess.run([sys.executable, "-m", *command, wanted], check=True, stdout=subprocess.DEVNULL)
            (Path(aside) / archive.name).replace(archive)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
