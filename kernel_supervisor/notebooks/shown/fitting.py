"""How a table comes to fit its pages: in smaller type, then in groups of columns, a long one on pages laid across.

A page laid across leaves the one before it as empty as it is: a short table does not turn it.
Both engines do as it says, so that no column is cut and none is set over another.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from itertools import chain
from math import ceil

from kernel_supervisor.notebooks.shown.tables import Row, Table

_UPRIGHT, _ACROSS = 470.0, 710.0
"""How wide a page is between its margins, in points, of A4 and of Letter alike."""
_TRIES = ((9.0, False), (8.0, False), (7.0, False), (6.5, False), (8.0, True), (7.0, True), (6.0, True))
_SPLIT = 7.5
_EM = 0.62
"""How wide a character is in the widest of the fonts that tables are set in, digits and a mix of letters."""
_BOLD, _CAPITAL = 1.15, 0.3
_PADDING = 8.0
_LONG, _SHORT = 36, 12
"""Cells of more characters are broken into lines; tables of fewer lines are on one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table, or some of its columns, as it stands on pages."""

    table: Table
    size: float
    """The type's, in points."""
    widths: tuple[float, ...]
    """Those of its columns, in points."""
    is_across: bool
    of: str = ""
    """Which of a table's columns these are, where it has more."""


def fitted(table: Table) -> list[Part]:
    """`table` in as few parts as it can be read in."""
    wanted, may_turn = _wanted(table), not is_short(table)
    for size, across in _TRIES:
        if across and not may_turn:
            break
        widths = _in_points(wanted, size)
        if sum(widths) <= (_ACROSS if across else _UPRIGHT):
            return [Part(table=table, size=size, widths=widths, is_across=across)]
    return _split(table, wanted, across=may_turn)


def is_short(table: Table) -> bool:
    """Whether it is not to be parted between pages."""
    rows = (*table.head, *table.body)
    return sum(max((-(-len(cell.text) // _LONG) for cell in row), default=1) for row in rows) <= _SHORT


def _wanted(table: Table) -> list[int]:
    """How many characters each column has room for."""
    wanted = [3] * table.columns
    for row in chain(table.head, table.body):
        for cell in row:
            longest = max(map(_room, cell.text.split("\n")), default=0)
            longest = round(longest * _BOLD) if cell.is_head else longest
            most = min(longest, _LONG)
            share = -(-most // cell.columns)
            for column in range(cell.column, min(cell.column + cell.columns, table.columns)):
                wanted[column] = max(wanted[column], share)
    return wanted


def _room(text: str) -> int:
    """For how many characters `text` has to have room: capitals are wider than others."""
    return columns_of(text) + ceil(_CAPITAL * sum(map(str.isupper, text)))


def columns_of(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    return len(text) + sum(unicodedata.east_asian_width(each) in "WF" for each in text if each > "\u10ff")


def _in_points(wanted: list[int], size: float) -> tuple[float, ...]:
    return tuple(round(number * size * _EM + _PADDING, 1) for number in wanted)


def _split(table: Table, wanted: list[int], *, across: bool) -> list[Part]:
    widths, room = _in_points(wanted, _SPLIT), (_ACROSS if across else _UPRIGHT)
    index = list(range(table.index))
    if sum(widths[column] for column in index) > room / 2:
        index = []  # it leaves no room for what it names
    groups: list[list[int]] = [[]]
    for column in range(len(index), table.columns):
        if groups[-1] and sum(widths[each] for each in (*index, *groups[-1], column)) > room:
            groups.append([])
        groups[-1].append(column)
    first = len(index)
    return [
        Part(
            table=_chosen(table, [*index, *group], len(index), is_last=group is groups[-1]),
            size=_SPLIT,
            widths=tuple(widths[each] for each in (*index, *group)),
            is_across=across,
            of=f"columns {group[0] - first + 1} to {group[-1] - first + 1} of {table.columns - first}",
        )
        for group in groups
    ]


def _chosen(table: Table, columns: list[int], index: int, *, is_last: bool) -> Table:
    places = {column: place for place, column in enumerate(columns)}

    def chosen(row: Row) -> Row:
        kept = []
        for cell in row:
            own = [places[each] for each in range(cell.column, cell.column + cell.columns) if each in places]
            if own:
                kept.append(replace(cell, column=own[0], columns=len(own)))
        return tuple(kept)

    return replace(
        table,
        head=tuple(map(chosen, table.head)),
        body=tuple(map(chosen, table.body)),
        columns=len(columns),
        index=index,
        after=table.after if is_last else "",
    )
