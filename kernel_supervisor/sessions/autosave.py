"""Notebooks that are kept up to date: written in the background after each change of their session's history."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import Execution, SessionName
from kernel_supervisor.notebooks.document import ForeignFileError
from kernel_supervisor.notebooks.files import beside, umask_of
from kernel_supervisor.sessions.saving import write
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import Tasks, apart, happens

log = logging.getLogger(__name__)
_RESTS = 4.0
"""How many times as long as it took to write it a notebook is left alone: a large one costs a fifth of a core."""
_CLOSE_S = 5.0


class Autosave:
    """Writes the notebooks of the sessions that named one. One task for each session that has changed."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._changed: set[SessionName] = set()
        self._kept: set[SessionName] = set()
        """The sessions whose notebooks are looked after by a task."""
        self._tasks = Tasks()
        self._told: dict[SessionName, str] = {}
        self._closing = asyncio.Event()

    def open(self) -> None:
        """Watch the records, and catch up with what a predecessor could not write."""
        self._supervisor.catch_up = self.catch_up
        self._supervisor.records.watchers.append(self._take)
        for session in self._supervisor.sessions.known.values():
            self.catch_up(session.name)

    def _take(self, execution: Execution) -> None:
        if execution.settled:
            self.catch_up(execution.session)

    def catch_up(self, name: SessionName) -> None:
        """Write a session's notebook soon, if it has named one; what changes meanwhile is written with it."""
        session = self._supervisor.sessions.known.get(name)
        if session is None or not session.autosave or self._closing.is_set():
            return
        self._changed.add(name)
        if name not in self._kept:
            self._kept.add(name)
            self._tasks.begin(self._keep(name), f"autosave of session {name}")

    async def _keep(self, name: SessionName) -> None:
        try:
            while name in self._changed and not self._closing.is_set():
                self._changed.discard(name)
                begun = time.monotonic()
                await self._write(name)
                await happens(self._closing, (time.monotonic() - begun) * _RESTS)
        finally:
            self._kept.discard(name)

    async def _write(self, name: SessionName) -> None:
        path = self._supervisor.sessions.known[name].autosave
        if not path:
            return
        try:
            try:
                await write(self._supervisor, name, Path(path))
            except ForeignFileError:
                await self._move_beside(name, Path(path))
            self._told.pop(name, None)
        except SupervisorError as error:
            log.error("session %s: its notebook could not be kept up to date: %s", name, error)
            why = str(error).rstrip(".")
            await self._tell_once(name, f"the notebook was not saved: {why}. It is tried again with each execution.")
        except Exception:
            log.exception("session %s: autosave failed", name)
            await self._tell_once(name, "the notebook was not saved: autosave failed; the daemon's log has more")

    async def _move_beside(self, name: SessionName, path: Path) -> None:
        """Leave a file that somebody else changed alone, and go on in another."""
        other = await apart("documents", beside, path)
        if self._supervisor.sessions.known[name].autosave != str(path):  # it was told another one meanwhile
            return
        notice = f"{path} was changed by somebody else and is left alone; the notebook is kept in {other} from now on"
        await self._supervisor.sessions.change(name, autosave=str(other), notice=notice)
        await write(self._supervisor, name, other, umask=await apart("documents", umask_of, path))

    async def _tell_once(self, name: SessionName, notice: str) -> None:
        if self._told.get(name) != notice:
            self._told[name] = notice
            await self._supervisor.sessions.change(name, notice=notice)

    async def close(self) -> None:
        """Let what is being written be written, for a moment; the next daemon catches up with the rest."""
        self._closing.set()
        await self._tasks.close(_CLOSE_S)
