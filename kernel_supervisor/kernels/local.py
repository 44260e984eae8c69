"""Kernels that are processes of ours on this machine: started here, signalled here, and explained when they die.

jupyter_client starts them: over `ipc`, each in a session of its own, outliving us.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import psutil
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord, OnMessage, ProcessIdentity
from kernel_supervisor.inside import source
from kernel_supervisor.keeping import RECORDED_BYTES, STDERR_BYTES
from kernel_supervisor.kernels import postmortem, strays
from kernel_supervisor.kernels.connection import StrandedError, check_own, check_sockets, lay_again, text_of
from kernel_supervisor.kernels.hindrances import searched_first
from kernel_supervisor.kernels.keeper import Keeper, OpenChannels, Surroundings, Told
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.kernels.standarderror import shorten
from kernel_supervisor.paths import hold
from kernel_supervisor.records.messagelog import begins
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.tasks import Tasks, until_tick

_LADDER_S = (3.0, 3.0, 3.0)
"""How long a request, SIGTERM and SIGKILL are each given."""
_STARTING_S = 60.0
_LOOK_S, _LOOK_AGAIN_S = 15.0, 0.2
"""How often is looked how much it wrote to its standard error."""
_FRESH_S = 1.0
"""How long counters that were read are as good as those that are there."""
_RECORD_LIMIT_VARIABLE = "KERNEL_SUPERVISOR_RECORD_LIMIT"
"""Bytes that the recorder keeps of one execution's outputs, where the client's environment sets nothing else."""
_NEVER_PASSED_ON = ("JPY_PARENT_PID", "PYTHONDONTWRITEBYTECODE")
"""The first kills the kernel with a stranger's process; the second makes each start three times slower."""


