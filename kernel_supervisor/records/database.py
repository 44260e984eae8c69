"""The records: sessions, kernels, executions and calls in SQLite, committed before anything takes effect.

One thread owns the connection. WAL with `synchronous=NORMAL`: what is committed survives the death of this
process at any line, which is what the promises need; a power cut may take the last few commits. Where the disk
does not take a commit, everything goes on in a copy in memory, `not_recorded` says so, and the copy goes back to
the disk as soon as there is room.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    Interpreter,
    KernelId,
    KernelRecord,
    ProcessIdentity,
    Region,
    SessionName,
    SessionRecord,
)

log = logging.getLogger(__name__)
_T = TypeVar("_T")
SCHEMA = 1
_RETURN_S = 1.0
_DAMAGED = ("malformed", "not a database", "encrypted")
_MIGRATIONS = [
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
_SESSION_COLUMNS = "name, directory, kernel_id, previous_kernel_id, created_at, notebooks, autosave, notice, loaded"
_EXECUTION_COLUMNS = (
    "id, session, kernel_id, generation, msg_id, kind, source, status, execution_count, client, queued_at, "
    "started_at, finished_at, log, log_start, log_end, reason, replaces"
)
_LAST_PLACE = "(SELECT coalesce(max(place), 0) + 1 FROM executions WHERE session = ?)"
_REPLACED = "SELECT replaces FROM executions WHERE session = ? AND replaces IS NOT NULL"
_Statement = tuple[str, Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A place in a session's history: directly before or after another entry of it."""

    entry: ExecutionId
    before: bool


