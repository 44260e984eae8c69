"""Outputs too long for a document, shortened before anything is made of them, so that none takes minutes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from kernel_supervisor.amounts import several
from kernel_supervisor.notebooks.shown.printed import shortened

_CELL = re.compile(r"<t[hd][\s>]", re.IGNORECASE)
_ROW = re.compile(r"<tr[\s>]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much of an output a format shows: its first and last lines, its first and last rows."""

    lines: tuple[int, int]
    rows: tuple[int, int]


ON_PAPER = Room(lines=(90, 30), rows=(300, 100))
ON_SCREEN = Room(lines=(5_000, 1_000), rows=(1_500, 500))


def shorten(output: Any, room: Room) -> list[str]:
    """Have `output` fit its room; return what was left out of it, in words."""
    data, said = output.get("data", {}), []
    if "<table" in data.get("text/html", "").lower():
        data["text/html"], number = _fewer_rows(data["text/html"], *room.rows)
        said += [several(number, "row")] if number else []
    for holder, name in ((output, "text"), (data, "text/plain")):
        if isinstance(holder.get(name), str):
            holder[name], number = shortened(holder[name], *room.lines)
            said += [several(number, "line")] if number and "text/html" not in data else []
    return said


def _fewer_rows(html: str, first: int, last: int) -> tuple[str, int]:
    """`html` without the rows between; it says in their place how many."""
    starts = [row.start() for row in _ROW.finditer(html)]
    number = len(starts) - first - last
    if number <= 0 or html.lower().count("<table") > 1:
        return html, 0
    begin, end = starts[first], starts[first + number]
    words = f"… {number:,} rows are left out here; they are in the notebook …"
    columns = len(_CELL.findall(html, begin, starts[first + 1]))
    return f'{html[:begin]}<tr><td colspan="{columns}">{words}</td></tr>{html[end:]}', number
