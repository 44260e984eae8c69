"""Projects whose directory was moved: what tells that one is here now. It is offered, never taken over."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import psutil

from kernel_supervisor.core.model import SessionName, SessionRecord


def moved_to(
    directory: str, sessions: Sequence[SessionRecord], pids: Mapping[SessionName, int | None]
) -> list[SessionRecord]:
    """The sessions of a project that seems to be in this directory now, the latest first. Blocks on files.

    Their own directory is gone, and one of their kernels works here, or a notebook that they wrote is here, or the
    directory is called as theirs was. `pids` are the kernels' processes.
    """
    gone = {each.directory for each in sessions if not os.path.isdir(each.directory)}
    for sign in (_works_here, _has_notebook_here, _is_called_so):
        found = [each for each in sessions if each.directory in gone and sign(directory, each, pids.get(each.name))]
        if found:
            home = max(found, key=lambda each: each.created_at).directory
            there = [each for each in sessions if each.directory == home]
            return sorted(there, key=lambda each: each.created_at, reverse=True)
    return []


def _works_here(directory: str, session: SessionRecord, pid: int | None) -> bool:
    """A process's working directory stays the same one when that is renamed."""
    try:
        return pid is not None and psutil.Process(pid).cwd() == directory
    except (psutil.Error, OSError):
        return False


def _has_notebook_here(directory: str, session: SessionRecord, pid: int | None) -> bool:
    below = f"{session.directory}/"
    paths = [path.removeprefix(below) for path in session.notebooks if path.startswith(below)]
    return any(os.path.isfile(os.path.join(directory, path)) for path in paths)


def _is_called_so(directory: str, session: SessionRecord, pid: int | None) -> bool:
    return os.path.basename(directory) == os.path.basename(session.directory) != ""
