"""Small words for what people and models are told: names and code on one line, columns, tables, times."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

_OURS = str.maketrans(dict.fromkeys("…→–×", " "))
"""What our own words have beyond ASCII, none of it wide."""


def printable(text: str) -> str:
    """`text` on one line: control characters, which a file's name may have, as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def cells(text: str) -> int:
    """How many a terminal shows it in: two for what is wide, none for what joins the character before it."""
    if text.translate(_OURS).isascii():
        return len(text)
    from wcwidth import wcswidth  # 20 ms, and few need it

    return max(0, int(wcswidth(text)))


def aligned(rows: Sequence[Sequence[str]], shown: Sequence[Sequence[str]] | None = None) -> list[str]:
    """The rows as lines, columns two cells apart; `shown` has the same texts as they are printed, in colour."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, printed in zip(rows, shown or rows, strict=True):
        padded = [each + " " * (width - cells(text)) for text, each, width in zip(row, printed, widths, strict=True)]
        lines.append("  ".join(padded).rstrip())
    return lines


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Aligned columns, a line each row."""
    return "\n".join(aligned([headers, *([printable(str(cell)) for cell in row] for row in rows)]))


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
