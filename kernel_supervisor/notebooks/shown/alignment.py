"""Tables in a page of HTML whose words stand to the left, as on paper; a theme has all to the right."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup

from kernel_supervisor.notebooks.shown.cascade import declare
from kernel_supervisor.notebooks.shown.tables import is_table, tables_of

_MOST = 150_000
"""Characters: more takes seconds, and a table of a thousand rows is not read word by word."""
_PLAIN = re.compile(r'<table\b[^>]*\bclass="dataframe"', re.IGNORECASE)

_WORD = re.compile(r"<td[^>]*>\s*[^\s<\d.+−-]", re.IGNORECASE)
"""What begins as no number does; most tables have none."""


def with_words_to_the_left(markup: str) -> str:
    """`markup` in which the columns of pandas' tables that are not numbers alone begin at one edge."""
    if len(markup) > _MOST or not _PLAIN.search(markup) or not _WORD.search(markup) or not is_table(markup):
        return markup
    soup = BeautifulSoup(markup, "html.parser")
    for tag, table in zip(soup.find_all("table"), tables_of(markup), strict=False):
        words = set(range(table.index, table.columns)) - table.numeric()
        rows = [row for row in tag.find_all("tr") if row.find_parent("table") is tag]
        for row, cells in zip(rows, (*table.head, *table.body), strict=False):
            for each, cell in zip(row.find_all(["td", "th"], recursive=False), cells, strict=False):
                if cell.column in words and not cell.align:
                    declare(each, "text-align: left")
    return str(soup)
