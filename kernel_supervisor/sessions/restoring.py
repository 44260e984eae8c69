"""Bringing the variables of a checkpoint back to a fresh kernel."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kernel_supervisor.core import checkpoints as core
from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import Execution, ExecutionId
from kernel_supervisor.kernels import checkpoints as kernels
from kernel_supervisor.records.checkpoints import SpoiledError
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions.checkpoints import DEADLINE_S, LOOKED_AT, Checkpoints
from kernel_supervisor.tasks import apart, happens

_UNIT_S = 60.0
"""How long what belongs together may take to be brought back."""
_CRASHES = 5
"""How many of what is brought back may each end the kernel before that is given up."""
_GONE_S = 2.0
"""How long after a broken answer a kernel may be found to have ended."""

Content: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is back of a checkpoint in a fresh kernel."""

    checkpoint: Checkpoint
    back: tuple[str, ...]
    missing: dict[str, str]
    """What is not, with the reasons."""
    copies: tuple[str, ...]
    """What shared its memory with others, and is a copy now."""
    by_source: tuple[str, ...]
    """Functions and classes that were made again from their source."""
    rest: tuple[ExecutionId, ...]
    """The executions that make what is not back, and what came after the checkpoint."""


async def restore(
    checkpoints: Checkpoints,
    runner: Runner,
    checkpoint: Checkpoint,
    anew: Callable[[], Awaitable[Runner]],
    *,
    only: Sequence[str] | None = None,
    replace: bool = True,
) -> tuple[Runner, Restored]:
    """Bring variables back to a kernel in which nothing else runs; `anew` gives another one where that ends of it.

    Without `replace` it is one of which a predecessor of ours may have asked the same: what it says to that will do.
    The kernel that has them, and what is back. Raises RefusedError, UnavailableError.
    """
    manifest = await checked(checkpoints, checkpoint)
    place = f"{runner.kernel.record.id}-{runner.kernel.record.generation}-back"
    stem = os.path.join(checkpoints.disk.folder(checkpoint.id), place)
    now = [runner]

    async def ask(content: Content, reply: str) -> Content | None:
        if now[0].gone.is_set():
            now[0] = await anew()
        return await _ask(now[0], content, reply)

    content = {**asked(checkpoints, checkpoint, manifest, stem), "only": only, "replace": replace}
    if replace:
        await apart("documents", _unlink, content["journal"], f"{stem}.json")
    try:
        said = await until_it_lives(checkpoint, content, f"{stem}.json", ask)
    finally:
        await apart("documents", _unlink, content["journal"], f"{stem}.json")
    if only is None and len(said["back"]) < len(checkpoint.names):
        await apart("documents", checkpoints.disk.note_incomplete, checkpoint.id, now[0].kernel.record)
    since = await checkpoints.records.history(checkpoint.session, last=LOOKED_AT) if only is None else []
    return now[0], read(checkpoint, said, since)


async def checked(checkpoints: Checkpoints, checkpoint: Checkpoint) -> str:
    """The path of a checkpoint's manifest. Raises RefusedError where it is not as it was written."""
    try:
        return await apart("documents", checkpoints.disk.check, checkpoint)
    except SpoiledError as error:
        raise RefusedError(f"checkpoint {checkpoint.called} cannot be used: {error}") from None


def asked(checkpoints: Checkpoints, checkpoint: Checkpoint, manifest: str, stem: str) -> Content:
    """What is asked of who is to take all of a checkpoint, as `inside/checkpoints/restoring` has it."""
    return {
        "manifest": manifest,
        "sha256": checkpoint.manifest,
        "objects": checkpoints.disk.objects,
        "only": None,
        "journal": f"{stem}.journal",
        "unit_s": _UNIT_S,
        "replace": True,
    }


async def until_it_lives(
    checkpoint: Checkpoint, content: Content, reply: str, ask: Callable[[Content, str], Awaitable[Content | None]]
) -> Content:
    """What is said by who was asked and did not end of it, without what ended those before; they are asked by `ask`,
    whose None is for one that ended. Raises RefusedError, UnavailableError."""
    without: list[int | str] = []
    for _ in range(_CRASHES):
        said = await ask({**content, "without": without}, reply)
        if said is not None and said.get("status") != "ok":
            raise RefusedError(f"checkpoint {checkpoint.called} cannot be used: {said.get('why') or 'nobody says why'}")
        if said is not None:
            return said
        without += await apart("documents", _last_begun, content["journal"])
        await apart("documents", _unlink, content["journal"], reply)
    raise UnavailableError(f"checkpoint {checkpoint.called} ends each process that it is brought back to")


def read(checkpoint: Checkpoint, said: Content, since: Sequence[Execution]) -> Restored:
    """What was said of what is back, with the entries of the checkpoint's session that may have come `since`."""
    missing = {str(name): str(why) for name, why in said["missing"].items()}
    return Restored(
        checkpoint=checkpoint,
        back=tuple(said["back"]),
        missing=missing,
        copies=tuple(said.get("copies", ())),
        by_source=tuple(said.get("by_source", ())),
        rest=tuple(core.rest(checkpoint, missing, since)),
    )


async def _ask(runner: Runner, content: Content, reply: str) -> Content | None:
    """What a kernel says that took variables back; None where it ended meanwhile."""
    async with runner.paused():
        asked = asyncio.ensure_future(kernels.bring_back(runner.kernel, content, reply, DEADLINE_S))
        gone = asyncio.ensure_future(runner.gone.wait())
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            return asked.result() if asked.done() else None
        except UnavailableError:
            if not await happens(runner.gone, _GONE_S):
                raise
            return None
        finally:
            gone.cancel()
            asked.cancel()
            await asyncio.gather(asked, gone, return_exceptions=True)


def _unlink(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _last_begun(journal: str) -> list[int | str]:
    """What was about to be brought back when the process ended: a unit, or the name of what has its source alone."""
    try:
        with open(journal, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").partition(" ") for line in file]
    except OSError:
        return []
    word, _, what = lines[-1] if lines else ("", "", "")
    return [int(what)] if word == "unit" and what.isdigit() else [what] if word == "source" else []
