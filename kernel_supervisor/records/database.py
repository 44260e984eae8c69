"""The records: sessions, kernels, executions and calls in SQLite, committed before anything takes effect.

One thread owns the connection. WAL with `synchronous=NORMAL`: what is committed survives the death of this
process at any line, which is what the promises need; a power cut may take the last few commits. Where the disk
does not take a commit, everything goes on in a copy in memory, `not_recorded` says so, and the copy goes back to
the disk as soon as there is room.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import (
    Beside,
    Execution,
    ExecutionId,
    KernelId,
    KernelRecord,
    SessionName,
    SessionRecord,
)
from kernel_supervisor.records import rows
from kernel_supervisor.records.names import Names
from kernel_supervisor.records.rows import Statement
from kernel_supervisor.records.schema import MIGRATIONS, SCHEMA, complete
from kernel_supervisor.records.trigrams import Trigrams

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_RETURN_S = 1.0
_NEAR = 100
"""How many of the newest entries are looked at before an index is asked, which knows nothing of their order."""
_DAMAGED = ("malformed", "not a database", "encrypted")


class Database:
    """The records of one supervisor. Methods may be awaited by any task; they run in order."""

    def __init__(self, path: str) -> None:
        """Name the file; nothing is opened before `open`."""
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self._db = _connection(":memory:")  # until it is open
        self._names: Names
        self._trigrams: Trigrams
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

    async def write(self, statement: str, values: Iterable[Any]) -> int:
        """Run one statement and commit; the last row's number. Raises UnavailableError."""
        return await self._write_all([(statement, values)])

    async def _write_all(self, statements: Sequence[Statement]) -> int:
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

    def _commit(self, statements: Sequence[Statement]) -> int:
        number = 0
        with self._db:
            for statement, values in statements:
                number = self._db.execute(statement, tuple(map(rows.stored, values))).lastrowid or 0
        return number

    def _go_to_memory(self, error: sqlite3.Error) -> None:
        """Go on in memory, with all that was committed so far."""
        log.error("the records cannot be written to %s: %s; they are kept in memory", self._path, error)
        memory = _connection(":memory:")
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
        disk = _connection(self._path, timeout_s=1)
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

    async def select(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query finds."""
        found = await self._run(lambda: self._db.execute(query, tuple(map(rows.stored, values))).fetchall())
        return [tuple(map(rows.restored, row)) for row in found]

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
        self._db.close()
        self._db = _connection(self._path, timeout_s=10)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                raise _NewerSchemaError(f"they have schema {version}, this version knows {SCHEMA}")
            for number in range(version, SCHEMA):
                self._db.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
            self._add_what_came_later()
        except BaseException:
            self._db.close()
            raise

    def _add_what_came_later(self) -> None:
        try:
            self._complete()
        except sqlite3.OperationalError as error:  # a full disk, at the first start of this version
            self._go_to_memory(error)
            self._complete()

    def _complete(self) -> None:
        complete(self._db)
        self._names = Names(self._db)
        self._trigrams = Trigrams(self._db)

    # Sessions

    async def save_session(self, session: SessionRecord) -> None:
        """Insert or replace."""
        beside = self._names.keep(session)
        values = rows.session_values(replace(session, name=self._names.key(session.name)))
        await self._write_all([rows.replacing("sessions", values), beside])

    async def sessions(self) -> list[SessionRecord]:
        """All of them, oldest first."""
        found = await self.select(f"SELECT {rows.SESSION_COLUMNS} FROM sessions ORDER BY created_at")
        known = [session for session in map(rows.session, found) if session is not None]
        names = self._names
        return [replace(each, name=names.name(each.name), old_name=names.old_name(each.name)) for each in known]

    async def entries_of_sessions(self) -> dict[SessionName, tuple[int, float]]:
        """How many entries each session has, and when the last one was made, in seconds since the epoch."""
        found = await self.select(rows.LAST_ENTRIES)
        return {self._names.name(name): (count, float(last or 0.0)) for name, count, last in found}

    async def files_of(self, session: SessionName) -> list[str]:
        """The files of a session's kernels and entries that belong to no other session too."""
        return [row[0] for row in await self.select(rows.FILES_OF_ONE, (self._names.key(session),))]

    async def forget_session(self, session: SessionName) -> None:
        """Delete a session with its entries, and its kernels that no other session's entries name."""
        key = self._names.key(session)
        await self._write_all(
            [
                *self._trigrams.forget(key),
                ("DELETE FROM executions WHERE session = ?", (key,)),
                (f"DELETE FROM kernels WHERE session = ? AND id NOT IN ({rows.USED_KERNELS})", (key,)),
                ("DELETE FROM sessions WHERE name = ?", (key,)),
                self._names.forget(session),
            ]
        )

    # Kernels

    async def save_kernel(self, kernel: KernelRecord) -> None:
        """Insert or replace."""
        values = rows.kernel_values(replace(kernel, session=self._names.key(kernel.session)))
        await self._write_all([rows.replacing("kernels", values)])

    async def living_kernels(self) -> list[KernelRecord]:
        """Those that were not recorded as ended."""
        found = await self.select(f"SELECT {rows.KERNEL_COLUMNS} FROM kernels WHERE NOT ended")
        return [record for record in map(self._kernel, found) if not record.ended]

    async def kernel(self, kernel_id: KernelId) -> KernelRecord | None:
        """One of them, living or ended."""
        found = await self.select(f"SELECT {rows.KERNEL_COLUMNS} FROM kernels WHERE id = ?", (kernel_id,))
        return self._kernel(found[0]) if found else None

    def _kernel(self, row: tuple[Any, ...]) -> KernelRecord:
        record = rows.kernel(row)
        return replace(record, session=self._names.name(record.session))

    # Executions

    async def add_execution(
        self, execution: Execution, call_key: str | None, beside: Beside | None = None
    ) -> tuple[Execution, bool]:
        """Commit a new entry of a session's history; its id is given here.

        It stands last, or before or after another entry of its session, or where the entry is that it replaces.
        Returns the entry and True; or, where `call_key` is known already, the entry it made then and False.
        """
        try:
            number = await self._write_all(self._insertion(execution, call_key, beside))
        except sqlite3.IntegrityError:
            found = await self.execution_of_call(call_key or "")
            assert found is not None
            return found, False
        added = replace(execution, id=ExecutionId(number))
        self._tell(added)
        return added, True

    async def add_executions(self, executions: Sequence[Execution], call_keys: Sequence[str]) -> None:
        """Commit new entries, which stand last, all or none; none where the first call key is known already."""
        pairs = zip(executions, call_keys, strict=True)
        statements = [statement for each, key in pairs for statement in self._insertion(each, key, None)]
        with suppress(sqlite3.IntegrityError):
            await self._write_all(statements)
        for execution in executions[-1:]:
            self._tell(execution)

    async def save_execution(self, execution: Execution) -> None:
        """Commit what has become of an entry."""
        values = rows.execution_values(self._kept(execution))
        assignments = ", ".join(f"{name} = ?" for name in values)
        await self.write(f"UPDATE executions SET {assignments} WHERE id = ?", (*values.values(), execution.id))
        self._tell(execution)

    def _insertion(self, entry: Execution, call_key: str | None, beside: Beside | None) -> list[Statement]:
        return rows.insertion(self._kept(entry), call_key, beside) + self._trigrams.take(entry.source)

    def _kept(self, entry: Execution) -> Execution:
        return replace(entry, session=self._names.key(entry.session))

    def _entry(self, row: tuple[Any, ...]) -> Execution:
        entry = rows.execution(row)
        return replace(entry, session=self._names.name(entry.session))

    def _tell(self, entry: Execution) -> None:
        for watcher in self.watchers:
            watcher(entry)

    async def _entries(self, condition: str, *values: Any) -> list[Execution]:
        found = await self.select(f"SELECT {rows.EXECUTION_COLUMNS} FROM executions WHERE {condition}", values)
        return [self._entry(row) for row in found]

    async def execution(self, execution_id: int) -> Execution | None:
        """One entry."""
        return next(iter(await self._entries("id = ?", execution_id)), None)

    async def execution_of_call(self, call_key: str) -> Execution | None:
        """The entry that a call made, if it made one."""
        return next(iter(await self._entries("call_key = ?", call_key)), None)

    async def history(
        self,
        session: SessionName,
        *,
        last: int | None = None,
        containing: str = "",
        begin: ExecutionId | None = None,
        end: ExecutionId | None = None,
    ) -> list[Execution]:
        """A session's entries in order, without those that were replaced; the `last` of them if given.

        `containing` leaves those whose source contains it, whatever the case of its letters; `begin` and `end` leave
        those from one entry's place on, and up to another's.
        """
        key, limit, part = self._names.key(session), -1 if last is None else last, containing.lower()
        bounds = {sign: each for sign, each in ((">=", begin), ("<=", end)) if each is not None}
        between = "".join(f"AND (place, id) {sign} ({rows.STANDS}) " for sign in bounds)
        those, values = f"session = ? AND id NOT IN ({rows.REPLACED}) {between}", (key, key, *bounds.values())
        newest = "ORDER BY place DESC, id DESC LIMIT ?"
        if not part:
            return (await self._entries(those + newest, *values, limit))[::-1]
        near = f"{those} AND place >= ifnull(({rows.NEWEST_PLACE}), -1) AND contains(source, ?) {newest}"
        found = await self._entries(near, *values, key, _NEAR, part, limit)
        if len(found) != limit:
            narrowed = self._trigrams.find(part)
            if narrowed is not None:  # and `+session`, as below
                those, values = f"+{those} AND id IN ({narrowed[0]})", (*values, *narrowed[1])
            found = await self._entries(f"{those} AND contains(source, ?) {newest}", *values, part, limit)
        return found[::-1]

    async def cells(
        self, session: SessionName, kernel_id: KernelId, generation: int, counts: Iterable[int]
    ) -> dict[int, int]:
        """Which entries had these execution counts on one generation of a kernel; the latest, where several had one.

        `+session`: SQLite would read the whole session in order, rather than look up the counts and sort.
        """
        key, known = self._names.key(session), list(counts)
        query = (
            "SELECT execution_count, id FROM executions WHERE kernel_id = ? AND generation = ? AND +session = ? "
            f"AND execution_count IN ({', '.join('?' * len(known))}) AND id NOT IN ({rows.REPLACED}) ORDER BY place, id"
        )
        return dict(await self.select(query, (kernel_id, generation, key, *known, key)))

    async def last_good(self, session: SessionName) -> list[Execution]:
        """What succeeded on the latest generation of a kernel that anything of a session succeeded on, in order."""
        key = self._names.key(session)
        good = (
            f"session = ? AND kind = 'code' AND status = 'ok' AND kernel_id IS NOT NULL AND id NOT IN ({rows.REPLACED})"
        )
        newest = f"SELECT kernel_id, generation FROM executions WHERE {good} ORDER BY place DESC, id DESC LIMIT 1"
        return await self._entries(f"{good} AND (kernel_id, generation) = ({newest}) ORDER BY place, id", *[key] * 4)

    async def replaced(self, session: SessionName) -> dict[ExecutionId, Execution]:
        """The entries of a session that others stand for, by id."""
        found = await self._entries(f"id IN ({rows.REPLACED})", self._names.key(session))
        return {each.id: each for each in found}

    async def entries_of_call(self, prefix: str) -> list[Execution]:
        """The entries whose call keys begin with `prefix`, which ends with a colon, in order."""
        return await self._entries("call_key >= ? AND call_key < ? ORDER BY id", prefix, prefix[:-1] + ";")

    async def unsettled(self) -> list[Execution]:
        """Queued and running entries of all sessions, in order."""
        return await self._entries("status IN ('queued', 'running') ORDER BY id")

    async def settled_on(self, kernel: KernelRecord, last: int) -> list[Execution]:
        """What is over on this generation of a kernel, in order; the `last` of it."""
        those = (
            "kernel_id = ? AND generation = ? AND kind = 'code' AND status NOT IN ('queued', 'running') "
            "ORDER BY id DESC LIMIT ?"
        )
        return (await self._entries(those, kernel.id, kernel.generation, last))[::-1]

    # Calls, see `records.once`

    async def forget_calls(self, older_than_s: float) -> None:
        """Drop answers that nobody can ask for any more."""
        await self.write("DELETE FROM calls WHERE at < ?", (time.time() - older_than_s,))


class _NewerSchemaError(Exception):
    pass


def _connection(path: str, timeout_s: float = 5) -> sqlite3.Connection:
    """A connection that reads text which is none: it would make a whole query fail."""
    connection = sqlite3.connect(path, timeout=timeout_s, check_same_thread=False)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.create_function("contains", 2, _contains, deterministic=True)
    return connection


def _contains(source: Any, part: str) -> bool:
    """As Python folds letters: SQLite's own functions know those of ASCII alone."""
    return part in str(source).lower()
