"""Forgetting sessions: their history, and what their kernels wrote down. Saved notebooks stay where they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.records import ends
from kernel_supervisor.running.reading import log_size
from kernel_supervisor.sessions.supervisor import Supervisor

_DOOMED = ".forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A session as it is kept."""

    name: SessionName
    directory: str
    entries: int
    size_bytes: int
    """Of the files that no other session needs."""
    last_used: float
    """Seconds since the epoch."""
    at_work: str
    """Why it cannot be forgotten now; empty where it can."""


async def kept(supervisor: Supervisor) -> list[Kept]:
    """All sessions, the one that was used last first."""
    entries = await supervisor.records.entries_of_sessions()
    found = []
    for name, session in list(supervisor.sessions.known.items()):
        files = await asyncio.to_thread(_with_ends, await supervisor.records.files_of(name))
        count, last_used = entries.get(name, (0, session.created_at))
        found.append(
            Kept(
                name=name,
                directory=session.directory,
                entries=count,
                size_bytes=await asyncio.to_thread(_size, files),
                last_used=last_used,
                at_work=str(parts(_at_work(supervisor, session))[0]),
            )
        )
    return sorted(found, key=lambda each: each.last_used, reverse=True)


async def forget(supervisor: Supervisor, name: SessionName) -> int:
    """Forget a session that nothing runs in; how many bytes of files are gone. Raises RefusedError.

    Whenever we die, what is left is a session that can be forgotten again, or files that `sweep` knows.
    """
    async with supervisor.sessions.locks[name]:
        files = await asyncio.to_thread(_with_ends, await supervisor.records.files_of(name))
        if name not in supervisor.sessions.known:
            raise RefusedError(f"there is no session {name!r}")
        if why := _at_work(supervisor, supervisor.sessions.known[name]):
            raise RefusedError(f"session {name} cannot be forgotten: ", *parts(why))
        # From here to the deletion there is no await: an execution that comes now is committed behind it, and stays.
        doomed = [_doom(path) for path in files if Path(path).parent == Path(supervisor.paths.logs)]
        supervisor.sessions.forget(name)
        await supervisor.records.forget_session(name)
    return await asyncio.to_thread(_remove, list(filter(None, doomed)))


def _at_work(supervisor: Supervisor, session: SessionRecord) -> Words:
    """Why a session cannot be forgotten now; empty where it can."""
    kernels = [runner.kernel.record for runner in supervisor.kernels.runners.values()]
    for kernel in kernels:
        if kernel.session == session.name or kernel.id == session.kernel_id:
            return f"its kernel {kernel.id} lives", WayOn("kill", (kernel.id,)) if kernel.owned else WayOn("let go")
    for kernel in supervisor.kernels.adoption.records:
        if kernel.session == session.name or kernel.id == session.kernel_id:
            return f"its kernel {kernel.id} may live, and does not answer", WayOn("kill", (kernel.id,))
    if any(ticket.execution.session == session.name for ticket in supervisor.executions.tickets.values()):
        return "it has executions that are not over"
    return ""


def _with_ends(files: list[str]) -> list[str]:
    """Files of a session, and what its executions showed last, beside their logs."""
    return [*files, *(each for path in files if path for each in ends.files_of(path))]


def _doom(path: str) -> str:
    """Give a file the name by which `sweep` knows it; empty where there is none."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, path + _DOOMED)
        return path + _DOOMED
    return ""


def _size(paths: Iterable[str]) -> int:
    return sum(map(log_size, paths))


def _remove(paths: list[str]) -> int:
    size = _size(paths)
    for path in paths:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    return size


async def sweep(supervisor: Supervisor) -> None:
    """Remove what a predecessor had begun to forget."""
    logs = Path(supervisor.paths.logs)
    await asyncio.to_thread(lambda: _remove(list(map(str, logs.glob(f"*{_DOOMED}")))))
