"""Forgetting sessions: their history, what their kernels wrote down, and their checkpoints. Saved notebooks stay where
they are."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.running.reading import log_size
from kernel_supervisor.sessions.supervisor import Supervisor

_DOOMED = ".forgotten"


class Owners:
    """Which sessions need a file in the folder of logs: those with entries there, and the one whose kernel it was.

    A file belongs to a kernel by its name, whatever is behind that: KERNEL-GENERATION.messages and .stderr, and what
    the recorder writes beside. So does one of a notebook that was loaded: loaded-….messages.
    """

    def __init__(self) -> None:
        """Nobody needs any yet."""
        self._by_stem: defaultdict[str, set[SessionName]] = defaultdict(set)
        self._by_kernel: defaultdict[str, set[SessionName]] = defaultdict(set)

    @classmethod
    async def on_record(cls, supervisor: Supervisor) -> Owners:
        """As it is now."""
        found, known = cls(), supervisor.sessions.known
        for session, log in await supervisor.records.logs_of_sessions():
            if session in known:
                found._by_stem[_stem(log)].add(session)
        for session, kernel in await supervisor.records.kernels_of_sessions():
            if session in known:
                found._by_kernel[kernel].add(session)
        for record in known.values():
            if record.loaded:
                found._by_stem[_stem(record.loaded)].add(record.name)
        return found

    def of(self, path: str) -> set[SessionName]:
        """Those that need this one."""
        return self._by_stem.get(_stem(path), set()) | self._by_kernel.get(kernel_of(path), set())

    @property
    def kernels(self) -> set[str]:
        """All that sessions had, by id."""
        return set(self._by_kernel)

    def had(self, kernels: Iterable[str]) -> set[SessionName]:
        """The sessions that these were started for."""
        return {session for kernel in kernels for session in self._by_kernel.get(kernel, ())}

    def connections(self, name: SessionName, folder: str) -> list[str]:
        """Connection files and sockets that the kernels of a session may have left."""
        kernels = [kernel for kernel, sessions in self._by_kernel.items() if name in sessions]
        return [str(path) for kernel in kernels for path in Path(folder).glob(f"{kernel}[.-]*")]


def kernel_of(path: str) -> str:
    """The kernel that a file in the folder of logs belongs to."""
    return _stem(path).rpartition("-")[0]


def _stem(path: str) -> str:
    return os.path.basename(path).partition(".")[0]


async def forget(supervisor: Supervisor, name: SessionName) -> int:
    """Forget a session that nothing runs in; how many bytes of files are gone.

    Raises RefusedError, and UnavailableError while that cannot be recorded.
    Whenever we die, what is left is a session that can be forgotten again, or files that `finish` knows.
    """
    async with supervisor.sessions.locks[name]:
        needed = await Owners.on_record(supervisor)
        session = supervisor.sessions.known.get(name)
        if session is None:
            raise RefusedError(f"there is no session {name!r}")
        if why := at_work(supervisor, session):
            raise RefusedError(f"session {name} cannot be forgotten: ", *parts(why))
        await supervisor.records.save_session(session)  # tells whether anything can be recorded now
        if why := supervisor.records.not_recorded:
            raise UnavailableError(f"session {name} cannot be forgotten now: {why}")
        saved = await supervisor.checkpoints.drop([each.id for each in await supervisor.checkpoints.of(name)])
        # From here to the deletion there is no await: an execution that comes now is committed behind it, and stays.
        doomed = [_doom(path) for path in _logs(supervisor) if needed.of(path) == {name}]
        _remove(needed.connections(name, supervisor.paths.connections))
        supervisor.sessions.forget(name)
        await supervisor.records.forget_session(name)
    return saved + await asyncio.to_thread(_remove, doomed)


def at_work(supervisor: Supervisor, session: SessionRecord) -> Words:
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


def _logs(supervisor: Supervisor) -> list[str]:
    """What a link leads to is not ours."""
    logs = supervisor.paths.logs
    with contextlib.suppress(OSError):
        if not os.path.islink(logs):
            return [entry.path for entry in os.scandir(logs) if not entry.name.endswith(_DOOMED)]
    return []


def _doom(path: str) -> str:
    """Give a file the name by which `finish` knows it."""
    with contextlib.suppress(OSError):
        os.replace(path, path + _DOOMED)
    return path + _DOOMED


def _remove(paths: list[str]) -> int:
    size = sum(map(log_size, paths))
    for path in paths:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    return size


async def finish(supervisor: Supervisor) -> None:
    """Remove what a predecessor had begun to forget."""
    logs = Path(supervisor.paths.logs)
    await asyncio.to_thread(lambda: _remove(list(map(str, logs.glob(f"*{_DOOMED}")))))
