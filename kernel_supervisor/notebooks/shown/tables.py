"""Tables in HTML (pandas, polars, Styler, statsmodels) as rows of cells, for engines that set tables themselves; and
with their words to the left in a page, too, where a theme has all to the right."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from bs4 import BeautifulSoup

from kernel_supervisor.notebooks.shown.cascade import declare, declared_in, hexadecimal
from kernel_supervisor.notebooks.shown.legible import on_ground

_NUMBER = re.compile(
    r"[-+−(]?[$€£]?\s?[\d.,_'\s]*\d[\d.,_']*\s?(e[-+]?\d+)?\s?[%)]?\Z|[-+]?(nan|inf|<na>|none|null|nat|…|\.\.\.)\Z",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(r"<(script|iframe|canvas|svg|input|details|video|audio|object|embed|form|img|math)\b", re.I)
_MOST_SPAN, _LONGEST_NUMBER = 1000, 60
_MOST = 150_000
"""Characters: more takes seconds, and a table of a thousand rows is not read word by word."""
_PLAIN = re.compile(r'<table\b[^>]*\bclass="dataframe"', re.IGNORECASE)
_WORD = re.compile(r"<td[^>]*>\s*[^\s<\d.+−-]", re.IGNORECASE)
"""What begins as no number does; most tables have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """What stands in a table, from `column` on."""

    text: str
    column: int
    columns: int = 1
    rows: int = 1
    is_head: bool = False
    align: str = ""
    """`left`, `center` or `right`; empty where nobody has said it."""
    ground: str = ""
    """The colour behind it as `#rrggbb`, where it has one."""
    ink: str = ""


