"""Where a kernel works by now, and what of its project is not found from there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import psutil

from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.kernels.process import identify

_QUOTED = re.compile(r"'([^'\n]{1,500})'|\"([^\"\n]{1,500})\"")
_NO_FILE = re.compile(r"No such file or directory")
_NOT_FOUND = re.compile(r"No files found|does not exist|not found", re.IGNORECASE)
"""What other errors say of a file, and of much else."""
_LAST = re.compile(r"(?:^|: )([^\s'\":][^'\":\n]{0,500})$")
_LONGEST = 300


def elsewhere(record: KernelRecord, directory: str) -> str:
    """The directory that a kernel works in now, where it is not `directory`; empty where it is, or cannot be known.

    Blocks on the system.
    """
    if not kind_of(record).here or record.process is None or identify(record.process.pid) != record.process:
        return ""
    try:
        now = psutil.Process(record.process.pid).cwd()
        return "" if os.path.samefile(now, directory) else now[:_LONGEST]
    except (psutil.Error, OSError, ValueError):
        return ""


def works_in(now: str, directory: str) -> str:
    """What a client has to know of a kernel that works elsewhere."""
    return f"the kernel works in {now}, not in {directory}: relative paths begin there"


def astray(record: KernelRecord, directory: str, ename: str, evalue: str) -> str:
    """What to say of an error about a file or a module that is not found from where a kernel works; empty where that
    is its project, or has nothing to do with it. Blocks on files."""
    module = re.match(r"No module named '(\w+)", evalue) if ename == "ModuleNotFoundError" else None
    surely = module is None and (ename == "FileNotFoundError" or _NO_FILE.search(evalue) is not None)
    if module is None and not surely and not _NOT_FOUND.search(evalue):
        return ""
    paths = [module[1], module[1] + ".py"] if module is not None else list(_relative_paths(evalue))
    now = elsewhere(record, directory) if paths else ""
    if not now:
        return ""
    there = [each for each in paths if os.path.exists(f"{directory}/{each}") and not os.path.exists(f"{now}/{each}")]
    if there and (surely or module is not None or "." in there[-1]):
        return f"{there[-1]} is in {directory}, but the kernel works in {now} now (os.chdir({directory!r}) goes back)"
    return works_in(now, directory) if surely else ""


def _relative_paths(evalue: str) -> Iterator[str]:
    """What may be a path in an error's text, quoted or at its end."""
    found = [one or other for one, other in _QUOTED.findall(evalue[:2000])]
    for each in found or _LAST.findall(evalue[:2000].strip()):
        if not os.path.isabs(each) and "://" not in each and not each.startswith("~") and "\0" not in each:
            yield each
