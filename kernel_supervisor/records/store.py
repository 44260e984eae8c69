"""The file that the records stand in, and their copy in memory for as long as nothing can be written to it.

One thread owns the connection, and lends it to the loop for single commits while it has nothing to do. WAL with
`synchronous=NORMAL`: what is committed survives the death of this process at any line, which is what the promises need;
a power cut may take the last few commits. Where the file does not take a commit (a full disk, another process that
keeps it locked), everything goes on in a copy, `not_recorded` says so, and the copy goes back as soon as the file takes
it: that is looked at beside all calls, and never waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.records import rows
from kernel_supervisor.records.highest import Found, Highest
from kernel_supervisor.records.rows import Statement
from kernel_supervisor.records.schema import MIGRATIONS, SCHEMA
from kernel_supervisor.tasks import Swift, Tasks, happens

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LOCKED_S, _COPY_S = 2.0, 10.0
"""How long another process may keep the file locked before we go on without it, and how long a copy may wait for it."""
_RETURN_S, _PROBE_S = 1.0, 0.05
"""How often it is looked whether the file can be written again, and how long that may take while it cannot."""
_BUSY, _LOCKED = 5, 6  # sqlite3 names them from Python 3.11 on
_LOGGED = 100
"""Commits after which what stands in the log is moved into the file: that waits for the disk."""
_DAMAGED = ("malformed", "not a database", "encrypted")


class Store:
    """A database. Methods may be awaited by any task; they run in order."""

    def __init__(self, path: str, *, before: Sequence[str] = (), on_network: bool = False) -> None:
        """Name the file; nothing is opened before `open`. What stands at a place of `before` is moved there.

        On a network's disk there are no locks to rely on, and no memory to share: our own lock, which is not there,
        keeps others away.
        """
        self._path, self._before, self._on_network = path, before, on_network
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        self._db = _connection(":memory:")  # until it is open
        self._files: list[tuple[int, int] | None]
        self._given, self._giving = 0, threading.Lock()
        self._committing, self._commits = Swift(), 0
        self._tasks, self._closing = Tasks(), asyncio.Event()
        self._on_its_way: asyncio.Task[None] | None = None
        self._highest = Highest(os.path.join(os.path.dirname(path), f"highest-{os.path.basename(path)}"))
        self.forgot = False
        """Whether a predecessor ended whose records were in memory: what came to it then may be in none."""
        self.doubts = False
        """Whether it was the last one: what stands queued here may have been run, or called off, since."""
        self.not_recorded = ""
        """Why the records are only in memory now; empty where they are on the disk."""

    async def open(self) -> None:
        """Open or create the file and bring its schema up to date; where it cannot be written, in memory.

        A file that is damaged or was written by a newer version is moved aside, as the log says, and an
        empty one is started. Raises UnavailableError where what is in it cannot even be read.
        """
        await self.run(self._open)
        self._return_soon()

    async def close(self) -> None:
        """Close the file."""
        self._closing.set()
        await self._tasks.close(_COPY_S)
        await self.run(self._close)
        self._thread.shutdown()

    async def run(self, work: Callable[[], _T]) -> _T:
        """Do what needs the connection, in its thread."""
        with self._giving:
            self._given += 1
        given = self._thread.submit(work)
        given.add_done_callback(self._over)
        return await asyncio.wrap_future(given)

    def _over(self, _: Future[Any]) -> None:
        """Also of what nobody waits for any more."""
        with self._giving:
            self._given -= 1

    async def select(self, query: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows that a query finds."""
        found = await self.run(lambda: self._db.execute(query, tuple(map(rows.stored, values))).fetchall())
        return [tuple(map(rows.restored, row)) for row in found]

    async def write(self, *statements: Statement) -> int:
        """Run statements and commit them together; the last row's number. Raises UnavailableError."""
        at_once = self._commit_at_once(statements)
        if at_once is not None:
            return at_once
        try:
            return await self.run(lambda: self._commit_anywhere(statements))
        finally:
            self._return_soon()

    def _commit_at_once(self, statements: Sequence[Statement]) -> int | None:
        """Commit on the loop, which takes a tenth of what a thread makes of it; None where that would wait: for the
        thread, for another process that has the file locked, for a disk."""
        self._commits += 1
        if self._commits >= _LOGGED:
            self._commits = 0
            self._tasks.begin(self.run(self._move_log), "moving the log of the records into their file")
        if self._given or self.not_recorded or self._on_network or not self._committing.is_swift:
            return None
        try:
            self._db.execute("PRAGMA busy_timeout = 0")
            return self._committing.do(lambda: self._commit(statements))
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error:  # the thread finds out what it is, and what to do
            return None
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {_LOCKED_S * 1e3:.0f}")

    def _move_log(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _commit_anywhere(self, statements: Sequence[Statement]) -> int:
        """In memory, where the file does not take it."""
        try:
            return self._commit(statements)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            self._go_to_memory(error)
            return self._commit(statements)

    def _commit(self, statements: Sequence[Statement]) -> int:
        number, added = 0, False
        with self._db:
            for statement, values in statements:
                number = self._db.execute(statement, tuple(map(rows.stored, values))).lastrowid or 0
                added = added or statement.startswith(rows.ADDS_ENTRY)
        if added or self.not_recorded:
            self._note_highest()
        return number

    def _note_highest(self) -> None:
        """Write down which number was given last, for whoever finds these records gone, or older than that."""
        number, in_memory = self._db.execute(rows.HIGHEST).fetchone()[0], bool(self.not_recorded)
        self._highest.write(Found(in_memory or self.forgot, in_memory or self.doubts, number))

    async def believe(self) -> None:
        """What stands here is so from now on."""
        self.doubts = False
        await self.run(self._note_highest)

    # To memory, and back

    async def keep(self) -> None:
        """Where the file was removed, make another of what was in it."""
        await self.run(self._look)
        self._return_soon()

    def _look(self) -> None:
        if not self.not_recorded and _files(self._path) != self._files:
            self._go_to_memory(sqlite3.OperationalError("the file was removed"))

    def _go_to_memory(self, error: sqlite3.Error) -> None:
        """Go on in memory, with all that was committed so far. Raises UnavailableError where that cannot be read."""
        if self.not_recorded:
            raise error
        log.error("the records cannot be written to %s: %s; they are kept in memory", self._path, error)
        memory = _connection(":memory:")
        try:
            _copy(self._db, memory)
        except sqlite3.Error as unreadable:
            memory.close()
            raise UnavailableError(f"the records at {self._path} cannot be read: {unreadable}") from error
        self._db.close()
        self._db, self.not_recorded = memory, f"the records cannot be written to {self._path}: {error}"

    def _return_soon(self) -> None:
        if self.not_recorded and (self._on_its_way is None or self._on_its_way.done()):
            self._on_its_way = self._tasks.begin(self._return(), "the way of the records back to the disk")

    async def _return(self) -> None:
        while self.not_recorded and not await happens(self._closing, _RETURN_S):
            await self.run(self._return_to_disk)

    def _return_to_disk(self) -> None:
        """Write the copy back, in one transaction, if the file takes it."""
        try:
            with closing(self._connection(_PROBE_S)) as probe:
                probe.execute("BEGIN EXCLUSIVE")
                probe.execute("CREATE TABLE IF NOT EXISTS probe (written)")
                probe.rollback()
        except sqlite3.Error as error:
            log.debug("the records cannot be written yet: %s", error)
            if not self._is_damaged(error):
                return
            try:
                self._set_aside(error)
            except UnavailableError as stays:
                log.debug("%s", stays)
                return
        disk = self._connection(_LOCKED_S)
        try:
            _copy(self._db, disk)
            self._prepare(disk)
        except sqlite3.Error as error:
            log.info("the records cannot be written yet: %s", error)
            disk.close()
            return
        self._db.close()
        self._db, self._files, self.not_recorded = disk, _files(self._path), ""
        self._note_highest()
        log.info("the records are on the disk again")

    def _close(self) -> None:
        if self.not_recorded:
            self._return_to_disk()
        if self.forgot and not self.not_recorded:
            self.forgot = False  # whoever asked again has been answered, or is gone
            self._note_highest()
        self._db.close()

    # Opening

    def _connection(self, timeout_s: float) -> sqlite3.Connection:
        if not self._on_network:
            return _connection(self._path, timeout_s)
        return _connection(f"{Path(self._path).as_uri()}?nolock=1", timeout_s, uri=True)

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA journal_mode = {'TRUNCATE' if self._on_network else 'WAL'}")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute("SELECT 1 FROM sqlite_master").fetchone()  # so that the log is there

    def _open(self) -> None:
        self._move_here()
        if self._on_network and os.path.exists(self._path):
            with contextlib.suppress(sqlite3.Error), closing(_connection(self._path, _LOCKED_S)) as db:
                db.execute("PRAGMA journal_mode = TRUNCATE")  # a disk that was local before
        found = self._highest.read()
        self._open_anywhere()
        self.forgot, self.doubts = found.forgot, found.doubts  # only of what is open: what is not has nothing to note
        self._commit_anywhere(rows.reserving(found.number))
        self._note_highest()

    def _open_anywhere(self) -> None:
        try:
            self._connect()
        except (sqlite3.DatabaseError, _NewerSchemaError) as error:
            if isinstance(error, _NewerSchemaError) or self._is_damaged(error):
                self._set_aside(error)
                self._connect()
            else:
                self._open_in_memory(error)

    def _move_here(self) -> None:
        """Have what stands at an earlier place here, whole or not at all; where it cannot be moved, go on there."""
        found = [each for each in self._before if os.path.exists(each)]
        if not found or os.path.exists(self._path):
            return
        aside = f"{self._path}.new"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)
            with closing(_connection(found[0], _LOCKED_S)) as source, closing(_connection(aside)) as target:
                _copy(source, target)
                target.execute("PRAGMA journal_mode = DELETE")  # the copy has the other's, which this disk may not take
            os.replace(aside, self._path)
        except (sqlite3.Error, OSError) as error:
            log.error("the records cannot be moved from %s: %s", found[0], error)
            self._path, self._on_network = found[0], False
            return
        log.info("the records were moved from %s to %s", found[0], self._path)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(found[0] + suffix)

    def _is_damaged(self, error: Exception) -> bool:
        """Whether what stands there will never be taken: it is no database, or no file at all."""
        is_no_file = os.path.exists(self._path) and not os.path.isfile(self._path)
        return is_no_file or any(word in str(error) for word in _DAMAGED)

    def _set_aside(self, error: Exception) -> None:
        """Move what cannot be used out of the way. Raises UnavailableError where it stays."""
        aside = f"{self._path}.set-aside-{time.strftime('%Y%m%d-%H%M%S')}"
        try:
            for suffix in ("", "-wal", "-shm"):
                if os.path.exists(self._path + suffix):
                    os.replace(self._path + suffix, aside + suffix)
        except OSError as stays:
            why = f"the records at {self._path} cannot be used ({error}), nor be moved out of the way: {stays.strerror}"
            raise UnavailableError(why) from stays
        log.error("the records cannot be used (%s) and were moved to %s", error, aside)

    def _connect(self) -> None:
        self._db.close()
        self._db = self._connection(_LOCKED_S)
        try:
            self._prepare(self._db)
            self._bring_up_to_date()
            self._files = _files(self._path)
        except BaseException:
            self._db.close()
            raise

    def _bring_up_to_date(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise _NewerSchemaError(f"they have schema {version}, this version knows {SCHEMA}")
        for number in range(version, SCHEMA):
            self._db.executescript(f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
        try:
            self._complete(self._db)
        except sqlite3.OperationalError as error:  # a full disk, at the first start of this version
            self._go_to_memory(error)
            self._complete(self._db)

    def _complete(self, db: sqlite3.Connection) -> None:
        """Add to an open database what came later, and read what is always at hand."""
        raise NotImplementedError

    def _open_in_memory(self, error: sqlite3.DatabaseError) -> None:
        """Begin with what stands in a file that cannot be written, if there is one. Raises UnavailableError."""
        self._db = _connection(":memory:")
        try:
            if os.path.exists(self._path) and os.path.getsize(self._path):
                self._read_what_stands_there()
            self._bring_up_to_date()
        except (sqlite3.Error, _NewerSchemaError) as unreadable:
            raise UnavailableError(f"the records at {self._path} cannot be opened: {error}") from unreadable
        log.error("the records cannot be written to %s: %s; they are kept in memory", self._path, error)
        self.not_recorded = f"the records cannot be written to {self._path}: {error}"

    def _read_what_stands_there(self) -> None:
        """Copy a file that cannot be written. The index of its latest commits may have to grow, and have no room on
        the disk: who has the file for itself keeps that in memory (https://sqlite.org/wal.html#noshm)."""
        try:
            with closing(_readable(self._path)) as disk:
                _copy(disk, self._db)
        except sqlite3.OperationalError:
            with closing(_connection(self._path, _LOCKED_S)) as disk:
                disk.execute("PRAGMA locking_mode = EXCLUSIVE")
                disk.execute("SELECT 1 FROM sqlite_master").fetchone()
                _copy(disk, self._db)


class _NewerSchemaError(Exception):
    pass


def _files(path: str) -> list[tuple[int, int] | None]:
    """Which files stand at a database's path and at its log's, in which the latest commits are."""
    found: list[tuple[int, int] | None] = []
    for each in (path, f"{path}-wal"):
        try:
            status = os.stat(each)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found


def _readable(path: str) -> sqlite3.Connection:
    """A database that cannot be written: also without its index of the log, where nothing stands in that."""
    try:
        has_log = os.path.getsize(f"{path}-wal") > 0
    except FileNotFoundError:
        has_log = False
    return _connection(f"{Path(path).as_uri()}?mode=ro{'' if has_log else '&immutable=1'}", _LOCKED_S, uri=True)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """All pages, in one transaction. Raises sqlite3.Error where one stays locked, for which `backup` waits for ever."""
    end = time.monotonic() + _COPY_S

    def look(status: int, remaining: int, total: int) -> None:
        if status in (_BUSY, _LOCKED) and time.monotonic() > end:
            raise sqlite3.OperationalError("database is locked")

    source.backup(target, progress=look)


def _connection(path: str, timeout_s: float = 5, *, uri: bool = False) -> sqlite3.Connection:
    """A connection that reads text which is none: it would make a whole query fail."""
    connection = sqlite3.connect(path, timeout=timeout_s, check_same_thread=False, uri=uri)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.create_function("contains", 2, _contains, deterministic=True)
    return connection


def _contains(source: Any, part: str) -> bool:
    """As Python folds letters: SQLite's own functions know those of ASCII alone."""
    return part in str(source).lower()
