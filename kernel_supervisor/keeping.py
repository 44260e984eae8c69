"""What is kept how long, and how much of it: one place for the figures, which `core/retention.py` applies; and a
mapping that keeps no more than one of them says."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

DAY_S = 86_400.0
UNUSED_S = 90 * DAY_S
"""A session, or what is fetched and left over, that nobody used for so long goes; `keep.json` changes it."""
TOTAL_BYTES, SHARE_OF_DISK = 20_000_000_000, 10
"""How much there is in all, or the disk's size divided by that where it is less; `keep.json` changes it."""
TOLD_S = 30 * DAY_S
"""So long it is said of a history that no notebook has that it goes, before it does."""
RECENT_S = DAY_S
"""What was used so lately never goes to make room."""
SWEEP_S = DAY_S
"""How often is looked whether something is to go."""
STDERR_BYTES, STDERR_BEGINNING = 8 << 20, 64 << 10
"""What is kept of a kernel's standard error, and how much of that is its beginning; of a living one twice as much."""
CALLS_S = 7 * DAY_S
"""What a call said that it was about to do: so long it may be sent again."""
LOG_BYTES, LOG_FILES = 2 << 20, 3
"""The daemon's log, and how many before it."""
IDLE_S = 30.0
"""After so long without a cell a session's variables are saved, where they are saved by themselves."""
CHECKPOINTS = 5
"""Those of a session that were made by themselves."""
SPARE_S = 3600.0
"""A process that stands by to become a kernel ends when none was needed for so long."""
RECORDED_BYTES = 64 << 20
"""What one execution records of what it shows, where the kernel's environment does not say."""
FINISHED = 2000
"""Of how many executions of a kernel that are over late output is looked for."""
LEFTOVER_S = 3600.0
"""What a writer of a notebook that was killed left beside it."""


class Newest(OrderedDict[_K, _V]):
    """So many at the most, those that were put in last."""

    def __init__(self, most: int) -> None:
        """None yet."""
        super().__init__()
        self._most = most

    def __setitem__(self, key: _K, value: _V) -> None:
        super().__setitem__(key, value)
        while len(self) > self._most:
            self.popitem(last=False)
