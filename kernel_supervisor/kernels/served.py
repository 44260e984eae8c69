"""Kernels that a Jupyter server has, of ours or of others: started, interrupted and ended through its REST API."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from kernel_supervisor.core.model import KernelRecord, OnMessage
from kernel_supervisor.kernels.keeper import Keeper, OpenChannels, Surroundings, Told
from kernel_supervisor.servers import rest
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.servers.rest import KernelGoneError, Server, ServerError
from kernel_supervisor.servers.websocket import ServerChannels

ON_SERVER = "server"
"""The kind of an interpreter that a server starts: its `argv` is the server's URL and the kernelspec's name."""
_WATCH_S = 5.0
"""How often a server is asked whether a kernel is still there: nothing else tells that it was ended."""
_OURS = "KERNEL_SUPERVISOR"


class Served(Keeper):
    """One kernel of a server's. Its token may change: the server is looked up each time."""

    far: ClassVar[bool] = True
    restarts: ClassVar[bool] = True

    def __init__(self, record: KernelRecord, servers: Servers) -> None:
        """Keep what the record's server has under the record's id there."""
        self.record, self._servers = record, servers

    @classmethod
    def keeps(cls, record: KernelRecord) -> bool:
        """Those that a server has, or is to start."""
        return bool(record.server) or record.interpreter.kind == ON_SERVER

    @classmethod
    def prepared(cls, record: KernelRecord) -> KernelRecord:
        """It is reached through the server alone."""
        return replace(record, connection_file="", recorded=False, server=record.interpreter.argv[0])

    @classmethod
    async def launch(cls, record: KernelRecord, servers: Servers, surroundings: Surroundings, key: str) -> Served:
        """Start it there, where it is found again by its path if we die before the answer; or restart it under its id.

        Raises ServerError.
        """
        server = await servers.at(record.server)
        if record.server_kernel:
            await rest.restart_kernel(server, record.server_kernel)
            return cls(record, servers)
        spec, name = record.interpreter.argv[1], f"kernel-supervisor {record.session}"
        started = await rest.start_kernel(server, spec, _path_there(record), name, _env_there(surroundings.env))
        return cls(replace(record, server_kernel=started.id), servers)

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Served:
        """Find it there, also one that a predecessor was having started.

        Raises ProcessLookupError where that was not, KernelGoneError, ServerError.
        """
        if not record.server_kernel:
            found = await rest.kernel_of_path(await servers.at(record.server), _path_there(record))
            if not found:
                raise ProcessLookupError(record.id)
            record = replace(record, server_kernel=found)
        keeper = cls(record, servers)
        if not record.connection_file:  # says at once what a connection says at its deadline
            await rest.find_kernel(await keeper._server(), record.server_kernel)
        return keeper

    async def _server(self) -> Server:
        return await self._servers.at(self.record.server)

    def open_channels(self, on_message: OnMessage, on_resumed: Told, on_gone: Told) -> OpenChannels:
        """Through its connection file where there is one here. Raises OSError and ValueError."""
        if self.record.connection_file:
            return super().open_channels(on_message, on_resumed, on_gone)
        there, identity = self.record.server_kernel, self.record.channel_identity
        self.channels = ServerChannels(
            self._server, there, identity, on_message, on_resumed=on_resumed, on_gone=on_gone
        )
        return self.channels

    async def watch(self, on_state: Told) -> str:
        """Return once the server has it no more. A server that does not answer says nothing about the kernel."""
        while True:
            await asyncio.sleep(_WATCH_S)
            try:
                server = await self._server()
                kernel = await rest.find_kernel(server, self.record.server_kernel, rest.ACT_S)
            except KernelGoneError as error:
                return str(error)
            except ServerError:
                continue
            if kernel.state == "dead":
                return f"{server.words} says that it is dead"
            on_state(kernel.state)

    async def reach(self) -> None:
        """Ask the server for it. Raises ServerError, KernelGoneError."""
        await rest.find_kernel(await self._server(), self.record.server_kernel, rest.ACT_S)

    async def interrupt(self, since: float | None) -> None:
        """As its kernelspec there says. Raises ServerError."""
        await rest.interrupt_kernel(await self._server(), self.record.server_kernel)

    async def terminate(self) -> None:
        """Raises ServerError."""
        await rest.end_kernel(await self._server(), self.record.server_kernel)


def _path_there(record: KernelRecord) -> str:
    """What a kernel of ours is found by on its server, generation by generation."""
    return f"kernel-supervisor-{record.id}-{record.generation}"


def _env_there(env: Mapping[str, str]) -> dict[str, str]:
    """What gateways let a client say of the kernel that it wants: KERNEL_USERNAME, KERNEL_WORKING_DIR and the like."""
    said = {name: value for name, value in env.items() if name.startswith("KERNEL_") and not name.startswith(_OURS)}
    return {"KERNEL_USERNAME": getpass.getuser(), **said}
