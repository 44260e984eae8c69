"""The highest number that an entry was given: none is given twice, also where the records are gone or forgot it.

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

    in_memory: bool
    """Whether its records were in memory when it ended: they forgot what came then."""
    number: int


class Highest:
    """One such file."""

    def __init__(self, path: str) -> None:
        """Name it."""
        self._path = path

    def read(self) -> Found:
        """What stands there; nothing where that is damaged, or there is none. Blocks on the disk."""
        try:
            in_memory, number = map(int, read_regular(self._path).split())
        except (OSError, ValueError):
            return Found(in_memory=False, number=0)
        return Found(bool(in_memory), number if 0 <= number < _LARGEST else 0)

    def write(self, *, in_memory: bool, number: int) -> None:
        """Put it there, whatever the disk makes of that. Blocks on the disk."""
        with suppress(OSError, ValueError):
            descriptor = open_regular(self._path, os.O_WRONLY | os.O_CREAT)
            try:
                length = os.pwrite(descriptor, b"%d %019d\n" % (in_memory, number), 0)
                os.ftruncate(descriptor, length)
            finally:
                os.close(descriptor)
