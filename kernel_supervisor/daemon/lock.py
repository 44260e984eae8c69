"""The lock that makes one daemon the only one."""

from __future__ import annotations

import contextlib
import fcntl
import os

from kernel_supervisor.paths import Paths, hold


class Lock:
    """Exclusive `flock`s, held until the process ends, whichever way it ends.

    On a file, which says who holds it and which clients look at; and on the folder of all that is ours, so that nobody
    becomes a second daemon where something has removed the file. The folder of the sockets is held besides, see `hold`.
    """

    def __init__(self, paths: Paths) -> None:
        """Open both. Raises OSError."""
        self._path, self._state = paths.lock, paths.state
        self._run, self._sockets = paths.run, hold(paths.run)
        self._file, self._folder = self._opened_file(), self._opened_folder()

    def _opened_file(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _opened_folder(self) -> int:
        return os.open(self._state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def acquire(self) -> bool:
        """Whether the lock is ours now. Does not wait."""
        if not _taken(self._folder, may_lack=True):
            return False
        if not _taken(self._file):
            with contextlib.suppress(OSError):
                fcntl.flock(self._folder, fcntl.LOCK_UN)
            return False
        with contextlib.suppress(OSError):  # a full disk: the pid in it is for people
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        return True

    def stands(self) -> bool:
        """Whether file and folders still are those that it is on."""
        places = ((self._file, self._path), (self._folder, self._state), (self._sockets, self._run))
        return all(same(os.fstat(descriptor), path) for descriptor, path in places)

    def renew(self) -> bool:
        """Take again what was removed, and keep the rest; False where another daemon has it. Raises OSError."""
        if not same(os.fstat(self._folder), self._state):
            self._folder = _instead(self._folder, self._opened_folder())
        if not same(os.fstat(self._sockets), self._run):
            self._sockets = _instead(self._sockets, hold(self._run))
        if not same(os.fstat(self._file), self._path):
            self._file = _instead(self._file, self._opened_file())
        return self.acquire()

    def holder(self) -> int | None:
        """The pid that the holder wrote, for a person to read; never for a signal."""
        try:
            return int(os.pread(self._file, 32, 0))
        except ValueError:
            return None


def _instead(old: int, new: int) -> int:
    os.close(old)  # after the new one is there: it may not be had, and this number would be another file's
    return new


def _taken(descriptor: int, *, may_lack: bool = False) -> bool:
    """Whether this `flock` is ours now, or, where a network disk `may_lack` those of folders, is nobody's."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        if not may_lack:
            raise
    return True


def same(status: os.stat_result | None, path: str) -> bool:
    """Whether what stands at `path` is the file of this status."""
    try:
        return status is not None and os.path.samestat(status, os.lstat(path))
    except OSError:
        return False