class Database:
    """The records of one supervisor. Methods may be awaited by any task; they run in order."""

    def __init__(self, path: str) -> None:
        """Name the file; nothing is opened before `open`."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self._db: sqlite3.Connection
        self._next_return = 0.0
        self.not_recorded = ""
        """Why the records are only in memory now; empty where they are on the disk."""
        self.watchers: list[Callable[[Execution], None]] = []
        """Called on the loop with each entry that was committed, new or changed."""
        self.set_aside = ""
        """Where an unreadable or newer database was moved to, empty where there was none."""

    async def open(self) -> None:
        """Open or create the file and bring its schema up to date.

        A file that is damaged or was written by a newer version is moved aside, named in `set_aside`, and
        an empty one is started. Raises UnavailableError where not even that is possible.
        """
        await self._run(self._open)

    async def close(self) -> None:
        """Close the file."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _write(self, statement: str, values: Iterable[Any]) -> int:
        """Run one statement and commit; the last row's number. Raises UnavailableError."""
        return await self._write_all([(statement, values)])

    async def _write_all(self, statements: Sequence[_Statement]) -> int:
        """Run statements and commit them together; the last row's number. Raises UnavailableError."""

        def work() -> int:
            if self.not_recorded:
                self._return_to_disk()
            try:
                return self._commit(statements)
            except sqlite3.IntegrityError:
                raise
            except sqlite3.Error as error:
                self._go_to_memory(error)
                return self._commit(statements)

        return await self._run(work)

    def _commit(self, statements: Sequence[_Statement]) -> int:
        number = 0
        with self._db:
            for statement, values in statements:
                number = self._db.execute(statement, tuple(values)).lastrowid or 0
        return number

    def _go_to_memory(self, error: sqlite3.Error) -> None:
        """Go on in memory, with all that was committed so far."""
        log.error("the records cannot be written to %s: %s; they are kept in memory", self._path, error)
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.backup(memory)
        self._db.close()
        self._db = memory
        self.not_recorded = f"the records cannot be written to {self._path}: {error}"
        self._next_return = time.monotonic() + _RETURN_S

    def _return_to_disk(self) -> None:
        """Write the copy back, in one transaction, if there is room again; looked at now and then."""
        if time.monotonic() < self._next_return:
            return
        self._next_return = time.monotonic() + _RETURN_S
        disk = sqlite3.connect(self._path, timeout=1, check_same_thread=False)
        try:
            self._db.backup(disk)
            disk.execute("PRAGMA journal_mode = WAL")
            disk.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error as error:
            log.info("the records cannot be written yet: %s", error)
            disk.close()
            return
        self._db.close()
        self._db, self.not_recorded = disk, ""
        log.info("the records are on the disk again")

    def _close(self) -> None:
        if self.not_recorded:
            self._next_return = 0.0
            self._return_to_disk()
        self._db.close()

    async def _rows(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        return await self._run(lambda: self._db.execute(query, tuple(values)).fetchall())

    def _open(self) -> None:
        try:
            self._connect()
        except (sqlite3.DatabaseError, _NewerSchemaError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not any(word in str(error) for word in _DAMAGED):
                raise UnavailableError(f"the records at {self._path} cannot be opened: {error}") from error
            self.set_aside = f"{self._path}.set-aside-{time.strftime('%Y%m%d-%H%M%S')}"
            log.error("the records cannot be used (%s) and were moved to %s", error, self.set_aside)
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(self._path + suffix):
                    os.replace(self._path + suffix, self.set_aside + suffix)
            self._connect()

    def _connect(self) -> None:
        self._db = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                raise _NewerSchemaError(f"they have schema {version}, this version knows {SCHEMA}")
            for number in range(version, SCHEMA):
                self._db.executescript(f"BEGIN; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
            self._db.execute("SELECT count(*) FROM sqlite_master")
        except BaseException:
            self._db.close()
            raise

    # Sessions

    async def save_session(self, session: SessionRecord) -> None:
        """Insert or replace."""
        values = (
            session.name,
            session.directory,
            session.kernel_id,
            session.previous_kernel_id,
            session.created_at,
            json.dumps(dict(session.notebooks)),
            session.autosave,
            session.notice,
            session.loaded,
        )
        await self._write(f"INSERT OR REPLACE INTO sessions ({_SESSION_COLUMNS}) VALUES (?{', ?' * 8})", values)

    async def sessions(self) -> list[SessionRecord]:
        """All of them, oldest first."""
        rows = await self._rows(f"SELECT {_SESSION_COLUMNS} FROM sessions ORDER BY created_at")
        return [
            SessionRecord(
                name=name,
                directory=directory,
                kernel_id=kernel_id,
                previous_kernel_id=previous,
                created_at=created_at,
                notebooks=json.loads(notebooks),
                autosave=autosave,
                notice=notice,
                loaded=loaded,
            )
            for name, directory, kernel_id, previous, created_at, notebooks, autosave, notice, loaded in rows
        ]

    # Kernels

    async def save_kernel(self, kernel: KernelRecord) -> None:
        """Insert or replace."""
        values = (kernel.id, kernel.session, json.dumps(asdict(kernel)), kernel.ended)
        await self._write("INSERT OR REPLACE INTO kernels (id, session, record, ended) VALUES (?, ?, ?, ?)", values)

    async def living_kernels(self) -> list[KernelRecord]:
        """Those that were not recorded as ended."""
        return [_kernel(row[0]) for row in await self._rows("SELECT record FROM kernels WHERE NOT ended")]

    async def kernel(self, kernel_id: KernelId) -> KernelRecord | None:
        """One of them, living or ended."""
        rows = await self._rows("SELECT record FROM kernels WHERE id = ?", (kernel_id,))
        return _kernel(rows[0][0]) if rows else None

    # Executions

    async def add_execution(
        self, execution: Execution, call_key: str | None, beside: Beside | None = None
    ) -> tuple[Execution, bool]:
        """Commit a new entry of a session's history; its id is given here.

        It stands last, or before or after another entry of its session, or where the entry is that it replaces.
        Returns the entry and True; or, where `call_key` is known already, the entry it made then and False.
        """
        try:
            number = await self._write_all(_insertion(execution, call_key, beside))
        except sqlite3.IntegrityError:
            found = await self.execution_of_call(call_key or "")
            assert found is not None
            return found, False
        added = _with_id(execution, number)
        self._tell(added)
        return added, True

    async def add_executions(self, executions: Sequence[Execution], call_keys: Sequence[str]) -> None:
        """Commit new entries, which stand last, all or none; none where the first call key is known already."""
        pairs = zip(executions, call_keys, strict=True)
        statements = [statement for each, key in pairs for statement in _insertion(each, key, None)]
        with suppress(sqlite3.IntegrityError):
            await self._write_all(statements)
        for execution in executions[-1:]:
            self._tell(execution)

    async def save_execution(self, execution: Execution) -> None:
        """Commit what has become of an entry."""
        names = [name.strip() for name in _EXECUTION_COLUMNS.split(",")][1:]
        values = _execution_values(execution)
        assignments = ", ".join(f"{name} = ?" for name in names)
        await self._write(f"UPDATE executions SET {assignments} WHERE id = ?", (*values[1:], values[0]))
        self._tell(execution)

    def _tell(self, entry: Execution) -> None:
        for watcher in self.watchers:
            watcher(entry)

    async def execution(self, execution_id: int) -> Execution | None:
        """One entry."""
        return await self._one("id = ?", execution_id)

    async def execution_of_call(self, call_key: str) -> Execution | None:
        """The entry that a call made, if it made one."""
        return await self._one("call_key = ?", call_key)

    async def history(self, session: SessionName, *, last: int | None = None) -> list[Execution]:
        """A session's entries in order, without those that were replaced; the `last` of them if given."""
        limit = -1 if last is None else last
        query = (
            f"SELECT {_EXECUTION_COLUMNS} FROM executions WHERE session = ? AND id NOT IN ({_REPLACED}) "
            "ORDER BY place DESC, id DESC LIMIT ?"
        )
        return [_execution(row) for row in reversed(await self._rows(query, (session, session, limit)))]

    async def replaced(self, session: SessionName) -> dict[ExecutionId, Execution]:
        """The entries of a session that others stand for, by id."""
        query = f"SELECT {_EXECUTION_COLUMNS} FROM executions WHERE id IN ({_REPLACED})"
        return {each.id: each for each in map(_execution, await self._rows(query, (session,)))}

    async def entries_of_call(self, prefix: str) -> list[Execution]:
        """The entries whose call keys begin with `prefix`, which ends with a colon, in order."""
        query = f"SELECT {_EXECUTION_COLUMNS} FROM executions WHERE call_key >= ? AND call_key < ? ORDER BY id"
        return [_execution(row) for row in await self._rows(query, (prefix, prefix[:-1] + ";"))]

    async def unsettled(self) -> list[Execution]:
        """Queued and running entries of all sessions, in order."""
        query = f"SELECT {_EXECUTION_COLUMNS} FROM executions WHERE status IN ('queued', 'running') ORDER BY id"
        return [_execution(row) for row in await self._rows(query)]

    async def _one(self, condition: str, value: Any) -> Execution | None:
        rows = await self._rows(f"SELECT {_EXECUTION_COLUMNS} FROM executions WHERE {condition}", (value,))
        return _execution(rows[0]) if rows else None

    # Calls of tools that change something but make no entry

    async def begin_call(self, call_key: str, client_id: str, tool: str, intent: dict[str, Any]) -> dict[str, Any]:
        """Commit what a call is about to do; returns what it said the first time, if it is known already."""
        values = (call_key, client_id, tool, json.dumps(intent), time.time())
        statement = "INSERT OR IGNORE INTO calls (call_key, client_id, tool, intent, at) VALUES (?, ?, ?, ?, ?)"
        await self._write(statement, values)
        return await self.intent_of(call_key) or intent

    async def intent_of(self, call_key: str) -> dict[str, Any] | None:
        """What a call said that it was about to do, if it was made before."""
        rows = await self._rows("SELECT intent FROM calls WHERE call_key = ?", (call_key,))
        return dict(json.loads(rows[0][0])) if rows else None

    async def forget_calls(self, older_than_s: float) -> None:
        """Drop answers that nobody can ask for any more."""
        await self._write("DELETE FROM calls WHERE at < ?", (time.time() - older_than_s,))


class _NewerSchemaError(Exception):
    pass


def _insertion(execution: Execution, call_key: str | None, beside: Beside | None) -> list[_Statement]:
    """The statements that put an entry in its place. Where its call key is known, they fail together."""
    values = _execution_values(execution)
    insert = f"INSERT INTO executions (call_key, {_EXECUTION_COLUMNS}, place) VALUES (?{', ?' * 18}, %s)"
    of_entry = "(SELECT place FROM executions WHERE id = ?)"
    if execution.replaces is not None:
        return [(insert % of_entry, (call_key, None, *values[1:], execution.replaces))]
    if beside is None:
        return [(insert % _LAST_PLACE, (call_key, None, *values[1:], execution.session))]
    shift = f"UPDATE executions SET place = place + 1 WHERE session = ? AND place >{'=' if beside.before else ''} "
    step = -1 if beside.before else 1  # of the place that the entry beside it has by then
    return [
        (shift + of_entry, (execution.session, beside.entry)),
        (insert % f"{of_entry} + {step}", (call_key, None, *values[1:], beside.entry)),
    ]


def _kernel(text: str) -> KernelRecord:
    record = json.loads(text)
    interpreter = record.pop("interpreter")
    process = record.pop("process")
    interpreter["argv"] = tuple(interpreter["argv"])
    return KernelRecord(
        interpreter=Interpreter(**interpreter),
        process=ProcessIdentity(**process) if process else None,
        **record,
    )


def _execution_values(execution: Execution) -> tuple[Any, ...]:
    region = execution.region
    return (
        execution.id,
        execution.session,
        execution.kernel_id,
        execution.generation,
        execution.msg_id,
        execution.kind,
        execution.source,
        execution.status,
        execution.execution_count,
        execution.client,
        execution.queued_at,
        execution.started_at,
        execution.finished_at,
        region.log if region else None,
        region.start if region else None,
        region.end if region else None,
        execution.reason,
        execution.replaces,
    )


def _execution(row: tuple[Any, ...]) -> Execution:
    log_path, start, end = row[13:16]
    return Execution(
        id=ExecutionId(row[0]),
        session=row[1],
        kernel_id=row[2],
        generation=row[3],
        msg_id=row[4],
        kind=row[5],
        source=row[6],
        status=row[7],
        execution_count=row[8],
        client=row[9],
        queued_at=row[10],
        started_at=row[11],
        finished_at=row[12],
        region=None if log_path is None else Region(log=log_path, start=start, end=end),
        reason=row[16],
        replaces=row[17],
    )


def _with_id(execution: Execution, number: int) -> Execution:
    return replace(execution, id=ExecutionId(number))
