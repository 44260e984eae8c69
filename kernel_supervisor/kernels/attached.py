"""Kernels that somebody else started, behind a connection file: there is nobody to ask about them but themselves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord, OnMessage
from kernel_supervisor.kernels.channels import Channels
from kernel_supervisor.kernels.connection import read_connection
from kernel_supervisor.kernels.keeper import Surroundings, ask_for
from kernel_supervisor.servers.known import Servers

_PROBE_S = 0.3
_WATCH_S, _MISSES = 3.0, 5
_INTERRUPT_S, _END_S = 2.0, 3.0


class Attached:
    """One connection file of others'."""

    here: ClassVar[bool] = False
    inherits: ClassVar[bool] = False
    restarts: ClassVar[bool] = False
    alive = True

    def __init__(self, record: KernelRecord) -> None:
        """Keep what is behind the record's connection file."""
        self.record = record
        self._channels: Channels | None = None

    @classmethod
    def keeps(cls, record: KernelRecord) -> bool:
        """Those that are not ours."""
        return not record.owned

    @classmethod
    def prepared(cls, record: KernelRecord) -> KernelRecord:
        """As it is: whoever finds one writes its record."""
        return record

    @classmethod
    async def launch(cls, record: KernelRecord, servers: Servers, surroundings: Surroundings, key: str) -> Attached:
        """Raises UnavailableError: others start them."""
        raise UnavailableError("this kernel was started by somebody else, and can be started again only there")

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Attached:
        """Whether it lives is seen when it answers."""
        return cls(record)

    def open_channels(
        self, on_message: OnMessage, on_resumed: Callable[[str], None], on_gone: Callable[[str], None]
    ) -> Channels:
        """Through its connection file. Raises OSError and ValueError."""
        self._channels = Channels(Path(self.record.connection_file), self.record.channel_identity, on_message)
        return self._channels

    async def watch(self, on_state: Callable[[str], None]) -> str:
        """Return once nobody listens behind its connection file any more.

        One that is being restarted is given the time that a kernel needs to start.
        """
        missed = 0
        while missed < _MISSES:
            await asyncio.sleep(_WATCH_S)
            missed = 0 if await asyncio.to_thread(_somebody, Path(self.record.connection_file)) else missed + 1
        return "nobody listens at its sockets any more"

    def sample(self) -> None:
        """Its process is not ours."""

    async def reach(self) -> None:
        """Nobody has to be asked."""

    async def interrupt(self) -> None:
        """By a message, until it was taken."""
        await ask_for(self._channels, "interrupt_request", {}, _INTERRUPT_S)

    async def terminate(self) -> None:
        """Asking is all that can be done."""
        await ask_for(self._channels, "shutdown_request", {"restart": False}, _END_S)

    def last_words(self) -> str:
        """What it writes goes elsewhere."""
        return ""

    def explain(self, why: str) -> str:
        """No more than what was told."""
        return f"the kernel is gone: {why}"

    async def close(self) -> None:
        """Let go of it; it runs on."""
        if self._channels is not None:
            await self._channels.close()


def listens(info: dict[str, Any]) -> bool:
    """Whether somebody is behind the shell socket of a connection file's content. Blocks, not for long.

    Raises OSError or ValueError where there cannot be such a socket.
    """
    if info["transport"] == "ipc":
        address: Any = f"{info['ip']}-{info['shell_port']}"
        family = socket.AF_UNIX
    else:
        address, family = (info["ip"], int(info["shell_port"])), socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        return probe.connect_ex(address) == 0


def _somebody(connection_file: Path) -> bool:
    try:
        return listens(read_connection(connection_file))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True  # it is being written, or nobody can know
