"""Notebooks that no one here wrote: those in the source archive of the nbconvert that is installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path


def foreign_notebooks(folder: Path) -> list[Path]:
    """The notebooks of nbconvert's source archive, which pip fetches into `folder` once."""
    release = f"nbconvert-{version('nbconvert')}"
    archive = folder / f"{release}.tar.gz"
    if not archive.exists():
        wanted = release.replace("-", "==", 1)
        command = (*("pip", "download", "--quiet", "--no-deps", "--no-binary", "nbconvert"), "--dest", str(folder))
        subprocess.run([sys.executable, "-m", *command, wanted], check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return sorted((folder / release).rglob("*.ipynb"))
