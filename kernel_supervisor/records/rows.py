"""Rows of the records' tables, and the values that they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kernel_supervisor.core.model import (
    Beside,
    Execution,
    ExecutionId,
    Interpreter,
    KernelRecord,
    ProcessIdentity,
    Region,
    SessionRecord,
)

Statement = tuple[str, Iterable[Any]]
"""A statement of SQL, and what its question marks stand for."""
SESSION_COLUMNS = "name, directory, kernel_id, previous_kernel_id, created_at, notebooks, autosave, notice, loaded"
EXECUTION_COLUMNS = (
    "id, session, kernel_id, generation, msg_id, kind, source, status, execution_count, client, queued_at, "
    "started_at, finished_at, log, log_start, log_end, reason, replaces"
)
_LAST_PLACE = "(SELECT coalesce(max(place), 0) + 1 FROM executions WHERE session = ?)"
USED_KERNELS = "SELECT kernel_id FROM executions WHERE kernel_id IS NOT NULL"
_FILES = """
    SELECT log AS file FROM executions WHERE session {0} AND log IS NOT NULL
    UNION SELECT json_extract(record, '$.message_log') FROM kernels WHERE session {0}
    UNION SELECT json_extract(record, '$.standard_error') FROM kernels WHERE session {0}"""
FILES_OF_ONE = (
    f"SELECT file FROM ({_FILES.format('= ?1')} EXCEPT SELECT file FROM ({_FILES.format('<> ?1')})) WHERE file <> ''"
)
REPLACED = "SELECT replaces FROM executions WHERE session = ? AND replaces IS NOT NULL"


def session_values(session: SessionRecord) -> tuple[Any, ...]:
    """The values of SESSION_COLUMNS."""
    return (
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


def session(row: tuple[Any, ...]) -> SessionRecord:
    """The session of a row of SESSION_COLUMNS."""
    name, directory, kernel_id, previous, created_at, notebooks, autosave, notice, loaded = row
    return SessionRecord(
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


def insertion(execution: Execution, call_key: str | None, beside: Beside | None) -> list[Statement]:
    """The statements that put an entry in its place. Where its call key is known, they fail together."""
    values = execution_values(execution)
    insert = f"INSERT INTO executions (call_key, {EXECUTION_COLUMNS}, place) VALUES (?{', ?' * 18}, %s)"
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


def kernel(text: str) -> KernelRecord:
    """The kernel of a `record` column."""
    record = json.loads(text)
    interpreter = record.pop("interpreter")
    process = record.pop("process")
    interpreter["argv"] = tuple(interpreter["argv"])
    return KernelRecord(
        interpreter=Interpreter(**interpreter),
        process=ProcessIdentity(**process) if process else None,
        **record,
    )


def execution_values(execution: Execution) -> tuple[Any, ...]:
    """The values of EXECUTION_COLUMNS."""
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


def execution(row: tuple[Any, ...]) -> Execution:
    """The entry of a row of EXECUTION_COLUMNS."""
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
