"""The records: sessions, kernels, executions and calls in SQLite, committed before anything takes effect."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from kernel_supervisor.core.model import (
    Beside,
    Execution,
    ExecutionId,
    KernelId,
    KernelRecord,
    ProcessIdentity,
    SessionName,
    SessionRecord,
)
from kernel_supervisor.records import rows
from kernel_supervisor.records.names import Names
from kernel_supervisor.records.rows import Statement
from kernel_supervisor.records.schema import complete
from kernel_supervisor.records.store import Store
from kernel_supervisor.records.trigrams import Trigrams

_NEAR = 100
"""How many of the newest entries are looked at before an index is asked, which knows nothing of their order."""


class Database(Store):
    """The records of one supervisor."""

    def __init__(self, path: str, *, before: Sequence[str] = (), on_network: bool = False) -> None:
        """As `Store` has it."""
        super().__init__(path, before=before, on_network=on_network)
        self._names: Names
        self._trigrams: Trigrams
        self.watchers: list[Callable[[Execution], None]] = []
        """Called on the loop with each entry that was committed, new or changed."""

    def _complete(self, db: sqlite3.Connection) -> None:
        complete(db)
        self._names = Names(db)
        self._trigrams = Trigrams(db)

    # Sessions

    async def save_session(self, session: SessionRecord) -> None:
        """Insert or replace."""
        beside = self._names.keep(session)
        values = rows.session_values(replace(session, name=self._names.key(session.name)))
        await self.write(rows.replacing("sessions", values), beside)

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

    async def logs_of_sessions(self) -> list[tuple[SessionName, str]]:
        """The message logs that entries of sessions stand in, each with each session that has some there."""
        found = await self.select("SELECT DISTINCT session, log FROM executions WHERE log IS NOT NULL")
        return [(self._names.name(session), str(log)) for session, log in found]

    async def kernels_of_sessions(self) -> list[tuple[SessionName, KernelId]]:
        """All kernels, living and ended, each with the session that it was started for."""
        found = await self.select("SELECT session, id FROM kernels")
        return [(self._names.name(session), KernelId(str(kernel_id))) for session, kernel_id in found]

    async def ends_of_kernels(self) -> dict[SessionName, float]:
        """When the last kernel of each session ended that did, in seconds since the epoch."""
        found: dict[SessionName, float] = {}
        for name, at in await self.select(rows.ENDS):
            if isinstance(at, int | float):
                session = self._names.name(name)
                found[session] = max(found.get(session, 0.0), float(at))
        return found

    async def told(self) -> dict[SessionName, float]:
        """Since when people are told that a session's history goes, in seconds since the epoch."""
        found = await self.select("SELECT session, at FROM told")
        return {self._names.name(session): float(at) for session, at in found if isinstance(at, int | float)}

    async def tell(self, session: SessionName, at: float) -> None:
        """Commit that people are told of a session from now on."""
        await self.write(rows.replacing("told", {"session": self._names.key(session), "at": at}))

    async def forget_session(self, session: SessionName) -> None:
        """Delete a session with its entries, and its kernels that no other session's entries name."""
        key = self._names.key(session)
        await self.write(
            *self._trigrams.forget(key),
            ("DELETE FROM executions WHERE session = ?", (key,)),
            (f"DELETE FROM kernels WHERE session = ? AND id NOT IN ({rows.USED_KERNELS})", (key,)),
            ("DELETE FROM sessions WHERE name = ?", (key,)),
            ("DELETE FROM told WHERE session = ?", (key,)),
            self._names.forget(session),
        )

    # Kernels

    async def save_kernel(self, kernel: KernelRecord) -> None:
        """Insert or replace."""
        values = rows.kernel_values(replace(kernel, session=self._names.key(kernel.session)))
        await self.write(rows.replacing("kernels", values))

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

    # Processes that stand by to become kernels: none is there that nobody knows

    async def save_spare(self, spare: str, process: ProcessIdentity | None = None) -> None:
        """Commit one: before it is started without its process, and again with it."""
        known = json.dumps(asdict(process)) if process is not None else ""
        await self.write(rows.replacing("spares", {"id": spare, "process": known}))

    async def forget_spare(self, spare: str) -> None:
        """It is gone, or a kernel."""
        await self.write(("DELETE FROM spares WHERE id = ?", (spare,)))

    async def spares(self) -> dict[str, ProcessIdentity | None]:
        """Those on record, by their ids; without a process where it is not known, or cannot be read."""
        found = await self.select("SELECT id, process FROM spares")
        return {str(spare): rows.identity(known) for spare, known in found}

    # Executions

    async def add_execution(
        self, execution: Execution, call_key: str | None, beside: Beside | None = None
    ) -> tuple[Execution, bool]:
        """Commit a new entry of a session's history; its id is given here.

        It stands last, or before or after another entry of its session, or where the entry is that it replaces.
        Returns the entry and True; or, where `call_key` is known already, the entry it made then and False.
        """
        try:
            number = await self.write(*self._insertion(execution, call_key, beside))
        except sqlite3.IntegrityError:
            found = await self.execution_of_call(call_key or "")
            assert found is not None
            return found, False
        added = replace(execution, id=ExecutionId(number))
        self._tell(added)
        return added, True

    async def restore_execution(self, execution: Execution, call_key: str | None) -> Execution | None:
        """Commit an entry that stands in a log and not here, under the number that it was given if nobody else has it.

        None where it is known, by its message or its call.
        """
        known = await self._entries("msg_id = ? OR call_key = ?", execution.msg_id, call_key)
        for wanted in () if known else (execution.id or None, None):
            with suppress(sqlite3.IntegrityError):
                number = await self.write(*self._insertion(execution, call_key, None, wanted))
                restored = replace(execution, id=ExecutionId(number))
                self._tell(restored)
                return restored
        return None

    async def save_begun(self, execution: Execution) -> None:
        """Commit what a log has of an entry that stands queued here: it began while nothing could be committed."""
        for known in await self._entries("msg_id = ? AND status = 'queued'", execution.msg_id):
            await self.save_execution(replace(execution, id=known.id, session=known.session, replaces=known.replaces))

    async def ends_in_logs(self, logs: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Where in each of these message logs the last entry begins that is known, and where it ends."""
        last = "SELECT log_start, log_end FROM executions WHERE log = ? ORDER BY log_start DESC LIMIT 1"

        def look() -> dict[str, tuple[int, int]]:
            found = {log: self._db.execute(last, (rows.stored(log),)).fetchone() or (0, 0) for log in logs}
            return {log: each if all(type(at) is int for at in each) else (0, 0) for log, each in found.items()}

        return await self.run(look)

    async def reserve(self, number: int) -> None:
        """Give no entry a number up to this one any more."""
        await self.write(*rows.reserving(number))

    async def add_executions(self, executions: Sequence[Execution], call_keys: Sequence[str]) -> None:
        """Commit new entries, which stand last, all or none; none where the first call key is known already."""
        pairs = zip(executions, call_keys, strict=True)
        statements = [statement for each, key in pairs for statement in self._insertion(each, key, None)]
        with suppress(sqlite3.IntegrityError):
            await self.write(*statements)
        for execution in executions[-1:]:
            self._tell(execution)

    async def save_execution(self, execution: Execution) -> None:
        """Commit what has become of an entry."""
        values = rows.execution_values(self._kept(execution))
        assignments = ", ".join(f"{name} = ?" for name in values)
        await self.write((f"UPDATE executions SET {assignments} WHERE id = ?", (*values.values(), execution.id)))
        self._tell(execution)

    def _insertion(
        self, entry: Execution, call_key: str | None, beside: Beside | None, number: int | None = None
    ) -> list[Statement]:
        return rows.insertion(self._kept(entry), call_key, beside, number) + self._trigrams.take(entry.source)

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

    async def last_run(self, session: SessionName) -> Execution | None:
        """What was begun last of a session."""
        those = "session = ? AND kind = 'code' AND kernel_id IS NOT NULL AND started_at IS NOT NULL"
        newest = f"{those} ORDER BY place DESC, id DESC LIMIT 1"
        return next(iter(await self._entries(newest, self._names.key(session))), None)

    async def worked_in(self, session: SessionName, client_id: str) -> bool:
        """Whether a call of that client made an entry of a session."""
        mine = "SELECT 1 FROM executions WHERE call_key >= ? AND call_key < ? AND +session = ? LIMIT 1"
        return bool(await self.select(mine, (f"{client_id}:", f"{client_id};", self._names.key(session))))

    async def replaced(self, session: SessionName) -> dict[ExecutionId, Execution]:
        """The entries of a session that others stand for, by id."""
        found = await self._entries(f"id IN ({rows.REPLACED})", self._names.key(session))
        return {each.id: each for each in found}

    async def entry_of_message(self, msg_id: str) -> Execution | None:
        """The entry that a request was sent for."""
        return next(iter(await self._entries("msg_id = ? LIMIT 1", msg_id)), None)

    async def entries_of_call(self, prefix: str) -> list[Execution]:
        """The entries whose call keys begin with `prefix`, which ends with a colon, in order."""
        return await self._entries("call_key >= ? AND call_key < ? ORDER BY id", prefix, prefix[:-1] + ";")

    async def unsettled(self) -> list[Execution]:
        """Queued and running entries of all sessions, in order."""
        return await self._entries("status IN ('queued', 'running') ORDER BY id")

    async def latest(self, session: SessionName) -> int:
        """The number of a session's entry that was added last; 0 where there is none."""
        found = await self.select("SELECT max(id) FROM executions WHERE session = ?", (self._names.key(session),))
        return int(found[0][0] or 0)

    async def entries_behind(self, session: SessionName, number: int, most: int) -> list[Execution]:
        """The first entries of a session that were added behind one, in that order."""
        those = "session = ? AND id > ? ORDER BY id LIMIT ?"
        return await self._entries(those, self._names.key(session), number, most)

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
        await self.write(("DELETE FROM calls WHERE at < ?", (time.time() - older_than_s,)))
