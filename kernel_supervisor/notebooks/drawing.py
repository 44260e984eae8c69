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
    """The pictures that were made of figures, the latest of them kept."""

    def __init__(self) -> None:
        """There are none yet."""
        self._kept: dict[str, bytes] = {}
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def of(self, figures: Sequence[Drawable], environment: str, *, ours: bool) -> list[bytes | str]:
        """A PNG of each, or why there is none. `environment` is the folder of the Python that made them.

        What takes longer than half a minute is ended. Scripts that stand in the figures themselves run only in `ours`.
        """
        keys = await apart("results", lambda: [_key(each, environment, ours) for each in figures])
        left = {key: each for key, each in zip(keys, figures, strict=True) if key not in self._kept}
        async with self._turns:
            left = {key: each for key, each in left.items() if key not in self._kept}
            said = await _drawn(list(left.values()), environment, ours) if left else {}
        pictures = said.get("pictures", [None] * len(left))
        new = {key: base64.b64decode(each) for key, each in zip(left, pictures, strict=True) if each}
        found = [new.get(key) or self._kept.get(key) or said.get("why") or _NOT_DRAWN for key in keys]
        self._keep(new)
        return found

    def _keep(self, new: Mapping[str, bytes]) -> None:
        self._kept |= new
        while self._kept and sum(map(len, self._kept.values())) > _KEPT:
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
