"""A kernel's bell: its recorder rings when the message log has more, so that nobody has to look.

A datagram socket beside the connection file. What is sent says nothing; when the queue is full there is a ring in it
already, and a ring that nobody hears costs the kernel a few microseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

from kernel_supervisor.inside.recorder import BELL

_AT_ONCE = 64
_REST_S = 0.01
"""How long we are deaf behind a ring: a kernel that shows much would wake us for each piece, and be slower for it."""


def bell_path(connection_file: str) -> str:
    """Where the recorder of the kernel with this connection file rings."""
    return os.path.splitext(connection_file)[0] + BELL


class Bell:
    """Listens at a path until it is closed; kernels that outlive us ring the next one there."""

    def __init__(self, path: str) -> None:
        """Bind, in the place of one that a killed daemon left. Raises OSError, also for a path that is too long."""
        self.on_ring: Callable[[], None] = lambda: None
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            self._socket.bind(path)
            self._inode = os.stat(path).st_ino
        except OSError:
            self._socket.close()
            raise
        self._loop, self._number = asyncio.get_running_loop(), self._socket.fileno()
        self._rest: asyncio.TimerHandle | None = None
        self._listen()

    def _listen(self) -> None:
        self._loop.add_reader(self._number, self._heard)  # an error of the selector's spells a socket out, each time

    def _heard(self) -> None:
        """Empty the queue *before* anybody reads: what is written behind that reading rings again."""
        self._loop.remove_reader(self._number)
        self._rest = self._loop.call_later(_REST_S, self._listen)
        with contextlib.suppress(OSError):
            for _ in range(_AT_ONCE):
                self._socket.recv(1)
        self.on_ring()

    def close(self) -> None:
        """Stop listening, and leave the path to the next one; a death and a restart that meet close it twice."""
        if self._socket.fileno() < 0:
            return
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._number)
        self._socket.close()
        with contextlib.suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)


def hang(connection_file: str) -> Bell | None:
    """The bell of the kernel with this connection file; None where there cannot be one."""
    try:
        return Bell(bell_path(connection_file))
    except (OSError, ValueError):
        return None
