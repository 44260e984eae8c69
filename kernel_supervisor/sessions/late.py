"""What entries of one session have shown since they were over, and who was told."""

from __future__ import annotations

from collections import deque

from kernel_supervisor.core.model import Execution
from kernel_supervisor.keeping import FINISHED, Newest

_PIECES = 1_000


class Late:
    """The entries that have shown more than any result of theirs, in the order in which they did."""

    def __init__(self) -> None:
        """Know none yet."""
        self.times = 0
        """How often one of them turned out to have gone on."""
        self._told = 0
        """How much of that somebody was told of."""
        self._went_on: Newest[int, tuple[int, Execution]] = Newest(FINISHED)
        self._pieces: deque[tuple[int, Execution, int]] = deque(maxlen=_PIECES)

    def add(self, execution: Execution, start: int) -> None:
        """One has shown more: what its log has of it behind `start`."""
        self.times += 1
        self._went_on[execution.id] = self.times, execution
        self._pieces.append((self.times, execution, start))

    def since(self, times: int | None) -> list[Execution]:
        """Those that have shown more since `times` was so small; where that is None, what nobody was told of."""
        after = self._told if times is None else times
        self._told = self.times
        return [execution for at, execution in self._went_on.values() if at > after]

    def pieces(self, times: int) -> list[tuple[Execution, int]]:
        """What was shown since `times` was so small: each entry with where in its log that begins. Bounded."""
        return [(execution, start) for at, execution, start in self._pieces if at > times]
