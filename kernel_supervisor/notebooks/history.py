"""What a notebook is made from: entries of a session's history, and which of them to take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, ExecutionId, Mark, Message
from kernel_supervisor.core.ways import WayOn

LOADED_CELL = "loaded_cell"
"""The type of the message, of our own, that carries what a loaded cell has beside its source and outputs."""

NEVER_WRITTEN = "text/llm+plain"
"""A text for models alone, which the one who shows it does not mean to publish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a session's history, with the way to its messages."""

    execution: Execution
    messages: Callable[[], Iterable[Message | Mark]]
    """Reads the entry's own messages, each once, in the order they were sent. Called several times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which entries of a history become cells."""

    only: Literal["all", "ok"] = "all"
    """`ok` leaves out every execution that did not end well."""
    first: ExecutionId | None = None
    last: ExecutionId | None = None
    """The first and the last entry to take, both included, in the order of the history; None for no bound."""


def choose(entries: Iterable[Entry], choice: Choice) -> list[Entry]:
    """The entries that `choice` takes. Raises RefusedError where it names an entry that is not there."""
    history = list(entries)
    start = 0 if choice.first is None else _position(history, choice.first, "first")
    end = len(history) if choice.last is None else _position(history, choice.last, "last") + 1
    if start >= end and history:
        raise RefusedError(f"first: execution {choice.first} comes after last, execution {choice.last}; swap them")
    return [entry for entry in history[start:end] if choice.only == "all" or _is_ok(entry.execution)]


def _position(history: Sequence[Entry], wanted: ExecutionId, argument: str) -> int:
    found = [position for position, entry in enumerate(history) if entry.execution.id == wanted]
    if found:
        return found[0]
    raise RefusedError(f"{argument}: this session's history has no execution {wanted}", WayOn("see history"))


def _is_ok(execution: Execution) -> bool:
    return execution.kind != "code" or execution.status == "ok"
