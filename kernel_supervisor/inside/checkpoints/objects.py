"""Files named by what is in them: written aside, once, and in their place only when all is on the disk."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import time
from typing import Any

_PIECE = 1 << 24
_FEW = 16
_NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


class StoreError(Exception):
    """Files cannot be written: what happened, in words."""


class TooMuchError(Exception):
    """More is to be written than may be."""


class Objects:
    """One folder of them, as one process sees it."""

    def __init__(self, folder: str) -> None:
        self.folder, self.owner = folder, ".%d-" % os.getpid()
        self.count = 0

    def sweep(self, older_s: float) -> None:
        """Remove what stands aside of our own, and what others have left behind longer ago than they may take."""
        before = time.time() - older_s
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):  # it is gone, or none of ours
                is_old = entry.name.startswith(".") and entry.stat(follow_symlinks=False).st_mtime < before
                if is_old or entry.name.startswith(self.owner):
                    os.unlink(entry.path)

    def put(self, parts: Any, most: int) -> dict[str, Any]:
        """Have an object with these bytes: its name, its size, and where it stands aside if it is not there already.

        Raises TooMuchError where it is not and has more than `most` bytes, StoreError.
        """
        views = [memoryview(part).cast("B") for part in parts]
        digest = hashlib.sha256()
        for view in views:
            digest.update(view)
        name, size = digest.hexdigest(), sum(view.nbytes for view in views)
        placed = {"object": name, "bytes": size, "aside": ""}
        if self.has(name, size):
            return placed
        if size > most:
            raise TooMuchError
        self.count += 1
        aside = os.path.join(self.folder, "%s%d-%d" % (self.owner, os.getpid(), self.count))
        try:
            _write(aside, views)
        except OSError as error:
            raise StoreError(in_words(error)) from None
        return {**placed, "aside": aside}

    def has(self, name: str, size: int) -> bool:
        """Whether it stands there whole. Its file is as if it were written now: nobody takes it for one of old."""
        path = os.path.join(self.folder, name)
        with contextlib.suppress(OSError):
            if os.stat(path, follow_symlinks=False).st_size == size:
                os.utime(path)
                return True
        return False

    def settle(self, asides: dict[str, str]) -> None:
        """Put what stands aside into its place, by its name there; all of it is on the disk then. Raises StoreError."""
        try:
            for path in asides.values() if len(asides) <= _FEW or not _sync_all(self.folder) else ():
                _sync(path)
            for name, path in asides.items():
                os.rename(path, os.path.join(self.folder, name))
            _sync(self.folder)
        except OSError as error:
            raise StoreError(in_words(error)) from None


def write_whole(path: str, data: bytes) -> None:
    """Have a file with this in it, or none. Raises StoreError."""
    folder, name = os.path.split(path)
    aside = os.path.join(folder, "." + name)
    try:
        _write(aside, [memoryview(data)])
        _sync(aside)
        os.rename(aside, path)
        _sync(folder)
    except OSError as error:
        raise StoreError(in_words(error)) from None


def in_words(error: OSError) -> str:
    """Why something cannot be written."""
    return _NO_ROOM.get(error.errno or 0) or "%s: %s" % (error.strerror or type(error).__name__, error.filename or "")


def _write(path: str, views: Any) -> None:
    """Make a file of this user's alone; none of it stays where that cannot be done."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        for view in views:
            start = 0
            while start < view.nbytes:
                start += os.write(descriptor, view[start : start + _PIECE])
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_all(folder: str) -> bool:
    """Have the disk hold all that its file system was given: quicker than one by one where there are many."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return True
    finally:
        os.close(descriptor)
