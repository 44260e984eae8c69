"""Kernels that somebody else started, behind a connection file: there is nobody to ask about them but themselves."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.kernels.connection import read_connection
from kernel_supervisor.kernels.keeper import Keeper, Surroundings, Told
from kernel_supervisor.servers.known import Servers

_PROBE_S = 0.3
_WATCH_S, _MISSES = 3.0, 5


class Attached(Keeper):
    """One connection file of others'."""

    def __init__(self, record: KernelRecord) -> None:
        """Keep what is behind the record's connection file."""
        self.record = record

    @classmethod
    def keeps(cls, record: KernelRecord) -> bool:
        """Those that are not ours."""
        return not record.owned

    @classmethod
    async def launch(cls, record: KernelRecord, servers: Servers, surroundings: Surroundings, key: str) -> Attached:
        """Raises UnavailableError: others start them."""
        raise UnavailableError("this kernel was started by somebody else, and can be started again only there")

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Attached:
        """Whether it lives is seen when it answers."""
        return cls(record)

    async def watch(self, on_state: Told) -> str:
        """Return once nobody listens behind its connection file any more.

        One that is being restarted is given the time that a kernel needs to start.
        """
        missed = 0
        while missed < _MISSES:
            await asyncio.sleep(_WATCH_S)
            missed = 0 if await asyncio.to_thread(_somebody, Path(self.record.connection_file)) else missed + 1
        return "nobody listens at its sockets any more"


def listens(info: dict[str, Any]) -> bool:
    """Whether somebody is behind the shell socket of a connection file's content. Blocks, not for long.

    Raises OSError or ValueError where there cannot be such a socket.
    """
    is_file, ip, port = info["transport"] == "ipc", info["ip"], info["shell_port"]
    with socket.socket(socket.AF_UNIX if is_file else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        return probe.connect_ex(f"{ip}-{port}" if is_file else (ip, port)) == 0


def _somebody(connection_file: Path) -> bool:
    try:
        return listens(read_connection(connection_file))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True  # it is being written, or nobody can know
