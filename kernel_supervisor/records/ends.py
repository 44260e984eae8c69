"""What executions show last, once the message log has no room for it: two files beside the log that take turns.

`inside/room.py` writes them. Each is a log by itself, which begins with how many bytes were written before it; the
older of the two goes when the newer one is full, so that what is missing is the middle.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.inside.room import before, hashed
from kernel_supervisor.paths import open_regular
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import Passed, Wanted


class Spot(NamedTuple):
    """How far a reader is: in which file, by what was written before it, and where in that."""

    before: int = 0
    position: int = 0


def read(
    log: str, parent: str, spot: Spot, wanted: Wanted = lambda msg_type, parent: True
) -> Iterator[tuple[Spot, Message | Mark]]:
    """What the execution showed behind `spot`, in order, each with where to go on.

    What is missing before it is said in its place, as if it had been printed, and by a mark. Blocks on the disk.
    Raises nothing for what stands there.
    """

    def ours(msg_type: str, of: str) -> bool:
        return of == parent and wanted(msg_type, of)

    reached = sum(spot)
    with contextlib.ExitStack() as stack:
        for start, file in _opened(log, parent, stack):
            if start < spot.before:
                continue
            if start != spot.before:
                spot = Spot(start)
            for item in _missing(start - reached, parent, spot) if start > reached else ():
                if wanted("mark" if isinstance(item, Mark) else item.msg_type, parent):
                    yield spot, item
            reached = start + os.fstat(file.fileno()).st_size
            with contextlib.suppress(OSError, ValueError):
                for entry in messagelog.scan_file(file, spot.position, None, ours):
                    spot = Spot(start, entry.end)
                    if not isinstance(entry.item, Passed) and not _is_beginning(entry.item):
                        yield spot, entry.item


def _opened(log: str, parent: str, stack: contextlib.ExitStack) -> list[tuple[int, BinaryIO]]:
    """Both files, whatever becomes of their names meanwhile, the older one first; with what was written before each."""
    found = []
    for path in _paths(log, parent):
        with contextlib.suppress(OSError):
            file = stack.enter_context(os.fdopen(open_regular(path), "rb"))
            start = before(file.fileno())
            if start >= 0:
                found.append((start, file))
    return sorted(found, key=lambda each: each[0])


def _is_beginning(item: Message | Mark) -> bool:
    return isinstance(item, Mark) and item.kind == "before"


def _missing(size: int, parent: str, spot: Spot) -> list[Message | Mark]:
    said = f"{size:,} bytes that are not recorded"
    text = Message(
        channel="iopub",
        msg_type="stream",
        msg_id=f"missing-before-{spot.before}",
        parent_id=parent,
        date="",
        username="",
        content={"name": "stdout", "text": f"\n[… {said} …]\n"},
    )
    return [Mark(kind="cut", parent_id=parent, detail=said), text]


def _paths(log: str, parent: str) -> tuple[str, str]:
    base = f"{log}-{hashed(parent):08x}"
    return f"{base}.0", f"{base}.1"


def exist(log: str, parent: str) -> bool:
    """Whether there is such a file. Blocks on the disk."""
    return any(map(os.path.isfile, _paths(log, parent)))
