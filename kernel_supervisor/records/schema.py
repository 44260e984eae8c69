"""The tables of the records, version by version.

Earlier versions set a database aside whose schema is newer, and do not start over a kernel's record that has a field
which they do not know. What came later therefore stands in columns of its own, which they pass over.
"""

from __future__ import annotations

import sqlite3

SCHEMA = 1
MIGRATIONS = [
    """
    CREATE TABLE sessions (
        name TEXT PRIMARY KEY, directory TEXT NOT NULL, kernel_id TEXT, previous_kernel_id TEXT,
        created_at REAL NOT NULL, notebooks TEXT NOT NULL, autosave TEXT NOT NULL, notice TEXT NOT NULL,
        loaded TEXT NOT NULL);
    CREATE TABLE kernels (
        id TEXT PRIMARY KEY, session TEXT NOT NULL, record TEXT NOT NULL, ended INTEGER NOT NULL);
    CREATE TABLE executions (
        id INTEGER PRIMARY KEY AUTOINCREMENT, call_key TEXT UNIQUE, session TEXT NOT NULL, kernel_id TEXT,
        generation INTEGER NOT NULL, msg_id TEXT, kind TEXT NOT NULL, source TEXT NOT NULL,
        status TEXT NOT NULL, execution_count INTEGER, client TEXT NOT NULL, queued_at REAL NOT NULL,
        started_at REAL, finished_at REAL, log TEXT, log_start INTEGER, log_end INTEGER, reason TEXT NOT NULL,
        replaces INTEGER, place INTEGER NOT NULL);
    CREATE INDEX executions_of_session ON executions (session, place);
    CREATE INDEX executions_that_replace ON executions (session, replaces) WHERE replaces IS NOT NULL;
    CREATE INDEX executions_by_msg_id ON executions (msg_id);
    CREATE INDEX executions_unsettled ON executions (status) WHERE status IN ('queued', 'running');
    CREATE TABLE calls (
        call_key TEXT PRIMARY KEY, client_id TEXT NOT NULL, tool TEXT NOT NULL, intent TEXT NOT NULL,
        at REAL NOT NULL);
    """,
]
"""What brings a database from each version to the next."""
_ADDED = (
    ("sessions", "checkpoints", "TEXT NOT NULL DEFAULT ''"),
    ("kernels", "missing", "TEXT NOT NULL DEFAULT ''"),
    ("kernels", "connection", "TEXT NOT NULL DEFAULT ''"),
    ("executions", "unrecorded", "INTEGER NOT NULL DEFAULT 0"),
    ("executions", "interrupted", "INTEGER NOT NULL DEFAULT 0"),
)
_INDEXES = """
    CREATE TABLE IF NOT EXISTS told (session TEXT PRIMARY KEY, at REAL NOT NULL);
    CREATE TABLE IF NOT EXISTS spares (id TEXT PRIMARY KEY, process TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS executions_by_count ON executions (kernel_id, generation, execution_count);
    CREATE INDEX IF NOT EXISTS executions_of_kernel ON executions (kernel_id, generation);
    CREATE INDEX IF NOT EXISTS executions_in_log ON executions (log, log_start);"""


def complete(db: sqlite3.Connection) -> None:
    """Add what came later to the tables that have it not yet. What knew them before goes on with them."""
    for table, column, kind in _ADDED:
        if column not in [row[1] for row in db.execute(f"PRAGMA table_info({table})")]:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    db.executescript(_INDEXES)
