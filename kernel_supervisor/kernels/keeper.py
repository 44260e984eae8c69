"""What keeps a kernel: each kind of kernel is a class with these verbs, in a file of its own; `kinds.py` lists them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from kernel_supervisor.core.model import KernelRecord, OnMessage
from kernel_supervisor.kernels.channels import Channels
from kernel_supervisor.servers.known import Servers
from kernel_supervisor.servers.websocket import ServerChannels

OpenChannels = Channels | ServerChannels
"""A kernel's channels, whatever carries them: both have the same verbs."""
Told = Callable[[str], None]
_INTERRUPT_S, _END_S = 2.0, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What user code sees of the client that asked: kept in memory, never on disk."""

    env: Mapping[str, str]
    umask: int | None = None
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Soft and hard resource limits by their names in `resource`."""


class Keeper(Protocol):
    """One living kernel, in the care of whoever can start, signal and explain it.

    What a kind does not say otherwise is so of a kernel of which only its connection file is known.
    """

    here: ClassVar[bool] = False
    """Whether it is a process of ours on this machine, which can be ended whatever it does, and only by us."""
    far: ClassVar[bool] = False
    """Whether it does not run on this machine, or where it runs is not known."""
    inherits: ClassVar[bool] = False
    """Whether it is started with the surroundings of the client that asks for it."""
    restarts: ClassVar[bool] = False
    """Whether it is restarted where it is, also where it is not ours; else it is ended, and launched again."""
    record: KernelRecord
    """What a next daemon needs to find it; to be committed where it changed."""
    channels: OpenChannels | None = None

    @classmethod
    def keeps(cls, record: KernelRecord) -> bool:
        """Whether a kernel is of this kind."""

    @classmethod
    def prepared(cls, record: KernelRecord) -> KernelRecord:
        """The record of a new kernel of this kind, before anything is started."""
        return record

    @classmethod
    async def launch(cls, record: KernelRecord, servers: Servers, surroundings: Surroundings, key: str) -> Keeper:
        """Have it started, or restarted where its record says where it is. It is not ready for requests yet.

        With the `key` of its predecessor, whoever was connected to that one goes on with this one. Raises
        UnavailableError.
        """

    @classmethod
    async def adopt(cls, record: KernelRecord, servers: Servers) -> Keeper:
        """Find one that stands on record, as far as that can be done without a connection.

        Raises ProcessLookupError and KernelGoneError where it is gone; UnavailableError, OSError and ValueError where
        it cannot be reached.
        """

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as can be told without asking anybody."""
        return True

    def open_channels(self, on_message: OnMessage, on_resumed: Told, on_gone: Told) -> OpenChannels:
        """Begin to connect. `on_resumed` is told what there is to say of the time that a connection was broken,
        `on_gone` why the kernel is gone, where the connection tells. Raises OSError and ValueError."""
        self.channels = Channels(Path(self.record.connection_file), self.record.channel_identity, on_message)
        return self.channels

    async def watch(self, on_state: Told) -> str:
        """Return how it ended, once it has; `on_state` is told what others say that it does meanwhile."""

    def sample(self) -> None:
        """Note what its death is to be compared with; called while the kernel is busy anyway."""
        return

    async def reach(self) -> None:
        """Make sure that it can be ended or restarted now. Raises UnavailableError, KernelGoneError."""
        return

    async def interrupt(self, since: float | None) -> None:
        """Interrupt what it runs, since then. Raises ProcessLookupError, UnavailableError."""
        await self._ask_for("interrupt_request", {}, _INTERRUPT_S)

    async def terminate(self) -> None:
        """End it, politely first, each step with a deadline. Raises UnavailableError."""
        await self._ask_for("shutdown_request", {"restart": False}, _END_S)

    async def _ask_for(self, request: str, content: dict[str, Any], deadline_s: float) -> None:
        """Wait until a request is taken; not for ever, and not where no channels are open."""
        if self.channels is not None:
            with contextlib.suppress(TimeoutError):
                await self.channels.ask("control", request, content, deadline_s)

    def last_words(self) -> str:
        """The end of an error: what it wrote last, and what of the user's kept it from starting. Blocks on files."""
        return ""

    def explain(self, why: str) -> str:
        """Why it died, as far as can be known; `why` is what was told of that. Blocks on files."""
        return f"the kernel is gone: {why}"

    async def close(self) -> None:
        """Let go of it and its channels; it runs on."""
        if self.channels is not None:
            await self.channels.close()
