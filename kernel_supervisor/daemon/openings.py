"""What this daemon answered first, kept for clients that come while the next one starts."""

from __future__ import annotations

import asyncio
from typing import Any

from kernel_supervisor.client import opening
from kernel_supervisor.paths import Paths
from kernel_supervisor.tasks import Tasks

_END_S = 5.0


class Openings:
    """The answers of one daemon that are kept, each once: whoever asked may be gone before that is done."""

    def __init__(self, paths: Paths) -> None:
        self._paths, self._tasks = paths, Tasks()
        self._kept: set[str] = set()

    def keep(self, name: str, result: dict[str, Any]) -> None:
        """Begin to keep an answer, unless one is kept under this name or the name is empty."""
        if name and name not in self._kept:
            self._kept.add(name)
            self._tasks.begin(self._keep(name, result), f"the keeping of {name}")

    async def _keep(self, name: str, result: dict[str, Any]) -> None:
        try:
            await asyncio.to_thread(opening.keep, self._paths, name, result)
        except OSError:  # a full disk: the one before it is as good, or clients wait; the next answer is tried again
            self._kept.discard(name)

    async def close(self) -> None:
        """Let what has begun come to its end."""
        await self._tasks.close(_END_S)
