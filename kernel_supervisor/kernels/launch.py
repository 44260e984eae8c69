"""Starting a kernel's process through jupyter_client: over `ipc`, in its own session, outliving us."""

from __future__ import annotations

import asyncio
import json
import os

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.inside import source
from kernel_supervisor.keeping import RECORDED_BYTES
from kernel_supervisor.kernels.hindrances import searched_first
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.kernels.postmortem import why_it_failed
from kernel_supervisor.kernels.process import Process, identify

RECORDER = str(source("recorder"))
RECORD_LIMIT_VARIABLE = "KERNEL_SUPERVISOR_RECORD_LIMIT"
"""Bytes that the recorder keeps of one execution's outputs, where the client's environment sets nothing else."""
_NEVER_PASSED_ON = ("JPY_PARENT_PID", "PYTHONDONTWRITEBYTECODE")
"""The first kills the kernel with a stranger's process; the second makes each start three times slower."""


def command(record: KernelRecord, surroundings: Surroundings) -> list[str]:
    """What starts this kernel, with jupyter_client's `{connection_file}` still in it."""
    if not record.recorded:
        return list(record.interpreter.argv)
    options = ["--log", record.message_log, "--limit", str(_record_limit(surroundings))]
    options += ["--owner", record.channel_identity]
    if surroundings.umask is not None:
        options += ["--umask", str(surroundings.umask)]
    if surroundings.limits:
        options += ["--limits", json.dumps(surroundings.limits)]
    if record.overlay:
        options += ["--overlay", record.overlay]
    return [*record.interpreter.argv, RECORDER, *options, "-f", "{connection_file}"]


def _record_limit(surroundings: Surroundings) -> int:
    chosen = surroundings.env.get(RECORD_LIMIT_VARIABLE, "")
    return int(chosen) if chosen.isdecimal() else RECORDED_BYTES


async def launch(record: KernelRecord, surroundings: Surroundings, key: str = "") -> Process:
    """Start the process of `record`, which no daemon's death ends. It is not ready for requests yet.

    With the `key` of its predecessor, whoever was connected to that one goes on with this one. Raises
    UnavailableError where the interpreter cannot be started.
    """
    manager = AsyncKernelManager(connection_file=record.connection_file, transport="ipc")
    if key:
        manager.session.key = key.encode()
    manager._kernel_spec = KernelSpec(
        argv=command(record, surroundings),
        display_name=record.interpreter.name,
        language=record.interpreter.language,
    )
    env = {name: value for name, value in surroundings.env.items() if name not in _NEVER_PASSED_ON}
    log = os.open(record.standard_error, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # `independent`: no JPY_PARENT_PID, which would end the kernel with us. A file for its output: when a
        # pipe's reader dies, the kernel hangs for ever after 64 KB.
        await manager.start_kernel(env=env, cwd=record.directory, independent=True, stdout=log, stderr=log)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"the kernel could not be started: {record.interpreter.argv[0]} in {record.directory}: {error}"
        ) from error
    finally:
        os.close(log)
    manager._connection_file_written = False  # else its `__del__` removes the file that a next daemon needs
    manager._close_control_socket()
    child = manager.provisioner.process  # type: ignore[union-attr]  # the local provisioner's Popen
    identity = identify(child.pid)
    if identity is None:
        how = await asyncio.to_thread(child.wait)
        words = await asyncio.to_thread(why_it_failed, record, searched_first(record, env))
        raise UnavailableError(f"Stage {stage(record)}: the kernel ended at once ({how}).{words}")
    return Process(identity, child)


def stage(record: KernelRecord) -> str:
    """What a process of `record` does until it is ready: whatever comes before was found to work."""
    return "import" if record.recorded else "start"
