"""Notebooks that no one here wrote: those in the source archive of the nbconvert that is installed."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory


def foreign_notebooks(cache: Path, folder: Path) -> list[Path]:
    """The notebooks of nbconvert's source archive, unpacked into `folder`; `cache` keeps the archive between runs."""
    release = f"nbconvert-{version('nbconvert')}"
    archive = cache / f"{release}.tar.gz"
    if not archive.exists():
        wanted = release.replace("-", "==", 1)
        with TemporaryDirectory(dir=cache) as aside:
            command = (*("pip", "download", "--quiet", "--no-deps", "--no-binary", "nbconvert"), "--dest", aside)
            subprocess.run([sys.executable, "-m", *command, wanted], check=True, stdout=subprocess.DEVNULL)
            (Path(aside) / archive.name).replace(archive)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return sorted((folder / release).rglob("*.ipynb"))
