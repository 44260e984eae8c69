"""Small words for people and models: tables, first lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernel_supervisor.wording import aligned, printable

MARKS = {True: "→", False: ""}
"""What begins a row: whether it is the session's own."""


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns, a line each row."""
    return "\n".join(aligned([headers, *([printable(str(cell)) for cell in row] for row in rows)]))


def first_line(source: str) -> str:
    """A cell's first line that has something in it, and how many there are; "…" where there is more."""
    lines = [line for line in source.splitlines() if line.strip()] or [""]
    if len(lines) > 1:
        return f"{lines[0][:80]}{'…' if len(lines[0]) > 80 else ' …'} ({len(lines)} lines)"
    return lines[0] if len(lines[0]) <= 80 else f"{lines[0][:79]}…"
