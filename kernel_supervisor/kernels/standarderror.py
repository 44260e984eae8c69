"""What is written to files of standard error: bounded in place, their beginning and their end kept."""

from __future__ import annotations

import os

from kernel_supervisor.keeping import STDERR_BEGINNING, STDERR_BYTES
from kernel_supervisor.paths import open_regular

_NOTE = b"\n[... left out: of what is written here the beginning and the end are kept ...]\n"
_PIECE, _LONGEST_COPY = 1 << 20, 8 * STDERR_BYTES


def shorten(path: str, above: int = STDERR_BYTES) -> bool:
    """Leave STDERR_BYTES of a file that has more than `above`; whether it had. Raises OSError, ValueError.

    Whoever goes on writing appends, and what is added meanwhile is taken along, but for what comes within the last
    microseconds, and in a flood that is faster than this copies. A file that has another name, too, is not ours.
    """
    with os.fdopen(open_regular(path, os.O_RDWR | os.O_NOFOLLOW), "r+b", buffering=0) as file:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
        if status.st_size <= above or status.st_nlink != 1:
            return False
        to = STDERR_BEGINNING + os.pwrite(descriptor, _NOTE, STDERR_BEGINNING)
        at = status.st_size - (STDERR_BYTES - to)
        end = at + _LONGEST_COPY
        while at < end and (piece := os.pread(descriptor, _PIECE, at)):
            to += os.pwrite(descriptor, piece, to)
            at += len(piece)
        os.ftruncate(descriptor, to)
        return True
