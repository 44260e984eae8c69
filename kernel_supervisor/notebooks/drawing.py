"""Interactive figures as pictures for who looks at results, drawn in a process of its own and kept by what they show.

What draws them (a browser, vega's converter) is started there alone; see `draw`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from kernel_supervisor import engines
from kernel_supervisor.core.answers import heard
from kernel_supervisor.isolation import isolated
from kernel_supervisor.notebooks.processes import end
from kernel_supervisor.outputs.figures import Drawable, Library
from kernel_supervisor.tasks import apart

_DEADLINE_S = 30.0
_AT_ONCE = 2
"""Processes; each draws several figures at the same time."""
_KEPT = 32 << 20
"""Bytes of pictures that are kept."""
_NOT_DRAWN = "it could not be drawn here"


def libraries_drawn() -> frozenset[Library]:
    """The libraries whose figures can be drawn on this machine. Blocks on the disk."""
    drawn: set[Library] = {"plotly", "bokeh", "vega"} if engines.browser() else set()
    return frozenset(drawn | ({"vega"} if importlib.util.find_spec("vl_convert") else set()))


class Drawings:
    """The pictures that are made of figures, each at one time by one process, and the latest of them kept."""

    def __init__(self) -> None:
        """There are none yet."""
        self._kept: dict[str, bytes] = {}
        self._begun: dict[str, asyncio.Future[bytes | str]] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of(self, figures: Sequence[Drawable], environment: str, *, ours: bool) -> list[bytes | str]:
        """A PNG of each, or why there is none. `environment` is the folder of the Python that made them.

        What takes longer than half a minute is ended. Scripts that stand in the figures themselves run only in `ours`.
        """
        keys = await apart("results", lambda: [_key(each, environment, ours) for each in figures])
        known = {key: self._kept[key] for key in keys if key in self._kept}
        new = {
            key: each for key, each in zip(keys, figures, strict=True) if key not in known and key not in self._begun
        }
        loop = asyncio.get_running_loop()
        self._begun |= {key: loop.create_future() for key in new}
        begun = {key: self._begun[key] for key in keys if key not in known}
        try:
            if new:
                async with self._turns:
                    self._take(new, await _drawn(list(new.values()), environment, ours))
        finally:
            for key in new:
                if not (over := self._begun.pop(key)).done():
                    over.set_result(_NOT_DRAWN)
        return [known[key] if key in known else await asyncio.shield(begun[key]) for key in keys]

    def _take(self, new: Mapping[str, Drawable], said: Mapping[str, Any]) -> None:
        pictures = said.get("pictures", [None] * len(new))
        for key, picture in zip(new, pictures, strict=True):
            found = base64.b64decode(picture) if picture else said.get("why") or _NOT_DRAWN
            self._begun[key].set_result(found)
            if isinstance(found, bytes):
                self._kept[key] = found
        while sum(map(len, self._kept.values())) > _KEPT:
            del self._kept[next(iter(self._kept))]


async def _drawn(figures: Sequence[Drawable], environment: str, ours: bool) -> dict[str, Any]:
    """What the process says of them; nothing where it fails."""
    folder = await apart("documents", tempfile.mkdtemp, prefix="kernel-supervisor-")
    try:
        process = await asyncio.create_subprocess_exec(
            *isolated("kernel_supervisor.notebooks.draw", folder, environment, str(_DEADLINE_S)),
            cwd=folder,  # not the project's: its files must not be taken for modules
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            asked = json.dumps({"ours": ours, "figures": [each.data for each in figures]}).encode()
            said, _ = await asyncio.wait_for(process.communicate(asked), _DEADLINE_S)
        except asyncio.TimeoutError:
            return {"why": f"drawing it took more than {_DEADLINE_S:g} s"}
        finally:
            await end(process)
        return next(iter(heard(said.splitlines(keepends=True))), {})
    finally:
        await asyncio.shield(apart("documents", shutil.rmtree, folder, ignore_errors=True))


def _key(figure: Drawable, environment: str, ours: bool) -> str:
    said = json.dumps([figure.data, environment, ours], sort_keys=True, default=str)
    return hashlib.sha256(said.encode(errors="replace")).hexdigest()
