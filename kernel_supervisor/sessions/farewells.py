"""What kernels save that others end by SIGTERM, as a logout does: a folder is ready for it, and whoever looks for a
checkpoint of one that is gone takes it up, whichever daemon that is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from kernel_supervisor.core.checkpoints import Checkpoint
from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import KernelId, SessionRecord
from kernel_supervisor.kernels import checkpoints as kernels
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions.checkpoints import Checkpoints, Wanted
from kernel_supervisor.tasks import apart

log = logging.getLogger(__name__)
_WRITES_S = 5.0
"""How long is waited for what a kernel that is gone has begun to write."""


async def ready(checkpoints: Checkpoints, session: SessionRecord, runner: Runner) -> None:
    """Have an idle kernel save itself should others end it; it has to be asked but once."""
    record = runner.kernel.record
    place = (record.id, record.generation)
    expected = await apart("documents", checkpoints.disk.expected)
    if kernels.why_not(runner.kernel) or any((each.kernel_id, each.generation) == place for each in expected):
        return
    wanted = Wanted(session=session, runner=runner, kind="auto")
    number = await apart("documents", checkpoints.disk.begin)
    try:
        await apart("documents", checkpoints.disk.expect, wanted.blank(number))
        await kernels.keep_ready(runner.kernel, await apart("documents", checkpoints.content, wanted, number))
    except (SupervisorError, OSError) as error:
        log.info("session %s: kernel %s does not save itself where others end it: %s", session.name, record.id, error)
        await apart("documents", checkpoints.disk.remove, number)


async def never_mind(checkpoints: Checkpoints, runner: Runner) -> None:
    """Have a kernel not save itself any more."""
    record = runner.kernel.record
    for each in await apart("documents", checkpoints.disk.expected):
        if (each.kernel_id, each.generation) == (record.id, record.generation):
            await runner.kernel.save_nothing()
            await apart("documents", checkpoints.disk.remove, each.id)


async def settle(checkpoints: Checkpoints, lives: Callable[[KernelId, int], bool], kernel_id: KernelId) -> None:
    """Take up what a kernel that is gone has saved; a folder that nothing came into goes."""
    for each in await apart("documents", checkpoints.disk.expected):
        if each.kernel_id == kernel_id and not lives(kernel_id, each.generation):
            pid = await apart("documents", checkpoints.disk.begun, each.id)
            if not pid or await kernels.ended(pid, _WRITES_S):  # else it is taken up the next time
                await _take_up(checkpoints, each)


async def _take_up(checkpoints: Checkpoints, expected: Checkpoint) -> None:
    try:
        said = await apart("documents", checkpoints.disk.manifest, expected.id)
    except (OSError, ValueError):
        await apart("documents", checkpoints.disk.remove, expected.id)
        return
    latest = await checkpoints.records.latest(expected.session)
    made = await checkpoints.commit(replace(expected, latest=latest, at=time.time()), *said)
    log.info("session %s: checkpoint %s, of a kernel that others ended", made.session, made.id)