class Local(Keeper):
    """One process."""

    here: ClassVar[bool] = True
    inherits: ClassVar[bool] = True

    def __init__(
        self, record: KernelRecord, process: Process, folders: Sequence[str] = (), *, adopted: bool = False
    ) -> None:
        """Keep a process; `folders` of the user's may keep it from starting. Of one that is `adopted` others may have
        removed what leads to it."""
        connection = text_of(Path(record.connection_file), record.connection if adopted else "")
        self.record = replace(record, process=process.identity, connection=connection)
        self._process, self._folders, self._adopted = process, folders, adopted
        self._memory: postmortem.MemoryWatch | None = None
        self._sampled = -_FRESH_S
        self._beside = Tasks()

    @classmethod
    def keeps(cls, record: KernelRecord) -> bool:
        """Whatever nobody else keeps."""
        return True

    @classmethod
    def prepared(cls, record: KernelRecord) -> KernelRecord:
        """One whose command we put together records itself."""
        return replace(record, recorded="{connection_file}" not in " ".join(record.interpreter.argv))

    @classmethod
    async def launch(cls, record: KernelRecord, servers: Servers, surroundings: Surroundings, key: str) -> Local:
        """Start a process, which no daemon's death ends. Raises UnavailableError."""
        env = variables_of(surroundings)
        child = await _start(record, command_of(record, surroundings), env, key)
        folders, identity = searched_first(record, env), identify(child.pid)
        if identity is None:
            how = await asyncio.to_thread(child.wait)
            words = await asyncio.to_thread(postmortem.why_it_failed, record, folders)
            raise UnavailableError(f"Stage {postmortem.stage(record)}: the kernel ended at once ({how}).{words}")
        return cls(record, Process(identity, child), folders)

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Local:
        """Take over a process. Raises ProcessLookupError where it is gone."""
        identity = record.process
        if identity is None:
            identity = await asyncio.to_thread(_with_connection_file, record.connection_file)
        return cls(record, Process(identity), adopted=True)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive()

    def open_channels(self, on_message: OnMessage, on_resumed: Told, on_gone: Told) -> OpenChannels:
        """Through its own connection file. Raises OSError, ValueError and StrandedError."""
        path = Path(self.record.connection_file)
        self._have(path)
        if self._adopted and self._is_up():
            check_sockets(path)
        return super().open_channels(on_message, on_resumed, on_gone)

    def _have(self, path: Path) -> None:
        """Lay the connection file again where it was removed or damaged. Raises as `open_channels`."""
        try:
            check_own(path, self.record.connection)
        except (OSError, ValueError) as error:
            if self.record.connection:
                lay_again(path, self.record.connection)
            elif self._adopted and (isinstance(error, ValueError) or not path.is_file()):
                what = f"is damaged ({error})" if os.path.lexists(path) else f"was removed ({path})"
                gone = f"its connection file {what}, and its key stands nowhere else: it runs on with its variables"
                raise StrandedError(f"{gone}, and nothing can reach it any more.") from None
            else:
                raise

    def _is_up(self) -> bool:
        """Whether it had the time to lay its sockets."""
        return begins(self.record.message_log) is not None or time.time() > self.record.started_at + _STARTING_S

    async def watch(self, on_state: Told) -> str:
        """Return once the process has ended, and its forks with it."""
        await asyncio.to_thread(self.sample)
        bounding = self._beside.keep(self._bound, f"standard error of {self.record.id}")
        try:
            await self._process.ended()
        finally:
            bounding.cancel()
        await asyncio.to_thread(self._process.end_copies)
        return str(self._process.exit())

    async def _bound(self) -> None:
        """Keep its standard error from filling the disk: where it was shortened more may soon come."""
        was_long = False
        while True:
            await asyncio.sleep(_LOOK_AGAIN_S if was_long else until_tick(_LOOK_S))
            path = self.record.standard_error
            was_long = _is_long(path) and await asyncio.to_thread(_shortened, path)

    def sample(self) -> None:
        """Note by what its forks are known, and the counters of out-of-memory kills; of these a moment ago will do."""
        self._process.look()
        now = time.monotonic()
        if now - self._sampled < _FRESH_S:
            return
        self._sampled = now
        self._memory = postmortem.watch_memory(self._process.identity.pid, self._memory)

    async def interrupt(self, since: float | None) -> None:
        """SIGINT to the kernel and what it started since then, as a terminal does. Raises ProcessLookupError."""
        await asyncio.to_thread(self._process.interrupt, since)

    async def terminate(self) -> None:
        """A request, SIGTERM, SIGKILL to its group; SIGKILL alone where nothing can be asked."""
        if self.alive:
            self._process.look()
            await self._end()
        if not self.alive:
            self._process.exit()  # else it stays a zombie
            await asyncio.to_thread(self._process.end_copies)

    async def _end(self) -> None:
        asked, term, kill = _LADDER_S
        if self.channels is not None:
            await self.channels.send("control", "shutdown_request", {"restart": False})
            if await self._process.wait(asked) or await self._signalled(signal.SIGTERM, term):
                return
        await self._signalled(signal.SIGKILL, kill)

    async def _signalled(self, number: int, deadline_s: float) -> bool:
        try:
            self._process.signal_group(number)
        except ProcessLookupError:
            return True
        return await self._process.wait(deadline_s)

    def last_words(self) -> str:
        """The end of its standard error, and the files that are in its way. Blocks on files."""
        return postmortem.why_it_failed(self.record, self._folders)

    def explain(self, why: str) -> str:
        """A post-mortem. Blocks on files."""
        return postmortem.explain(self.record, self._process.exit(), self._memory)

    async def close(self) -> None:
        """Let go of it; it runs on."""
        await self._beside.close()
        await super().close()
        self._process.close()


