"""The daemon's place: its socket and its lock, which others may remove while it runs (cleaners, people).

Without them clients would find no daemon, and start a second one. They are made again as soon as they are missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

import zmq
import zmq.asyncio

from kernel_supervisor.daemon.lock import Lock, same
from kernel_supervisor.paths import Paths, PlaceError, prepare
from kernel_supervisor.tasks import happens, until_tick

log = logging.getLogger(__name__)
_SOCKETS = 8192
"""Of libzmq's, four for each kernel; it has 1,023 otherwise."""
_LOOK_S, _AGAIN_S = 30.0, 0.5
"""How often is looked, where nothing tells; and tried, where something is missing."""
_WITHIN, _ITSELF = 0x40 | 0x200, 0x400 | 0x800
"""IN_MOVED_FROM and IN_DELETE, IN_DELETE_SELF and IN_MOVE_SELF, of inotify(7)."""


class Place:
    """The lock of the one daemon, and the socket that it is found by."""

    def __init__(self, paths: Paths, lock: Lock) -> None:
        """Bind, early: clients that wait for a daemon find the socket, and their frames wait in it."""
        self._paths, self._lock = paths, lock
        context = zmq.asyncio.Context.instance()
        context.set(zmq.MAX_SOCKETS, _SOCKETS)
        self.socket: Any = context.socket(zmq.ROUTER)
        for option, value in ((zmq.ROUTER_MANDATORY, 1), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0), (zmq.LINGER, 0)):
            self.socket.setsockopt(option, value)
        self._bound: os.stat_result | None = None
        self._bind()

    def _bind(self) -> None:
        endpoint = f"ipc://{self._paths.socket}"
        if self._bound is not None:
            self._bound = None  # what stands in the way may keep it from being bound at once
            self.socket.unbind(endpoint)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._paths.socket)  # a predecessor's, or no socket at all: the lock says that nobody is bound
        self.socket.bind(endpoint)
        os.chmod(self._paths.socket, 0o600)
        self._bound = os.lstat(self._paths.socket)

    async def missed(self) -> None:
        """Return when something may have been removed, or a while later."""
        removed = asyncio.Event()
        with _watched(self._paths.run, removed):
            is_whole = self._lock.stands() and same(self._bound, self._paths.socket)
            await happens(removed, until_tick(_LOOK_S) if is_whole else _AGAIN_S)

    def keep(self) -> bool:
        """Make again what was removed; False where another daemon has taken the place meanwhile."""
        try:
            prepare(self._paths)
            if not self._lock.stands():
                log.warning("the lock %s was removed, and is taken again", self._paths.lock)
                if not self._lock.renew():
                    return False
            if not same(self._bound, self._paths.socket):
                log.warning("the socket %s was removed, and is bound again", self._paths.socket)
                self._bind()
        except (PlaceError, OSError, zmq.ZMQError) as error:
            log.error("the daemon's place cannot be had, and is tried again: %s", error)
        return True


@contextlib.contextmanager
def _watched(folder: str, removed: asyncio.Event) -> Iterator[None]:
    """Set `removed` when something in a folder is, or the folder or one that it is in, where the system tells."""
    descriptor = _inotify(folder)
    if descriptor < 0:
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, removed.set)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _inotify(folder: str) -> int:
    if sys.platform != "linux":
        return -1
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    if descriptor >= 0 and libc.inotify_add_watch(descriptor, os.fsencode(folder), _WITHIN | _ITSELF) < 0:
        os.close(descriptor)
        return -1
    while descriptor >= 0 and (folder := os.path.dirname(folder)) != os.sep:
        libc.inotify_add_watch(descriptor, os.fsencode(folder), _ITSELF)
    return descriptor
