"""What a terminal takes: colour where that is wanted, and tables that are no wider than it is."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from kernel_supervisor.wording import aligned, cells, printable

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}
_STATES = {
    **dict.fromkeys(("idle", "ok"), "green"),
    **dict.fromkeys(("busy", "starting", "running", "queued", "waiting for input"), "yellow"),
    **dict.fromkeys(("dead", "unreachable", "error", "interrupted", "aborted", "lost"), "red"),
}
_FLOOR = 24
"""Cells that a column which gives way keeps at least."""
_GAP = 2


def is_terminal(stream: TextIO) -> bool:
    """Whether it is one that can do more than print."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def in_colour(stream: TextIO) -> bool:
    """Whether colour is wanted there, as https://no-color.org has it."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def styled(text: str, style: str) -> str:
    """Text as it is printed on standard output."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if style and text and in_colour(sys.stdout) else text


def of_state(state: str) -> str:
    """A kernel's or an execution's state, in its colour."""
    return styled(state, _STATES.get(state.partition(",")[0], ""))


def columns() -> int:
    """How wide the terminal is."""
    return shutil.get_terminal_size().columns


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]], leave_out: Sequence[str] = ()) -> None:
    """For people. On a terminal that is narrower than that, the columns of `leave_out` go, one by one, and then the
    widest give way; of a path the end says most, of all else the beginning.
    """
    print("\n".join(table(headers, rows, leave_out, columns() if sys.stdout.isatty() else 0)))


def table(
    headers: Sequence[str], rows: Sequence[Sequence[Any]], leave_out: Sequence[str] = (), width: int = 0
) -> list[str]:
    """Its lines, within `width` if that is not 0."""
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    if width:
        headers, texts = _fitted(headers, texts, leave_out, width)
    states = [index for index, title in enumerate(headers) if title in ("state", "status")]
    rule = ["-" * max(map(cells, column)) for column in zip(headers, *texts, strict=True)]
    drawn = [[of_state(each) if at in states else each for at, each in enumerate(row)] for row in texts]
    bold = [styled(each, "bold") for each in headers]
    return aligned([headers, rule, *texts], [bold, rule, *drawn])


def _fitted(
    headers: Sequence[str], rows: list[list[str]], leave_out: Sequence[str], width: int
) -> tuple[list[str], list[list[str]]]:
    widths = [max(map(cells, column)) for column in zip(headers, *rows, strict=True)]
    kept = list(range(len(headers)))
    for title in leave_out:
        if sum(min(widths[each], _FLOOR) for each in kept) <= _room(kept, width):
            break
        kept.remove(list(headers).index(title))
    while sum(widths[each] for each in kept) > _room(kept, width):
        widths[max(kept, key=lambda each: (widths[each], each))] -= 1
        if not any(widths):
            break
    return [cut(headers[each], widths[each]) for each in kept], [
        [cut(row[each], widths[each]) for each in kept] for row in rows
    ]


def _room(kept: Sequence[int], width: int) -> int:
    return width - _GAP * (len(kept) - 1)


def cut(text: str, room: int) -> str:
    """As much of it as fits; of a path its end."""
    if cells(text) <= room:
        return text
    if room <= 0:
        return ""
    if text.startswith("/"):
        while cells(text) >= room:
            text = text[1:]
        return "…" + text
    while cells(text) >= room:
        text = text[:-1]
    return text + "…"
