"""Promise: a table is as large as its page has room for, and turns a page only where it fills one."""

from __future__ import annotations

from kernel_supervisor.notebooks.shown.fitting import Part, fitted
from kernel_supervisor.notebooks.shown.tables import tables_of


def parts(columns: int, rows: int) -> list[Part]:
    row = "".join(f"<td>{number}.12345678</td>" for number in range(100, 100 + columns))
    (table,) = tables_of(f"<table>{f'<tr>{row}</tr>' * rows}</table>")
    return fitted(table)


def test_a_short_table_becomes_smaller_and_then_parts_but_turns_no_page() -> None:
    sizes = []
    for columns in range(1, 40):
        found = parts(columns, 5)
        assert not any(part.is_across for part in found)
        assert sum(part.table.columns for part in found) == columns
        assert all(sum(part.widths) <= 470 for part in found)
        sizes.append(found[0].size)
    assert sizes[0] == 9
    assert 6.5 in sizes


def test_a_long_table_turns_the_page_where_it_is_too_wide() -> None:
    assert not parts(5, 60)[0].is_across
    assert [part.is_across for part in parts(12, 60)] == [True]
    assert len(parts(40, 60)) > 1
    assert all(part.is_across for part in parts(40, 60))