Row = tuple[TableCell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table whose cells each have their place."""

    caption: str
    head: tuple[Row, ...]
    body: tuple[Row, ...]
    columns: int
    index: int
    """How many of the first columns name the rows."""
    after: str = ""
    """What stands below it, such as `5 rows × 24 columns`."""

    def aligned(self, cell: TableCell) -> str:
        """Where its text stands: as was said, a name over several columns in their middle, or numbers to the right."""
        if cell.is_head and cell.columns > 1:
            return "center"
        return cell.align or ("right" if cell.column in self.numeric() else "left")

    def numeric(self) -> frozenset[int]:
        """The columns that have nothing but numbers."""
        texts: dict[int, list[str]] = {}
        for cell in (cell for row in self.body for cell in row if cell.columns == 1 and cell.text.strip()):
            texts.setdefault(cell.column, []).append(cell.text.strip())
        return frozenset(column for column, said in texts.items() if all(map(_is_number, said)))


def _is_number(text: str) -> bool:
    return len(text) <= _LONGEST_NUMBER and _NUMBER.match(text) is not None


def is_table(html: str) -> bool:
    """Whether `html` is tables with at most a few words around them, and not a page that has tables in it."""
    return "<table" in html.lower() and not _ELSEWHERE.search(html)


def tables_of(html: str) -> list[Table]:
    """The tables in `html`, in order, none of those within another."""
    soup = BeautifulSoup(html, "html.parser")
    styles = declared_in(soup)
    found = [table for table in soup.find_all("table") if table.find_parent("table") is None]
    tables = [_table(table, styles) for table in found]
    tables = [table for table in tables if table.columns]
    for each in (*found, *soup.find_all(["style", "script"])):
        each.decompose()
    words = " ".join(soup.get_text(" ").split())
    if words and tables:
        if words.startswith("shape:") and not tables[0].caption:  # as polars has it
            tables[0] = replace(tables[0], caption=words)
        else:
            tables[-1] = replace(tables[-1], after=words)
    return tables


def with_words_to_the_left(markup: str) -> str:
    """`markup` in which the columns of pandas' tables that are not numbers alone begin at one edge."""
    if len(markup) > _MOST or not _PLAIN.search(markup) or not _WORD.search(markup) or not is_table(markup):
        return markup
    soup = BeautifulSoup(markup, "html.parser")
    for tag, table in zip(soup.find_all("table"), tables_of(markup), strict=False):
        words = set(range(table.index, table.columns)) - table.numeric()
        for row, cells in zip(_rows_of(tag), (*table.head, *table.body), strict=False):
            for each, cell in zip(_cells_of(row), cells, strict=False):
                if cell.column in words and not cell.align:
                    declare(each, "text-align: left")
    return str(soup)


def _rows_of(table: Any) -> list[Any]:
    return [row for row in table.find_all("tr") if row.find_parent("table") is table]


def _cells_of(row: Any) -> list[Any]:
    return list(row.find_all(["td", "th"], recursive=False))


def _table(tag: Any, styles: dict[int, dict[str, str]]) -> Table:
    caption, rows = tag.find("caption"), _rows_of(tag)
    heads = sum(1 for row in rows if row.find_parent("thead") is not None)
    if not heads and rows and not rows[0].find("td") and len(rows) > 1:
        heads = 1
    head = _placed(rows[:heads], styles)
    body = _placed(rows[heads:], styles)
    columns = max((cell.column + 1 for row in (*head, *body) for cell in row), default=0)
    head, body = (tuple(_clipped(row, columns) for row in rows) for rows in (head, body))
    return Table(
        caption=_words(caption) if caption else "",
        head=head,
        body=body,
        columns=columns,
        index=min(_index(body), max(0, columns - 1)),
    )


def _clipped(row: Row, columns: int) -> Row:
    """`row` whose cells reach into no column in which none begins."""
    return tuple(replace(cell, columns=min(cell.columns, columns - cell.column)) for cell in row)


def _index(body: tuple[Row, ...]) -> int:
    ends = [max((cell.column + cell.columns for cell in row if cell.is_head), default=0) for row in body]
    return max(ends, default=0)


def _placed(rows: list[Any], styles: dict[int, dict[str, str]]) -> tuple[Row, ...]:
    """The cells of `rows`, each at the first column that no cell of an earlier row reaches into."""
    reaching: dict[int, int] = {}
    placed: list[Row] = []
    for number, row in enumerate(rows):
        column, cells = 0, []
        for tag in _cells_of(row):
            while reaching.get(column, 0) > number:
                column += 1
            columns, most = _span(tag, "colspan"), len(rows) - number
            cell = _cell(tag, column, styles)
            cell = replace(cell, columns=columns, rows=min(_span(tag, "rowspan"), most))
            cells.append(cell)
            reaching.update(dict.fromkeys(range(column, column + columns), number + cell.rows))
            column += columns
        placed.append(tuple(cells))
    return tuple(placed)


def _span(tag: Any, name: str) -> int:
    said = str(tag.get(name, "1"))
    return min(max(int(said), 1), _MOST_SPAN) if said.isdecimal() else 1


def _cell(tag: Any, column: int, styles: dict[int, dict[str, str]]) -> TableCell:
    align = styles.get(id(tag), {}).get("text-align", "")
    ground, ink = _colours(tag, styles)
    return TableCell(
        text=_words(tag),
        column=column,
        is_head=tag.name == "th",
        align=align if align in ("left", "center", "right") else "",
        ground=ground,
        ink=ink,
    )


def _colours(tag: Any, styles: dict[int, dict[str, str]]) -> tuple[str, str]:
    """A cell's ground and ink, its own or its row's; the ink such that it can be read there."""
    of = [styles.get(id(each), {}) for each in (tag, *tag.parents)]
    ground = next(filter(None, (hexadecimal(each.get("background-color", "")) for each in of)), "")
    ink = next(filter(None, (hexadecimal(each.get("color", "")) for each in of)), "")
    return ground, on_ground(ink, ground) if ground or ink else ""


def _words(tag: Any) -> str:
    for line in tag.find_all("br"):
        line.replace_with("\n")
    return "\n".join(" ".join(line.split()) for line in tag.get_text().strip().splitlines())
