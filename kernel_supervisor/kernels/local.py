"""Kernels that are processes of ours on this machine: started here, signalled here, and explained when they die."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import psutil

from kernel_supervisor.core.model import KernelRecord, OnMessage, ProcessIdentity
from kernel_supervisor.kernels import postmortem
from kernel_supervisor.kernels.connection import check_own
from kernel_supervisor.kernels.hindrances import searched_first
from kernel_supervisor.kernels.keeper import Keeper, OpenChannels, Surroundings, Told
from kernel_supervisor.kernels.launch import launch
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.servers.known import Servers

_LADDER_S = (3.0, 3.0, 3.0)
"""How long a request, SIGTERM and SIGKILL are each given."""


class Local(Keeper):
    """One process."""

    here: ClassVar[bool] = True
    inherits: ClassVar[bool] = True

    def __init__(self, record: KernelRecord, process: Process, folders: Sequence[str] = ()) -> None:
        """Keep a process; `folders` of the user's may keep it from starting."""
        self.record = replace(record, process=process.identity)
        self._process, self._folders = process, folders
        self._memory: postmortem.MemoryWatch | None = None

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
        """Start a process. Raises UnavailableError."""
        process = await launch(record, surroundings, key)
        return cls(record, process, searched_first(record, surroundings.env))

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Local:
        """Take over a process. Raises ProcessLookupError where it is gone."""
        identity = record.process
        if identity is None:
            identity = await asyncio.to_thread(_with_connection_file, record.connection_file)
        return cls(record, Process(identity))

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.alive()

    def open_channels(self, on_message: OnMessage, on_resumed: Told, on_gone: Told) -> OpenChannels:
        """Through its own connection file. Raises OSError and ValueError."""
        check_own(Path(self.record.connection_file))
        return super().open_channels(on_message, on_resumed, on_gone)

    async def watch(self, on_state: Told) -> str:
        """Return once the process has ended."""
        await asyncio.to_thread(self.sample, system=True)
        ended = asyncio.Event()
        self._process.watch(ended.set)
        await ended.wait()
        return str(self._process.exit())

    def sample(self, *, system: bool = False) -> None:
        """Note the counters of out-of-memory kills; the `system`'s is slow, and read once."""
        before = self._memory.system_killed if self._memory is not None else 0
        now = postmortem.watch_memory(self._process.identity.pid, system=system)
        self._memory = now if system else replace(now, system_killed=before)

    async def interrupt(self) -> None:
        """SIGINT to the kernel and what it started, as a terminal does. Raises ProcessLookupError."""
        self._process.signal_group(signal.SIGINT)

    async def terminate(self) -> None:
        """A request, SIGTERM, SIGKILL to its group; SIGKILL alone where nothing can be asked."""
        if self.alive:
            await self._end()
        if not self.alive:
            self._process.exit()  # else it stays a zombie

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
        await super().close()
        self._process.close()


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
        return Surroundings(env=process.environ(), umask=_umask_of(process.pid), limits=_limits_of(process))
    except (psutil.Error, OSError):
        return None


def _umask_of(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        return None
    return None


def _limits_of(process: psutil.Process) -> dict[str, tuple[int, int]]:
    if not hasattr(process, "rlimit"):
        return {}
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: process.rlimit(getattr(resource, name)) for name in names}
