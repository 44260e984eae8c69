"""How much of each execution is recorded, and where: what it shows first in the log, what it shows last in two files
beside it that take turns.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import binascii
import contextlib
import fcntl
import mmap
import os
import re
import struct
import time
from typing import Any, Iterator

_SLOT, _SLOTS = struct.Struct("=QQQ"), 4096
_BEFORE = re.compile(rb'"kind": "before".*"detail": "(\d+)"')
_BEGINNING = 512
"""Bytes in which the beginning of a file has room."""
_LEAST = 1 << 13
"""Bytes of what there is room for at any rate, however low the limit is."""
_FLAGS = os.O_APPEND | os.O_CLOEXEC
_TRIES = 100


class Room:
    """The bytes that are left for each execution, counted by a kernel and its forks together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.side = max(limit // 8, _LEAST)  # of each file beside the log, and of what always has room in it
        self.large = self.side // 2  # what is larger is cut where there is no room for it
        self.short = max(self.side // 16, 100)  # characters that are left of it
        self.counted = mmap.mmap(-1, _SLOTS * _SLOT.size)

    def left(self, parent_id: str) -> int:
        """Bytes that the log has room for."""
        return max(0, self.limit - self._counts(parent_id)[2])

    def takes(self, parent_id: str, size: int) -> bool:
        """Whether the log has room for these bytes, which are counted then."""
        at, key, shown, spared = self._counts(parent_id)
        fits = shown + size <= self.limit
        if fits:
            _SLOT.pack_into(self.counted, at, key, shown + size, spared)
        return fits

    def spares(self, parent_id: str, size: int) -> bool:
        """The same of the room for what is not to be missed: results and errors."""
        at, key, shown, spared = self._counts(parent_id)
        fits = spared + size <= self.side
        if fits:
            _SLOT.pack_into(self.counted, at, key, shown, spared + size)
        return fits

    def is_closed(self, parent_id: str) -> bool:
        """Whether the log has no room any more for what it shows."""
        return self._counts(parent_id)[2] > self.limit

    def close(self, parent_id: str) -> None:
        """What comes now goes beside the log, however short it is: it stays in order."""
        at, key, _, spared = self._counts(parent_id)
        _SLOT.pack_into(self.counted, at, key, self.limit + 1, spared)

    def _counts(self, parent_id: str) -> tuple[int, int, int, int]:
        """Where an execution is counted, its key there, and what was counted in the log and of what is spared."""
        key = hashed(parent_id) + 1
        at = key % _SLOTS * _SLOT.size
        found, shown, spared = _SLOT.unpack_from(self.counted, at)
        return (at, key, shown, spared) if found == key else (at, key, 0, 0)


class Ends:
    """What executions show last: for each a file, and once that is full another, in the place of the one before it.

    Each begins with a mark that says how many bytes were written before it, and is in its place whole at once.
    """

    def __init__(self, log: str, most: int) -> None:
        self.log, self.most = log, most
        self.turns: dict[str, int] = {}

    def base(self, parent_id: str) -> str:
        """What the paths of an execution's files have before their numbers."""
        return "%s-%08x" % (self.log, hashed(parent_id))

    def append(self, parent_id: str, parts: list[bytes], beginning: Any) -> None:
        """Write a record, `beginning(before)` at the top of a new file. Raises OSError."""
        size = sum(map(len, parts))
        base = self.base(parent_id)
        fd = self._opened(base, self.turns.get(base, 0), size)
        if fd is None:
            with self._alone():
                fd = self._turned(base, size, beginning)
        try:
            if os.writev(fd, parts) != size:
                raise OSError("the record was cut short: no room on the disk")
        finally:
            os.close(fd)

    def _opened(self, base: str, turn: int, size: int) -> Any:
        """One of the files, if it has room; each has for one record."""
        try:
            fd = os.open("%s.%d" % (base, turn), os.O_WRONLY | os.O_NONBLOCK | _FLAGS)
        except FileNotFoundError:
            return None
        has = os.fstat(fd).st_size
        if has + size <= self.most or has <= _BEGINNING:
            return fd
        os.close(fd)
        return None

    def _turned(self, base: str, size: int, beginning: Any) -> int:
        """The file whose turn it is, which may be a new one."""
        befores = [written_before("%s.%d" % (base, turn)) for turn in (0, 1)]
        turn = int(befores[1] > befores[0])
        fd = self._opened(base, turn, size)
        if fd is None:
            path, start = "%s.%d" % (base, turn), 0
            if befores[turn] >= 0:
                start = befores[turn] + os.path.getsize(path)
                turn = 1 - turn
                path = "%s.%d" % (base, turn)
            aside = "%s-%d" % (path, os.getpid())
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
            os.write(fd, beginning(start))
            os.replace(aside, path)
        if len(self.turns) > _SLOTS:
            self.turns.clear()
        self.turns[base] = turn
        return int(fd)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold up other threads and forks. A lock on a file goes with who holds it, and is not waited for for long."""
        fd = os.open(self.log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            for _ in range(_TRIES):
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(0.001)
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)


def written_before(path: str) -> int:
    """How many bytes were written before those in one of the files; -1 where there is none, or it is damaged."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        return before(fd)
    finally:
        os.close(fd)


def before(fd: int) -> int:
    """The same of a file that is open, and stays where it is."""
    found = _BEFORE.search(os.pread(fd, _BEGINNING, 0))
    return int(found[1]) if found else -1


def hashed(parent_id: str) -> int:
    """A number for the msg_id of a request."""
    return binascii.crc32(parent_id.encode("utf-8", "surrogatepass"))
