"""Promise: between two frames everybody has their turn, and a frame that cannot be taken stops nobody."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from kernel_supervisor.daemon.router import Router
from kernel_supervisor.envelope import RPC, WHO, pack

pytestmark = pytest.mark.anyio
FRAMES = 500


class Flooded:
    """A socket on which a frame is always there, until all were taken."""

    def __init__(self, frames: list[list[bytes]]) -> None:
        self.left, self.sent = frames, asyncio.Queue[list[bytes]]()

    async def recv_multipart(self) -> list[bytes]:
        if not self.left:
            await asyncio.Event().wait()
        return self.left.pop(0)

    async def send_multipart(self, parts: list[bytes]) -> None:
        self.sent.put_nowait(parts)


async def served(socket: Flooded, until: Any) -> int:
    """How many turns another task has until that comes true."""
    nobody: Any = SimpleNamespace(paths=None)
    serving = asyncio.create_task(Router(socket, nobody, nobody, nobody, nobody).serve())
    turns = 0
    while not until():
        assert not serving.done(), serving.exception()
        await asyncio.sleep(0)
        turns += 1
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return turns


async def test_whoever_waits_has_a_turn_after_each_frame() -> None:
    socket = Flooded([[b"somebody", *pack(b"later version's", {})] for _ in range(FRAMES)])
    assert await served(socket, lambda: not socket.left) >= FRAMES


async def test_frames_that_cannot_be_taken_stop_nobody() -> None:
    odd = [[b"a"], [b"a", b""], [b"a", b"hello", b"["], [b"a", b"hello", b"{}", b""], [b"a", RPC, b'{"call": []}', b""]]
    socket = Flooded([*odd, [b"another", *pack(RPC, {})]])
    await served(socket, lambda: not socket.sent.empty())
    assert socket.sent.get_nowait()[:2] == [b"another", WHO]
