"""Under which words sessions stand in the records, and how they are spelled everywhere else.

Versions before this one know a session by one word, and set a database aside whose schema is newer than theirs. So the
tables that they know stay as they were, with words that they take; a table beside them says the rest.
"""

from __future__ import annotations

import sqlite3

from kernel_supervisor.core import names
from kernel_supervisor.core.model import SessionName, SessionRecord
from kernel_supervisor.records.rows import Statement, restored, stored

_TABLE = """
    CREATE TABLE IF NOT EXISTS names (
        session TEXT PRIMARY KEY, project TEXT NOT NULL, folder TEXT NOT NULL, name TEXT NOT NULL,
        inherited INTEGER NOT NULL)
    """
_INSERT = "INSERT OR REPLACE INTO names (session, project, folder, name, inherited) VALUES (?, ?, ?, ?, ?)"


class Names:
    """The words and the spelled names of one database's sessions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        """Take in what is on record, and spell what versions before this one left there."""
        self._keys: dict[SessionName, str] = {}
        self._names: dict[str, SessionName] = {}
        self._inherited: set[str] = set()
        db.execute(_TABLE)
        found = db.execute("SELECT name, directory FROM sessions WHERE name NOT NULL ORDER BY created_at").fetchall()
        directories: dict[str, str] = {restored(key): restored(directory) for key, directory in found}
        folders = self._read(db, directories)
        old = [(key, directory) for key, directory in directories.items() if key not in self._names]
        with db:
            db.execute("DELETE FROM names WHERE session NOT IN (SELECT name FROM sessions WHERE name NOT NULL)")
            for key, (folder, name) in names.inherit(old, folders, self._keys).items():
                self._learn(key, names.spelled(folder, name), inherited=True)
                db.execute(_INSERT, tuple(map(stored, (key, directories[key], folder, name, 1))))

    def _read(self, db: sqlite3.Connection, directories: dict[str, str]) -> dict[str, str]:
        """Learn the names in the table; the folders of their projects, by directory.

        What is not a name of its own is passed over, and its session is spelled anew.
        """
        folders: dict[str, str] = {}
        for row in db.execute("SELECT session, project, folder, name, inherited FROM names").fetchall():
            key, project, folder, name, inherited = map(restored, row)
            if directories.get(key) != project:  # an older version forgot it, and used the word again
                continue
            its_own = folder == folders[project] if project in folders else folder not in folders.values()
            if its_own and names.fits(folder, name) and names.spelled(folder, name) not in self._keys:
                folders[project] = folder
                self._learn(key, names.spelled(folder, name), inherited=bool(inherited))
        return folders

    def _learn(self, key: str, name: SessionName, *, inherited: bool = False) -> None:
        self._keys[name], self._names[key] = key, name
        if inherited:
            self._inherited.add(key)

    def key(self, name: SessionName) -> SessionName:
        """The word that stands in the tables for a session."""
        return SessionName(self._keys.get(name, name))

    def name(self, key: str) -> SessionName:
        """The session of a word in the tables."""
        return self._names.get(key, SessionName(key))

    def old_name(self, key: str) -> str:
        """The word, where versions before this one gave it."""
        return key if key in self._inherited else ""

    def keep(self, session: SessionRecord) -> Statement:
        """What puts a session's name beside it; a session that is new gets its word."""
        if session.name not in self._keys:
            plain = session.word or names.base(session.directory)  # as versions before this one would call it
            self._learn(names.apart(plain, session.directory, self._names), session.name)
        key = self._keys[session.name]
        return _INSERT, (key, session.directory, session.folder, session.word, key in self._inherited)

    def forget(self, name: SessionName) -> Statement:
        """What removes a session's name."""
        key = self._keys.pop(name, name)
        self._names.pop(key, None)
        self._inherited.discard(key)
        return "DELETE FROM names WHERE session = ?", (key,)
