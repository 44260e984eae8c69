"""A kernel's bell: whoever rings never waits, whoever listens misses no ring, and the path outlives daemons."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kernel_supervisor.records.bell import Bell, bell_path, hang

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        yield sender


@pytest.fixture
def folder() -> Iterator[Path]:
    """One on a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def connection_file(folder: Path) -> str:
    return str(folder / "k.json")


def listening(bell: Bell) -> asyncio.Queue[None]:
    rings: asyncio.Queue[None] = asyncio.Queue()
    bell.on_ring = lambda: rings.put_nowait(None)
    return rings


async def test_a_ring_is_heard(connection_file: str, sender: socket.socket) -> None:
    bell = hang(connection_file)
    assert bell is not None
    rings = listening(bell)
    for _ in range(3):
        sender.sendto(b"!", bell_path(connection_file))
        await asyncio.wait_for(rings.get(), 10)
    bell.close()
    assert not os.path.exists(bell_path(connection_file))


async def test_a_full_queue_keeps_nobody_and_is_emptied_before_anybody_reads(
    connection_file: str, sender: socket.socket
) -> None:
    bell = hang(connection_file)
    assert bell is not None
    rings = listening(bell)
    with suppress(OSError):
        for _ in range(100_000):
            sender.sendto(b"!", bell_path(connection_file))
    with pytest.raises(OSError):  # noqa: PT011 - it is another one on each system
        sender.sendto(b"!", bell_path(connection_file))
    await asyncio.wait_for(rings.get(), 10)
    sender.sendto(b"!", bell_path(connection_file))  # what is written from here on rings again
    await asyncio.wait_for(rings.get(), 10)
    bell.close()


async def test_the_bell_of_a_killed_daemon_is_taken_over(connection_file: str, sender: socket.socket) -> None:
    path = bell_path(connection_file)
    code = (
        f"import os, socket; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind({path!r}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with pytest.raises(ConnectionRefusedError):
        sender.sendto(b"!", path)
    bell = hang(connection_file)
    assert bell is not None
    rings = listening(bell)
    sender.sendto(b"!", path)
    await asyncio.wait_for(rings.get(), 10)
    bell.close()


async def test_one_that_is_late_to_close_leaves_its_successors_bell(
    connection_file: str, sender: socket.socket
) -> None:
    first, second = hang(connection_file), hang(connection_file)
    assert first is not None
    assert second is not None
    rings = listening(second)
    first.close()
    sender.sendto(b"!", bell_path(connection_file))
    await asyncio.wait_for(rings.get(), 10)
    second.close()


async def test_one_that_is_closed_twice_is_closed(connection_file: str) -> None:
    bell = Bell(bell_path(connection_file))
    bell.close()
    bell.close()
    assert not os.path.exists(bell_path(connection_file))


async def test_where_there_can_be_no_bell_there_is_none(folder: Path) -> None:
    assert hang(str(folder / ("x" * 200) / "k.json")) is None
    assert hang(str(folder / "nowhere" / "k.json")) is None
    (folder / "k-bell").mkdir()
    assert hang(str(folder / "k.json")) is None
