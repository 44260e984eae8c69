"""An index of the sources of entries, so that a part which few of them contain is found without reading them all.

It knows which three letters an entry contains, in whatever case: what it finds is still to be looked at. It stands in a
table beside the others (SQLite's FTS5, without the texts): versions that do not know it add entries without it, and
those are taken in when it is opened again. Where SQLite has no such index, there is none.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from kernel_supervisor.core.model import SessionName
from kernel_supervisor.records.rows import Statement

_TABLE = "CREATE VIRTUAL TABLE IF NOT EXISTS sources USING fts5 (source, content='', tokenize='trigram', detail='none')"
_CATCH_UP = """
    INSERT INTO sources (rowid, source) SELECT id, source FROM executions
    WHERE id > (SELECT coalesce(max(id), 0) FROM sources_docsize)"""


class Trigrams:
    """The index of one database."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Make it where there is none, and take in what was added without it. Raises sqlite3.OperationalError."""
        self._there = _known_to_sqlite()
        if self._there:
            db.execute(_TABLE)
            with db:
                db.execute(_CATCH_UP)

    def take(self, source: str) -> list[Statement]:
        """What takes in the entry that the statement before has inserted."""
        insert = "INSERT INTO sources (rowid, source) VALUES (last_insert_rowid(), ?)"
        return [(insert, (source,))] if self._there else []

    def forget(self, session: SessionName) -> list[Statement]:
        """What removes a session's entries from it, as long as they are there."""
        delete = "INSERT INTO sources (sources, rowid, source) SELECT 'delete', id, source FROM executions"
        return [(f"{delete} WHERE session = ?", (session,))] if self._there else []

    def find(self, part: str) -> Statement | None:
        """The ids of the entries that may contain a part; None where it cannot tell: other alphabets fold otherwise."""
        if not self._there or len(part) < 3 or not part.isascii() or "\0" in part:
            return None
        threes = (part[at : at + 3].replace('"', '""') for at in range(len(part) - 2))
        return "SELECT rowid FROM sources WHERE sources MATCH ?", (" AND ".join(f'"{each}"' for each in threes),)


def _known_to_sqlite() -> bool:
    with closing(sqlite3.connect(":memory:")) as db:
        try:
            db.execute(_TABLE)
        except sqlite3.OperationalError:
            return False
    return True
