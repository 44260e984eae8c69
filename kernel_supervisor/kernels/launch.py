"""Starting a kernel's process through jupyter_client: over `ipc`, in its own session, outliving us."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.inside import source
from kernel_supervisor.kernels.hindrances import in_the_way, searched_first
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.paths import open_regular

RECORDER = str(source("recorder"))
RECORD_LIMIT_VARIABLE = "KERNEL_SUPERVISOR_RECORD_LIMIT"
RECORD_LIMIT = 64 << 20
"""Bytes that the recorder keeps of one execution's outputs, where the client's environment sets nothing else."""
_NEVER_PASSED_ON = ("JPY_PARENT_PID", "PYTHONDONTWRITEBYTECODE")
"""The first kills the kernel with a stranger's process; the second makes each start three times slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What user code sees of the client that asked: kept in memory, never on disk."""

    env: Mapping[str, str]
    umask: int | None = None
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Soft and hard resource limits by their names in `resource`."""


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
    return int(chosen) if chosen.isdecimal() else RECORD_LIMIT


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


def last_words(record: KernelRecord) -> str:
    """The end of what the kernel wrote to its standard output and error, from the last fatal error on if there is one.

    Empty, or a line break, a heading and at most 2,000 characters. Blocks on the file.
    """
    tail = _end_of_standard_error(record)
    _, fatal, dump = tail.rpartition("Fatal Python error")
    words = (fatal + dump)[:_WORDS] if fatal else tail[-_WORDS:]
    return f"\nThe end of its standard error:\n{words}" if words else ""


def why_it_failed(record: KernelRecord, folders: Sequence[str]) -> str:
    """`last_words` of a kernel that did not start, and what in `folders` is in its way. Blocks on the disk."""
    return last_words(record) + in_the_way(folders, _end_of_standard_error(record))


def _end_of_standard_error(record: KernelRecord) -> str:
    try:
        with os.fdopen(open_regular(record.standard_error), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _SEARCHED))
            return file.read().decode("utf-8", "replace").strip()
    except (OSError, ValueError):
        return ""


_SEARCHED, _WORDS = 32_768, 2_000


def remove_connection(record: KernelRecord) -> None:
    """Remove the connection file and the sockets of a kernel of ours that is gone; those of others are theirs."""
    base = Path(record.connection_file)
    if not record.owned or base.name != f"{record.id}.json":
        return
    for path in base.parent.glob(f"{record.id}*"):
        with contextlib.suppress(OSError):
            path.unlink()
