"""Going on in another environment with variables of the kernel before: saved, rehearsed there, and brought back."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace

from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import Interpreter, SessionRecord
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.commands import silent
from kernel_supervisor.kernels import checkpoints as kernels
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import restoring
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.checkpoints import Wanted
from kernel_supervisor.sessions.placing import furnished
from kernel_supervisor.sessions.restoring import Content, Restored
from kernel_supervisor.sessions.supervisor import Change, Supervisor
from kernel_supervisor.tasks import apart
from kernel_supervisor.wording import printable

ALL = "*"
_REHEARSED_S = 600.0


async def carry(supervisor: Supervisor, change: Change, names: Sequence[str]) -> tuple[Runner, bool, Restored | None]:
    """`Supervisor.use`, with the variables of these names (ALL for all) of the session's present kernel; also what of
    them is there, None where the session has not left its kernel.

    Each is there as a whole, or named with why it is not. Raises RefusedError and UnavailableError before anything is
    changed.
    """
    session, interpreter, tell = change.session, change.interpreter, change.tell
    runner = await supervisor.sessions.living_runner(session)
    if runner is None:
        raise RefusedError("this session has no kernel yet, and nothing to carry", WayOn("first exec"))
    if interpreter.language != "python":
        raise RefusedError(f"{interpreter.name} runs {interpreter.language}: nothing can be carried there")
    only = None if ALL in names else [each.strip() for each in names]
    wanted = Wanted(session=session, runner=runner, kind="carried", only=only, tell=tell)
    checkpoint = await supervisor.checkpoints.save(wanted)
    try:
        if unknown := sorted(set(only or ()) - set(checkpoint.names) - set(checkpoint.missing)):
            which = ", ".join(map(printable, unknown))
            raise RefusedError(f"carry: there is no variable {which}; nothing was changed", WayOn("see variables"))
        tell(f"trying them in {interpreter.name}")
        fit = await _rehearsed(supervisor, session, checkpoint, interpreter, change.asker)
        now, returned = await supervisor.use(change)
        return now, returned, await _brought(supervisor, checkpoint, now, fit) if now is not runner else None
    finally:
        await supervisor.checkpoints.drop([checkpoint.id])


async def _rehearsed(
    supervisor: Supervisor, session: SessionRecord, checkpoint: Checkpoint, interpreter: Interpreter, asker: Asker
) -> Restored:
    """What of a checkpoint a scratch process of that interpreter takes: what ends one is left out of the next."""
    place = await apart("environments", furnished, interpreter, asker, supervisor.paths.cache, silent)
    manifest = await restoring.checked(supervisor.checkpoints, checkpoint)
    argv, env = place.interpreter.argv, place.surroundings.env

    async def ask(content: Content, reply: str) -> Content | None:
        return await apart("environments", kernels.rehearse, argv, env, content, reply, _REHEARSED_S)

    with tempfile.TemporaryDirectory(prefix="ks-rehearsal-") as folder:
        stem = os.path.join(folder, "tried")
        content = {**restoring.asked(supervisor.checkpoints, checkpoint, manifest, stem), "path": [session.directory]}
        said = await restoring.until_it_lives(checkpoint, content, f"{stem}.json", ask)
    return restoring.read(checkpoint, said, ())


async def _brought(supervisor: Supervisor, checkpoint: Checkpoint, runner: Runner, fit: Restored) -> Restored:
    """What of that fits is in the kernel now; the rest is named with why it was not fit."""

    async def never() -> Runner:
        raise UnavailableError("the kernel ended as it took the variables over, which it did not when it was tried")

    _, restored = await restoring.restore(supervisor.checkpoints, runner, checkpoint, never, only=fit.back)
    return replace(restored, missing={**fit.missing, **restored.missing})
