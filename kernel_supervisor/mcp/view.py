"""What a result is made from, how much of it is wanted, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kernel_supervisor.core.model import Execution, ExecutionId, Question
from kernel_supervisor.core.ways import Words
from kernel_supervisor.mcp.clients import MAX_CHARS
from kernel_supervisor.mcp.images import Image
from kernel_supervisor.outputs.figures import Library
from kernel_supervisor.outputs.folding import Folded

MAX_IMAGES = 8

Content = str | Image
"""A block of a result. MCP's own types take longer to import than all else that a process for one result needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultView:
    """All that a result is made from."""

    execution: Execution
    folded: Folded
    duration_s: float | None = None
    """Of the run so far, None where it did not begin."""
    kernel: str = ""
    """The kernel's name, only where it is not the session's usual one."""
    behind: tuple[ExecutionId, ...] = ()
    """The first of what a queued execution waits for, the next to run first."""
    ahead: int = 0
    """How many that are."""
    question: Question | None = None
    """What an `input()` that waits for an answer asks."""
    notices: tuple[Words, ...] = ()
    """What happened since this client's last call; told once, right after the status line."""
    advice: tuple[Words, ...] = ()
    """What the caller knows that the reader can do next."""
    draws: Collection[Library] = ()
    """The libraries whose figures are pictures here."""
    drawings: Mapping[int, bytes | str] = field(default_factory=dict)
    """By the picture's number: a figure as PNG, or why it could not be drawn."""
    cells: Mapping[int, int] = field(default_factory=dict)
    """Execution counts of this kernel and generation, with the executions that had them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How much of a result is wanted, and which part."""

    max_chars: int = MAX_CHARS
    max_bytes: int | None = None
    """Of UTF-8 in the text, where the reader counts those."""
    max_images: int = MAX_IMAGES
    from_line: int | None = None
    tail: int | None = None
    grep: str | None = None
    from_image: int = 1
    full_traceback: bool = False
    ways: Mapping[str, str] | None = None
    """The reader's words for ways on, where it is no agent. Such a one is not told of lines: it cannot ask for them."""

    @property
    def of_lines(self) -> bool:
        """Whether certain lines are wanted, not the whole."""
        return self.from_line is not None or self.tail is not None or self.grep is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A result as it is sent."""

    content: list[Content]
    truncated: bool
    """Whether some of its text was left out."""
    lines: int
    """How many lines all of its text has: `from_line=lines + 1` is news."""
    images: int
    """How many images the execution has shown, inline or not."""