def _is_long(path: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return os.path.getsize(path) > 2 * STDERR_BYTES
    return False


def _shortened(path: str) -> bool:
    """Whether it was too long."""
    with contextlib.suppress(OSError, ValueError):
        return shorten(path, above=2 * STDERR_BYTES)
    return False


def variables_of(surroundings: Surroundings) -> dict[str, str]:
    """What a kernel is started with."""
    return {name: value for name, value in surroundings.env.items() if name not in _NEVER_PASSED_ON}


def command_of(record: KernelRecord, surroundings: Surroundings) -> list[str]:
    """What starts this kernel, with jupyter_client's `{connection_file}` still in it."""
    if not record.recorded:
        return list(record.interpreter.argv)
    options = ["--log", record.message_log, "--limit", _record_limit(surroundings)]
    options += ["--owner", record.channel_identity, strays.ABOUT, strays.about(record)]
    if surroundings.umask is not None:
        options += ["--umask", str(surroundings.umask)]
    if surroundings.limits:
        options += ["--limits", json.dumps(surroundings.limits)]
    if record.overlay:
        options += ["--overlay", record.overlay]
    return [*record.interpreter.argv, str(source("recorder")), *options, "-f", "{connection_file}"]


def _record_limit(surroundings: Surroundings) -> str:
    chosen = surroundings.env.get(_RECORD_LIMIT_VARIABLE, "")
    return chosen if chosen.isdecimal() else str(RECORDED_BYTES)


@contextmanager
def _files(record: KernelRecord) -> Iterator[dict[str, Any]]:
    """What a process gets: its output goes to a file, and its folder is held for as long as it runs."""
    with ExitStack() as opened:
        folder = hold(os.path.dirname(os.path.dirname(record.connection_file)))
        opened.callback(os.close, folder)
        log = os.open(record.standard_error, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        opened.callback(os.close, log)
        yield {"stdout": log, "stderr": log, "pass_fds": (folder,)}


async def _start(record: KernelRecord, command: list[str], env: dict[str, str], key: str) -> subprocess.Popen[bytes]:
    """The process of `record`. Raises UnavailableError where the interpreter cannot be started."""
    manager = manager_of(record, key)
    interpreter = record.interpreter
    manager._kernel_spec = KernelSpec(argv=command, display_name=interpreter.name, language=interpreter.language)
    try:
        # `independent`: no JPY_PARENT_PID, which would end the kernel with us. A file for its output: when a
        # pipe's reader dies, the kernel hangs for ever after 64 KB.
        with _files(record) as files:
            await manager.start_kernel(env=env, cwd=record.directory, independent=True, **files)
    except (OSError, RuntimeError, ValueError) as error:
        why = f"{interpreter.argv[0]} in {record.directory}: {error}"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"no room is left on the disk of {os.path.dirname(record.connection_file)}; free some, and try again"
        raise UnavailableError(f"the kernel could not be started: {why}") from error
    manager._connection_file_written = False  # else its `__del__` removes the file that a next daemon needs
    manager._close_control_socket()
    child: subprocess.Popen[bytes] = manager.provisioner.process  # type: ignore[union-attr]  # the local provisioner's
    return child


def manager_of(record: KernelRecord, key: str) -> AsyncKernelManager:
    """What jupyter_client starts a kernel with, and writes its connection file."""
    manager = AsyncKernelManager(connection_file=record.connection_file, transport="ipc")
    if key:
        manager.session.key = key.encode()
    return manager


def _with_connection_file(path: str) -> ProcessIdentity:
    """The process that has a connection file in its command line: its record was committed just before it was started.

    Blocks on /proc. Raises ProcessLookupError where there is none.
    """
    for process in psutil.process_iter(["cmdline"]):
        if path and path in (process.info["cmdline"] or ()) and (identity := identify(process.pid)):
            return identity
    raise ProcessLookupError(path)


def surroundings_of(identity: ProcessIdentity | None) -> Surroundings | None:
    """What a living process was started with; None where the system does not tell. Blocks on /proc."""
    if identity is None or identify(identity.pid) != identity:
        return None
    try:
        process = psutil.Process(identity.pid)
        umask = postmortem.field(Path(f"/proc/{process.pid}/status"), "Umask:")
        env, limits = process.environ(), _limits_of(process)
        return Surroundings(env=env, umask=int(umask, 8) if umask else None, limits=limits)
    except (psutil.Error, OSError):
        return None


def _limits_of(process: psutil.Process) -> dict[str, tuple[int, int]]:
    if not hasattr(process, "rlimit"):
        return {}
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: process.rlimit(getattr(resource, name)) for name in names}
