"""What a kernel's widgets were before an execution, from its message log: they outlive the cells that made them."""

from __future__ import annotations

import contextlib
import threading
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from kernel_supervisor.core.model import Mark, Message, Region
from kernel_supervisor.keeping import Newest
from kernel_supervisor.outputs.widgets import COMMS, NOBODY, Widgets
from kernel_supervisor.records import ends, messagelog
from kernel_supervisor.records.ends import Spot
from kernel_supervisor.records.messagelog import scan

_LOGS = 8
"""Logs of which it is kept how far they were read: kernels in whose widgets somebody is interested now."""


def follow(
    log: str,
    end: int | None,
    widgets: Widgets,
    start: int = 0,
    unrecorded: Iterable[Message | Mark] = (),
    places: Iterable[int] | None = None,
) -> Iterator[Message]:
    """What `widgets` take, as it comes, of a log before `end`, and of what that could not take.

    The rest is passed over unread, and not even looked at where `places` names all from which something may be said of
    widgets. Blocks on the disk.
    """

    def wanted(msg_type: str, parent: str) -> bool:
        return msg_type in COMMS or widgets.captures(msg_type, parent) or msg_type == messagelog.MARK

    entries = _entries(log, places, end, wanted, widgets) if places is not None else scan(log, start, end, wanted)
    for item in chain(_recorded(log, entries, wanted), unrecorded):
        if isinstance(item, Mark):
            widgets.hear(item)
        elif widgets.take(item):
            yield item


def _entries(
    log: str, places: Iterable[int], end: int | None, wanted: messagelog.Wanted, widgets: Widgets
) -> Iterator[messagelog.Entry]:
    """What stands at each place, and behind it as long as something is captured."""
    reached = 0
    for place in places:
        if place < reached:
            continue
        for entry in scan(log, place, end, wanted):
            yield entry
            reached = entry.end
            if not widgets.is_capturing:
                break


def _recorded(log: str, entries: Iterable[messagelog.Entry], wanted: messagelog.Wanted) -> Iterator[Message | Mark]:
    followed: set[str] = set()
    with contextlib.suppress(OSError, ValueError):  # those who read its outputs tell of that
        for entry in entries:
            item = entry.item
            if isinstance(item, Mark) and item.goes_on and item.parent_id not in followed:
                followed.add(item.parent_id)
                yield from (each for _, each in ends.read(log, item.parent_id, Spot(), wanted))
            elif not isinstance(item, messagelog.Passed):
                yield item


@dataclass
class _Read:
    position: int = 0
    widgets: Widgets = field(default_factory=lambda: Widgets(NOBODY))
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class _Places:
    """Where a log says something of widgets, or has a mark, as far as it was looked through."""

    position: int = 0
    found: array[int] = field(default_factory=lambda: array("q"))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def look_on(self, log: str, end: int | None) -> None:
        with self.lock, contextlib.suppress(OSError, ValueError):
            for entry in scan(log, self.position, end, lambda msg_type, parent: False):
                msg_type = messagelog.MARK if isinstance(entry.item, Mark) else entry.item.msg_type
                if msg_type in COMMS or msg_type == messagelog.MARK:
                    self.found.append(entry.start)
                self.position = entry.end


class Earlier:
    """The widgets of kernels at a place in their logs: each log is read on from where it was read last, so that the
    results of many executions cost one reading together. What is kept is bounded; all of it is in the logs."""

    def __init__(self) -> None:
        self._read: Newest[str, _Read] = Newest(_LOGS)
        self._places: Newest[str, _Places] = Newest(_LOGS)
        self._lock = threading.Lock()

    def follow(
        self, log: str, end: int | None, widgets: Widgets, unrecorded: Iterable[Message | Mark] = ()
    ) -> Iterator[Message]:
        """`follow` from the beginning. What says nothing of widgets is looked at once. Blocks."""
        with self._lock:
            places = self._places[log] = self._places.pop(log, _Places())
        places.look_on(log, end)
        return follow(log, end, widgets, unrecorded=unrecorded, places=places.found[:])

    def before(self, region: Region, names: Iterable[str], of: str | None) -> Widgets:
        """Those with these names, and what they have in them, to be changed by the execution `of`. Blocks."""
        with self._lock:
            read = self._read[region.log] = self._read.pop(region.log, _Read())
        with read.lock:
            if read.position > region.start:
                read = _Read()  # one that was over before is looked at again
            for _ in follow(region.log, region.start, read.widgets, read.position):
                pass
            read.position = region.start
            return read.widgets.part(names, of)
