"""Kernels that a provisioner places: Jupyter's plug-ins for machines that are not this one, asked through its factory.

The manager of jupyter_client is there only because provisioners want one as their parent: it starts the kernel, and
every later request goes to the provisioner itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from dataclasses import replace
from typing import Any, ClassVar

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.environments.choice import PROVISIONED
from kernel_supervisor.kernels.keeper import Keeper, Surroundings, Told
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.servers.rest import KernelGoneError

START_S, ACT_S, LOOK_S = 120.0, 30.0, 5.0
_END_S = 5.0


class Placed(Keeper):
    """One kernel in the care of its provisioner. Errors of plug-ins, whatever they are, become UnavailableError."""

    far: ClassVar[bool] = True
    inherits: ClassVar[bool] = True

    def __init__(self, record: KernelRecord, manager: Any) -> None:
        """Keep the kernel that the provisioner of a manager has."""
        self.record = record
        self._manager, self._provisioner = _left_alone(manager), manager.provisioner

    @classmethod
    def keeps(cls, record: KernelRecord) -> bool:
        """Those whose kernelspec names a provisioner."""
        return record.interpreter.kind == PROVISIONED

    @classmethod
    def prepared(cls, record: KernelRecord) -> KernelRecord:
        """Its command is the kernelspec's own, without our recorder."""
        return replace(record, recorded=False)

    @classmethod
    async def launch(cls, record: KernelRecord, servers: Servers, surroundings: Surroundings, key: str) -> Placed:
        """Have it started. Raises UnavailableError."""
        manager = await asyncio.to_thread(_manager, record)
        starting = manager.start_kernel(env=dict(surroundings.env), cwd=record.directory)
        await _told(record, "start the kernel", starting, START_S)
        state = await manager.provisioner.get_provisioner_info()
        return cls(replace(record, provisioner_state=json.dumps(state, default=_text)), manager)

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Placed:
        """Take it over from a daemon that is gone. Raises KernelGoneError, UnavailableError."""
        if not record.provisioner_state:
            raise KernelGoneError("the daemon ended while it had the kernel started; if it was, it runs without us")
        manager = await asyncio.to_thread(_manager, record)
        factory = KernelProvisionerFactory.instance()
        manager.provisioner = factory.create_provisioner_instance(manager.kernel_id, manager.kernel_spec, manager)
        keeper = cls(record, manager)
        # sshpyk makes its locks only before a launch, and does not say what it needs of them afterwards
        prepare = getattr(manager.provisioner, "pre_launch_init", None)
        if prepare is not None:
            await asyncio.to_thread(prepare)
        state = json.loads(record.provisioner_state)
        await _told(record, "take the kernel up", manager.provisioner.load_provisioner_info(state), ACT_S)
        if not await _told(record, "find the kernel", keeper._runs(), ACT_S):
            raise KernelGoneError("its provisioner says that it is gone")
        return keeper

    async def _runs(self) -> bool:
        """Whether it runs, as far as the provisioner knows."""
        return await self._provisioner.poll() is None

    async def watch(self, on_state: Told) -> str:
        """Return once its provisioner says that it is gone."""
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(Exception):
                if not await asyncio.wait_for(self._runs(), ACT_S):
                    return "its provisioner says that it ended"

    async def interrupt(self, since: float | None) -> None:
        """SIGINT, wherever it is, or a message where its kernelspec says so. Raises UnavailableError."""
        if self._manager.kernel_spec.interrupt_mode == "message":
            await super().interrupt(since)
        else:
            await _told(self.record, "interrupt the kernel", self._provisioner.send_signal(signal.SIGINT), ACT_S)

    async def terminate(self) -> None:
        """Ask, wait, terminate, kill, each with a deadline. Raises UnavailableError."""
        await super().terminate()
        for force in (None, self._provisioner.terminate, self._provisioner.kill):
            if force is not None:
                await _told(self.record, "end the kernel", force(restart=False), ACT_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended(), _END_S)
                break
        await _told(self.record, "clean up behind the kernel", self._provisioner.cleanup(restart=False), ACT_S)

    async def _ended(self) -> None:
        while await self._runs():  # noqa: ASYNC110 - provisioners are asked, they do not tell
            await asyncio.sleep(0.2)


def _manager(record: KernelRecord) -> Any:
    manager = AsyncKernelManager(connection_file=record.connection_file)
    manager._kernel_spec = KernelSpec.from_resource_dir(os.path.dirname(record.interpreter.argv[0]))
    manager.kernel_id = record.id
    return manager


def _left_alone(manager: Any) -> Any:
    """A manager that is dropped one day without removing the connection file, or keeping a socket."""
    manager._connection_file_written = False
    manager._close_control_socket()
    return manager


async def _told(record: KernelRecord, what: str, work: Any, deadline_s: float) -> Any:
    who = f"the provisioner of {record.interpreter.name}"
    try:
        return await asyncio.wait_for(work, deadline_s)
    except asyncio.TimeoutError:
        raise UnavailableError(f"{who} did not {what} within {deadline_s:g} s") from None
    except Exception as error:  # plug-ins raise what they like
        raise UnavailableError(f"{who} could not {what}: {type(error).__name__}: {error}") from error


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else str(value)
