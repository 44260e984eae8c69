"""Processes that stand by to become kernels: started here, told here what to become, ended here.

What they do meanwhile is in `inside/spare.py`. They are children of ours as kernels are, and end with us: what they are
to become is said on their standard input, whose end is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import glob
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Interpreter, KernelRecord, ProcessIdentity
from kernel_supervisor.core.spares import read_early
from kernel_supervisor.inside import source
from kernel_supervisor.inside.spare import ROOM, STANDING, STARTING
from kernel_supervisor.kernels.hindrances import searched_first
from kernel_supervisor.kernels.keeper import Surroundings
from kernel_supervisor.kernels.local import Local, command_of, manager_of, variables_of
from kernel_supervisor.kernels.process import Process, identify, is_stopped
from kernel_supervisor.paths import Paths, hold
from kernel_supervisor.tasks import happens

_SPARE = "--spare"
_ROOM = 8192
"""Bytes for what a kernel's command line and its variables have more than those that a spare is started with."""
_MOST = 1 << 16
"""Bytes that a pipe takes at once."""
_BEGUN_S, _LEAVE_S = 5.0, 2.0
"""How long it may take to begin to be a kernel, and to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What kernels have in common that one spare could become."""

    argv: tuple[str, ...]
    overlay: str
    read: tuple[tuple[str, str], ...]
    """The variables that are read early, sorted."""


def kind_of_spare(interpreter: Interpreter, overlay: str, surroundings: Surroundings) -> Kind:
    """Of which kind the spare is that could become this kernel."""
    read = tuple(sorted(read_early(variables_of(surroundings)).items()))
    return Kind(argv=interpreter.argv, overlay=overlay, read=read)


class Spare:
    """One process that stands by, or is about to."""

    def __init__(self, name: str, kind: Kind, process: Process, telling: int, said: BinaryIO) -> None:
        """Hold a process that `start` has started."""
        self.name, self.kind, self.process = name, kind, process
        self.since = time.time()
        self._telling, self._said = telling, said

    def ready(self) -> bool:
        """Whether it can be told what to become. Blocks on /proc."""
        return self.process.alive() and self.stands() and not is_stopped(self.process.identity)

    def stands(self) -> bool:
        """Whether it says so itself. Blocks on /proc alone: it may be let go of meanwhile."""
        return _says(self.process.identity.pid, self.name, STANDING)

    def memory(self) -> int:
        """Bytes that are its own. Blocks on /proc."""
        with contextlib.suppress(psutil.Error, OSError):
            return int(psutil.Process(self.process.identity.pid).memory_full_info().uss)
        return 0

    def words(self) -> str:
        """What it wrote last. Blocks on the disk."""
        length = os.fstat(self._said.fileno()).st_size
        return os.pread(self._said.fileno(), 2000, max(0, length - 2000)).decode("utf-8", "replace").strip()

    def keeper(self, record: KernelRecord, surroundings: Surroundings) -> Local:
        """What keeps the kernel that it is to become, once there is an order: its record says which process that is."""
        return Local(record, self.process, searched_first(record, variables_of(surroundings)))

    async def become(self, order: bytes) -> None:
        """Have it be the kernel that is on record with this process. Raises UnavailableError.

        It has begun when this returns, or has ended; from then on it is as one that was just started.
        """
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(self._telling, begun.set)  # told once nobody reads there any more
        try:
            if len(order) > _MOST or os.write(self._telling, order) < len(order):
                raise UnavailableError("what it was to become is too long")
            if not await happens(begun, _BEGUN_S):
                raise UnavailableError(f"it did not begin within {_BEGUN_S:g} s")
        except OSError as error:
            raise UnavailableError(f"it is gone: {error.strerror}") from error
        finally:
            loop.remove_reader(self._telling)
            self.let_go()

    def let_go(self) -> None:
        """Say nothing more to it: one that is no kernel ends by that."""
        if self._telling >= 0:
            os.close(self._telling)
            self._telling = -1
            self._said.close()

    async def end(self) -> None:
        """End it, whatever it does."""
        self.let_go()
        if not await self.process.wait(_LEAVE_S):
            with contextlib.suppress(ProcessLookupError):
                self.process.signal_group(9)
            await self.process.wait(_LEAVE_S)
        if not self.process.alive():
            self.process.exit()  # else it stays a zombie
        self.process.close()


def order(record: KernelRecord, surroundings: Surroundings, key: str) -> bytes:
    """What a spare is told, to become a kernel; its connection file is laid. Raises UnavailableError."""
    env = variables_of(surroundings)
    manager = manager_of(record, key)
    try:
        manager.write_connection_file(jupyter_session=env.get("JPY_SESSION_NAME", ""))
    except OSError as error:
        raise UnavailableError(f"its connection file cannot be written: {error}") from error
    manager._connection_file_written = False  # as in `local.py`
    given = {"{connection_file}": os.path.realpath(record.connection_file)}
    command = [given.get(part, part) for part in command_of(record, surroundings)]
    told = {"command": command, "env": env, "directory": record.directory, "standard_error": record.standard_error}
    return json.dumps(told).encode() + b"\n"


def start(name: str, kind: Kind, surroundings: Surroundings, paths: Paths, expires_s: float) -> Spare:
    """Start one, which is on record by its name. It ends by itself after `expires_s`. Blocks. Raises OSError."""
    command = [*kind.argv, str(source("recorder")), _SPARE, name, STARTING, "--expires", f"{expires_s:g}"]
    command += ["--overlay", kind.overlay, "--room", " " * _ROOM]
    env = {**variables_of(surroundings), ROOM: " " * _ROOM}
    with contextlib.ExitStack() as passed_on, contextlib.ExitStack() as kept:
        reading, telling = os.pipe()
        passed_on.callback(os.close, reading)
        kept.callback(os.close, telling)
        said = tempfile.TemporaryFile(dir=paths.logs)  # noqa: SIM115 - it is read when the process has ended
        kept.callback(said.close)
        folder = hold(os.path.dirname(paths.connections))
        passed_on.callback(os.close, folder)
        child = subprocess.Popen(
            command,
            stdin=reading,
            stdout=said,
            stderr=said,
            cwd="/",
            env=env,
            start_new_session=True,
            pass_fds=(folder,),
        )
        identity = identify(child.pid)
        if identity is None:
            child.wait()
            raise ProcessLookupError("it ended at once")
        os.set_blocking(telling, False)
        kept.pop_all()
    return Spare(name, kind, Process(identity, child), telling, said)


def remove_log(record: KernelRecord) -> None:
    """Remove what one may have begun that did not become this kernel. Blocks on the disk."""
    for path in glob.glob(f"{glob.escape(record.message_log)}*"):
        with contextlib.suppress(OSError):
            os.unlink(path)


def end_left(name: str, known: ProcessIdentity | None) -> None:
    """End what a predecessor has left, if it still stands by: its end had to end it. Blocks on /proc."""
    found = [known] if known is not None else _with_name(name)
    for identity in found:
        if identify(identity.pid) == identity and _says(identity.pid, name):
            with contextlib.suppress(ProcessLookupError), contextlib.closing(Process(identity)) as process:
                process.signal(9)


def _with_name(name: str) -> list[ProcessIdentity]:
    pids = [process.pid for process in psutil.process_iter() if _says(process.pid, name)]
    return [identity for pid in pids if (identity := identify(pid)) is not None]


def _says(pid: int, name: str, *more: str) -> bool:
    """Whether a process's command line says that it is this spare."""
    words = "\0".join((_SPARE, name, *more))
    with contextlib.suppress(OSError):
        return f"\0{words}\0".encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False
