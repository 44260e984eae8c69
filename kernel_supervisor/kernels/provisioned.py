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
from collections.abc import Callable
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord
from kernel_supervisor.kernels.launch import Surroundings
from kernel_supervisor.servers.rest import KernelGoneError

START_S, ACT_S, LOOK_S = 120.0, 30.0, 5.0
_END_S = 5.0


class Provisioned:
    """One kernel in the care of its provisioner. Errors of plug-ins, whatever they are, become UnavailableError."""

    def __init__(self, manager: Any) -> None:
        """Hold a manager with a provisioner that has a kernel."""
        self._manager, self._provisioner = manager, manager.provisioner

    @classmethod
    async def start(cls, record: KernelRecord, surroundings: Surroundings) -> Provisioned:
        """Have it started. Raises UnavailableError."""
        manager = await asyncio.to_thread(_manager, record)
        starting = manager.start_kernel(env=dict(surroundings.env), cwd=record.directory)
        await _told(record, "start the kernel", starting, START_S)
        return cls(_left_alone(manager))

    @classmethod
    async def adopt(cls, record: KernelRecord) -> Provisioned:
        """Take it over from a daemon that is gone. Raises KernelGoneError, UnavailableError."""
        if not record.provisioner_state:
            raise KernelGoneError("the daemon ended while it had the kernel started; if it was, it runs without us")
        manager = await asyncio.to_thread(_manager, record)
        factory = KernelProvisionerFactory.instance()
        manager.provisioner = factory.create_provisioner_instance(manager.kernel_id, manager.kernel_spec, manager)
        kernel = cls(_left_alone(manager))
        # sshpyk makes its locks only before a launch, and does not say what it needs of them afterwards
        prepare = getattr(manager.provisioner, "pre_launch_init", None)
        if prepare is not None:
            await asyncio.to_thread(prepare)
        state = json.loads(record.provisioner_state)
        await _told(record, "take the kernel up", manager.provisioner.load_provisioner_info(state), ACT_S)
        if not await _told(record, "find the kernel", kernel.alive(), ACT_S):
            raise KernelGoneError("its provisioner says that it is gone")
        return kernel

    async def state(self) -> str:
        """What another daemon needs to take it over."""
        return json.dumps(await self._provisioner.get_provisioner_info(), default=_text)

    async def alive(self) -> bool:
        """Whether it runs, as far as the provisioner knows."""
        return await self._provisioner.poll() is None

    async def watch(self, gone: Callable[[str], None]) -> None:
        """Return once it is gone, after `gone` was told."""
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(Exception):
                if not await asyncio.wait_for(self.alive(), ACT_S):
                    return gone("its provisioner says that it ended")

    @property
    def by_message(self) -> bool:
        """Whether it is to be interrupted by a message, not by a signal."""
        return bool(self._manager.kernel_spec.interrupt_mode == "message")

    async def interrupt(self, record: KernelRecord) -> None:
        """SIGINT, wherever it is. Raises UnavailableError."""
        await _told(record, "interrupt the kernel", self._provisioner.send_signal(signal.SIGINT), ACT_S)

    async def end(self, record: KernelRecord) -> None:
        """See it end that was asked to: wait, terminate, kill, each with a deadline. Raises UnavailableError."""
        for force in (None, self._provisioner.terminate, self._provisioner.kill):
            if force is not None:
                await _told(record, "end the kernel", force(restart=False), ACT_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ended(), _END_S)
                break
        await _told(record, "clean up behind the kernel", self._provisioner.cleanup(restart=False), ACT_S)

    async def _ended(self) -> None:
        while await self.alive():  # noqa: ASYNC110 - provisioners are asked, they do not tell
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
