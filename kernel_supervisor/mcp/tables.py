"""Small words for people and models: tables, times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

MARKS = {True: "→", False: ""}
"""What begins a row: whether it is the session's own."""


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns. Numbers stay as they are written."""
    return str(tabulate(rows, headers, tablefmt="plain", disable_numparse=True))


def printable(text: str) -> str:
    """`text` on one line: control characters, which a file's name may have, as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def first_line(source: str) -> str:
    """A cell's first line that has something in it, and how many there are; "…" where there is more."""
    lines = [line for line in source.splitlines() if line.strip()] or [""]
    if len(lines) > 1:
        return f"{lines[0][:80]}{'…' if len(lines[0]) > 80 else ' …'} ({len(lines)} lines)"
    return lines[0] if len(lines[0]) <= 80 else f"{lines[0][:79]}…"


def when(at: float | None) -> str:
    """A time of the epoch, in local time; with the date where it was not today."""
    if at is None:
        return ""
    today = time.strftime("%Y-%m-%d")
    day, clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)).split(" ")
    return clock if day == today else f"{day} {clock}"
