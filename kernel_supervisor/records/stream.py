"""What a kernel's message log says, as it grows: for any number of readers, each with a position of its own.

Nothing is queued: a reader that is slow is behind in a file. What the kernel's recorder could not write, and sent
instead, is kept here, bounded, and stands behind the log's end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import NamedTuple

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.inside.recorder import OUTPUTS, UNRECORDED
from kernel_supervisor.keeping import Newest
from kernel_supervisor.outputs.area import within
from kernel_supervisor.records import ends, messagelog
from kernel_supervisor.records.bell import Bell
from kernel_supervisor.records.ends import Spot
from kernel_supervisor.records.messagelog import MARK, Entry, Passed, Wanted
from kernel_supervisor.tasks import News, apart, happens

_MOST, _MOST_BYTES = 1_000, 1 << 20
"""Of one reading; a single record may be larger."""
_KEPT_BYTES, _KEPT_LOST = 8 << 20, 1_000
_LOOK_S, _LOOK_UNRUNG_S = 1.0, 0.05
"""How often one who follows looks, should a ring be lost, and where there is no bell."""
_LOST = "some of its output could not be recorded, and was more than the supervisor keeps meanwhile"


class Place(NamedTuple):
    """How far a reader is: in the log, in what was kept because the log could not take it, and in what one execution
    showed last, beside the log: `before` is -1 where the log has not said yet that it goes on there."""

    position: int
    kept: int = 0
    before: int = -1
    beside: int = 0


class Stream:
    """The stream of one kernel. `bell` is that of a kernel whose recorder rings."""

    def __init__(self, log: str, bell: Bell | None = None) -> None:
        """Read `log`, which need not exist yet."""
        self.log = log
        self.rings = News()
        """Told when there may be more."""
        self._look_s = _LOOK_UNRUNG_S if bell is None else _LOOK_S
        if bell is not None:
            bell.on_ring = self.rings.tell
        self._kept: deque[tuple[int, int, Message]] = deque()
        self._kept_bytes = self._times = 0
        self._lost: Newest[str, int] = Newest(_KEPT_LOST)

    def take(self, position: int, end: int | None = None) -> tuple[list[Entry], int]:
        """What stands behind `position`, and where to go on; nothing where there is no more now. Blocks on the disk.

        Outputs are passed over, the rest is whole. Bounded in number and in size.
        """
        return self._read(position, end, lambda msg_type, parent: msg_type not in OUTPUTS)

    def _read(self, position: int, end: int | None, wanted: Wanted, *, passed: bool = True) -> tuple[list[Entry], int]:
        """Up to `_MOST` entries; without those that were `passed`, which count for nothing then."""
        entries: list[Entry] = []
        size = 0
        with contextlib.suppress(OSError, ValueError):
            for entry in messagelog.scan(self.log, position, end, wanted):
                position = entry.end
                if not isinstance(entry.item, Passed):
                    size += entry.end - entry.start
                elif not passed:
                    continue
                entries.append(entry)
                if len(entries) >= _MOST or size >= _MOST_BYTES:
                    break
        return entries, position

    def keep(self, message: Message) -> None:
        """Keep what the recorder could not write, as it was sent instead; the oldest goes where it is too much."""
        inner = messagelog.unwrap(message) if message.msg_type == UNRECORDED else message
        if inner is None:
            return
        self._times += 1
        weight = _weight(inner)
        self._kept.append((self._times, weight, inner))
        self._kept_bytes += weight
        while self._kept_bytes > _KEPT_BYTES:
            number, weight, dropped = self._kept.popleft()
            self._kept_bytes -= weight
            self._lost[dropped.parent_id] = number
        self.rings.tell()

    def unrecorded(self, since: int = 0) -> tuple[list[Message | Mark], int]:
        """What was kept behind `since`, in order, and where to go on; of what had to go, a mark for each execution."""
        since = since if since <= self._times else 0  # of another daemon's stream
        lost = [parent for parent, number in self._lost.items() if number > since]
        marks = [Mark(kind="hole", parent_id=parent, detail=_LOST) for parent in lost]
        return [*marks, *(message for number, _, message in self._kept if number > since)], self._times

    async def more(self, msg_id: str, place: Place, end: int | None) -> tuple[list[Message | Mark], Place]:
        """What one execution sent behind `place`, and where to go on; nothing where there is no more before `end` now.

        Bounded; from the log first, and beside it before what the log has behind that; then what was kept of it.
        """

        def wanted(msg_type: str, parent: str) -> bool:
            return parent == msg_id or (msg_type == MARK and not parent)

        while True:
            entries, position = await apart("results", self._read, place.position, end, wanted, passed=False)
            late, spot = await apart("results", self._beside, msg_id, place)
            if late:
                return late, place._replace(before=spot.before, beside=spot.position)
            place = place._replace(position=position)
            items: list[Message | Mark] = []
            for entry in entries:
                goes_on = isinstance(entry.item, Mark) and entry.item.goes_on
                if goes_on and (end is None or ends.exist(self.log, entry.item.parent_id)):  # or may come to be there
                    place = place._replace(position=entry.end, before=max(place.before, 0))
                    break
                if not isinstance(entry.item, Passed):
                    items.append(entry.item)
            if items:
                return items, place
            if not entries:
                kept, times = self.unrecorded(place.kept)
                return [each for each in kept if each.parent_id == msg_id], place._replace(kept=times)

    def _beside(self, msg_id: str, place: Place) -> tuple[list[Message | Mark], Spot]:
        """The next of what an execution showed last; nothing where the log has not said yet that there is such."""
        items: list[Message | Mark] = []
        size, spot = 0, Spot(place.before, place.beside)
        for reached, item in ends.read(self.log, msg_id, spot) if place.before >= 0 else ():
            items.append(item)
            size, spot = size + max(0, reached.position - spot.position), reached
            if len(items) >= _MOST or size >= _MOST_BYTES:
                break
        return items, spot

    async def wait(self, rung: asyncio.Event) -> None:
        """Return when that was rung; or at times, should a ring be lost, and often where there is no bell."""
        await happens(rung, self._look_s)


def _weight(message: Message) -> int:
    """About the bytes that a message takes."""
    apart = len(message.written) + sum(map(len, message.buffers))
    inner = (0 if isinstance(each, dict | list) else len(str(each)) for each in within(message.content))
    return apart + sum(100 + size for size in inner)
