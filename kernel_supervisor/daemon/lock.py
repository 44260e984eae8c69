"""The lock that makes one daemon the only one."""

from __future__ import annotations

import contextlib
import fcntl
import os


class Lock:
    """An exclusive `flock`, held until the process ends, whichever way it ends."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self) -> bool:
        """Whether the lock is ours now. Does not wait."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with contextlib.suppress(OSError):  # a full disk: the pid in it is for people
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        return True

    def holder(self) -> int | None:
        """The pid that the holder wrote, for a person to read; never for a signal."""
        try:
            return int(os.pread(self._fd, 32, 0))
        except ValueError:
            return None
