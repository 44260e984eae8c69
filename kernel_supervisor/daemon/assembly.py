"""A daemon's parts, put together. Importing this takes most of a second: a daemon does it in a thread."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from kernel_supervisor.daemon.notify import notify
from kernel_supervisor.daemon.router import Router
from kernel_supervisor.mcp.caller import Admin
from kernel_supervisor.mcp.resources import Changes
from kernel_supervisor.mcp.server import build
from kernel_supervisor.paths import Paths
from kernel_supervisor.sessions import autocheckpoints, forgetting
from kernel_supervisor.sessions.autocheckpoints import AutoCheckpoints
from kernel_supervisor.sessions.autosave import Autosave
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.sessions.sweeping import Sweeping
from kernel_supervisor.tasks import Tasks

_SAVED_S = 5.0
"""How long saving what kernels have may take where the machine or the login ends: whoever ends it waits for no more."""


class Parts:
    """The supervisor, its clients, and the notebooks that are kept up to date."""

    def __init__(self, paths: Paths, socket: Any, admin: Admin) -> None:
        """Connect them; nothing is opened before `serve`."""
        self.supervisor = Supervisor(paths)
        self._autosave, self._sweeping = Autosave(self.supervisor), Sweeping(self.supervisor)
        self._checkpoints = AutoCheckpoints(self.supervisor)
        self._tasks = Tasks()
        changes = Changes(self.supervisor.sessions)
        self.supervisor.records.watchers.append(changes.take)
        self.router = Router(socket, self.supervisor, admin, build(changes), changes.bus)

    async def serve(self) -> None:
        """Open the records and serve, until cancelled."""
        await self.supervisor.open()  # first: a daemon that cannot work is better not reached at all
        serving = asyncio.create_task(self.router.serve(), name="frames")
        try:
            self._autosave.open()
            self._checkpoints.open()
            self.router.ready.set()
            notify("READY=1")
            await forgetting.finish(self.supervisor)
            self._tasks.keep(self._sweeping.keep, "sweeping")
            self._tasks.keep(self.supervisor.kernels.spares.keep, "spare kernels")
            self._tasks.keep(self._before_shutdown, "waiting for the machine's end")
            await serving
        finally:
            serving.cancel()

    async def _before_shutdown(self) -> None:
        """Hear of the machine's shutdown where there is something to be saved then."""
        await self._checkpoints.wanted.wait()
        if sys.platform == "linux":
            from kernel_supervisor.daemon.logind import before_shutdown  # 20 ms, and most never need it

            await before_shutdown(self.save_all)

    async def save_all(self) -> None:
        """Save what kernels have, in the sessions where that is wanted: they are about to be gone."""
        await autocheckpoints.at_the_end(self.supervisor, _SAVED_S)

    async def close(self, *, told: bool) -> None:
        """Let go of notebooks, clients and kernels; `told` as `Router.close` has it."""
        await self._tasks.close()
        await self._autosave.close()
        await self._checkpoints.close()
        await self.router.close(told=told)
        await self.supervisor.close()
