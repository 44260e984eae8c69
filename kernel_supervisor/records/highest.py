"""The highest number that an entry was given, none of which is given twice, and whether the records forgot any.

A file of one size, laid while there is room and written over in place: also where the disk is full by then.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import NamedTuple

from kernel_supervisor.paths import open_regular, read_regular

_LARGEST = 1 << 53


class Found(NamedTuple):
    """What a predecessor left."""

    forgot: bool
    """Whether records were in memory when a daemon ended: they forgot what came then."""
    doubts: bool
    """Whether that daemon was the last, or one after it has not settled yet what it left queued."""
    number: int
    """No entry is to be given this number, or a lower one."""


class Highest:
    """One such file."""

    def __init__(self, path: str) -> None:
        """Name it."""
        self._path = path

    def read(self) -> Found:
        """What stands there; nothing where that is damaged, or there is none. Blocks on the disk."""
        try:
            state, number = map(int, read_regular(self._path).split())
        except (OSError, ValueError):
            return Found(forgot=False, doubts=False, number=0)
        return Found(forgot=state > 0, doubts=state > 1, number=number if 0 <= number < _LARGEST else 0)

    def write(self, found: Found) -> None:
        """Put it there, whatever the disk makes of that. Blocks on the disk."""
        with suppress(OSError, ValueError):
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                length = os.pwrite(descriptor, b"%d %019d\n" % (2 if found.doubts else found.forgot, found.number), 0)
                os.ftruncate(descriptor, length)
            finally:
                os.close(descriptor)
