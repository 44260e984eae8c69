"""Rows of the records' tables, and the values that they stand for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from types import NoneType
from typing import Any, get_args

from kernel_supervisor.core.model import (
    DAMAGED,
    Beside,
    EntryKind,
    Execution,
    ExecutionStatus,
    Interpreter,
    KernelId,
    KernelRecord,
    ProcessIdentity,
    Region,
    SessionName,
    SessionRecord,
)

Statement = tuple[str, Iterable[Any]]
"""A statement of SQL, and what its question marks stand for."""
SESSION_COLUMNS = "name, directory, kernel_id, created_at, notebooks, autosave, notice, loaded, checkpoints"
EXECUTION_COLUMNS = (
    "id, session, kernel_id, generation, msg_id, kind, source, status, execution_count, client, queued_at, "
    "started_at, finished_at, log, log_start, log_end, reason, replaces, unrecorded, interrupted"
)
_LAST_PLACE = "(SELECT coalesce(max(place), 0) + 1 FROM executions WHERE session = ?)"
USED_KERNELS = "SELECT kernel_id FROM executions WHERE kernel_id IS NOT NULL"
KERNEL_COLUMNS = "id, session, record, missing, connection"
_BY_ANNOTATION: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("str", "KernelId", "SessionName", "EntryKind", "ExecutionStatus"), (str,)),
    **dict.fromkeys(("KernelId | None", "MessageId | None"), (str, NoneType)),
    **dict.fromkeys(("int", "ExecutionId"), (int,)),
    **dict.fromkeys(("int | None", "ExecutionId | None"), (int, NoneType)),
    **dict.fromkeys(("Mapping[str, str]", "Mapping[str, Any]", "Interpreter"), (dict,)),
    "float": (int, float),
    "float | None": (int, float, NoneType),
    "bool": (bool,),
    "tuple[str, ...]": (list,),
    "ProcessIdentity | None": (dict, NoneType),
    "Region | None": (Region, NoneType),
}
"""What the database and JSON give for a field of one of our values, by the field's annotation."""
_TYPES: dict[type, dict[str, tuple[type, ...]]] = {
    kind: {each.name: _BY_ANNOTATION[str(each.type)] for each in fields(kind)}
    for kind in (SessionRecord, KernelRecord, Interpreter, ProcessIdentity, Execution)
}
_KNOWN: dict[str, tuple[str, ...]] = {"kind": get_args(EntryKind), "status": get_args(ExecutionStatus)}
_INTEGERS = range(-(1 << 63), 1 << 63)
"""Those that the database takes."""
_MOMENTS = (-62_135_510_400.0, 253_402_214_400.0)
"""Between which a number of seconds is a date in every time zone."""
LAST_ENTRIES = """
    SELECT session, count(*), max(
        max(CASE WHEN queued_at BETWEEN {0} AND {1} THEN queued_at ELSE 0 END),
        max(CASE WHEN finished_at BETWEEN {0} AND {1} THEN finished_at ELSE 0 END))
    FROM executions GROUP BY session""".format(*_MOMENTS)
"""By session, how many entries it has and when the last one was made, by those that tell."""
ADDS_ENTRY = "INSERT INTO executions "
HIGHEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'executions'"
_RESERVE = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'executions', ? "
    "WHERE ? > 0 AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'executions')",
    "UPDATE sqlite_sequence SET seq = ? WHERE name = 'executions' AND seq < ?",
)
ENDS = """
    SELECT session, CASE WHEN json_valid(record) THEN json_extract(record, '$.ended_at') END
    FROM kernels WHERE ended"""
NEWEST_PLACE = "SELECT place FROM executions WHERE session = ? ORDER BY place DESC LIMIT 1 OFFSET ?"
STANDS = "SELECT place, id FROM executions WHERE id = ?"
REPLACED = "SELECT replaces FROM executions WHERE session = ? AND replaces IS NOT NULL"


def stored(value: Any) -> Any:
    """What SQLite takes: text with halves of surrogate pairs, as in a folder's name that is not UTF-8, as bytes."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    return value


def restored(value: Any) -> Any:
    """What was stored."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def replacing(table: str, values: Mapping[str, Any]) -> Statement:
    """The statement that puts a row with these columns into a table, in the place of the one with its key."""
    return f"INSERT OR REPLACE INTO {table} ({', '.join(values)}) VALUES ({_marks(values)})", values.values()


def reserving(number: int) -> list[Statement]:
    """The statements after which no entry is given a number up to this one any more."""
    return [(statement, (number, number)) for statement in _RESERVE]


def _marks(values: Mapping[str, Any]) -> str:
    return ", ".join("?" * len(values))


def session_values(session: SessionRecord) -> dict[str, Any]:
    """The columns of a session."""
    values = {name: getattr(session, name) for name in SESSION_COLUMNS.split(", ")}
    return {**values, "notebooks": json.dumps(dict(session.notebooks))}


def session(row: tuple[Any, ...]) -> SessionRecord | None:
    """The session of a row of SESSION_COLUMNS; without what is odd in it, which it says. None where it has no name."""
    given = _by_name(SESSION_COLUMNS, row)
    if not isinstance(given["name"], str):
        return None
    given["notebooks"] = _paths(given["notebooks"])
    fitting, odd = _sorted_out(SessionRecord, given)
    if odd:
        told = f"the record of session {given['name']} is damaged, and was taken without its {', '.join(odd)}"
        fitting["notice"] = "; ".join(filter(None, (fitting.get("notice"), told)))
    return SessionRecord(**{"directory": "", **fitting})


def _paths(text: Any) -> Any:
    """The object of texts that a column holds as JSON; the column itself where it holds something else."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text
    return found if isinstance(found, dict) and all(isinstance(each, str) for each in found.values()) else text


def insertion(
    execution: Execution, call_key: str | None, beside: Beside | None, number: int | None = None
) -> list[Statement]:
    """The statements that put an entry in its place, under a `number` if it is to have that.

    Where its call key or its number is known, they fail together.
    """
    values = {"call_key": call_key, **execution_values(execution)}
    if number:
        values["id"] = number
    insert = f"{ADDS_ENTRY}({', '.join(values)}, place) VALUES ({_marks(values)}, %s)"
    of_entry = "(SELECT place FROM executions WHERE id = ?)"
    if execution.replaces is not None:
        return [(insert % of_entry, (*values.values(), execution.replaces))]
    if beside is None:
        return [(insert % _LAST_PLACE, (*values.values(), execution.session))]
    shift = f"UPDATE executions SET place = place + 1 WHERE session = ? AND place >{'=' if beside.before else ''} "
    step = -1 if beside.before else 1  # of the place that the entry beside it has by then
    return [
        (shift + of_entry, (execution.session, beside.entry)),
        (insert % f"{of_entry} + {step}", (*values.values(), beside.entry)),
    ]


def kernel_values(kernel: KernelRecord) -> dict[str, Any]:
    """The columns of a kernel."""
    record = asdict(kernel)
    beside = {"missing": record.pop("missing"), "connection": record.pop("connection"), "ended": kernel.ended}
    return {"id": kernel.id, "session": kernel.session, "record": json.dumps(record), **beside}


def kernel(row: tuple[Any, ...]) -> KernelRecord:
    """The kernel of a row of KERNEL_COLUMNS. What a later version may have added to it is passed over.

    One whose record is damaged counts as ended: nobody can find it again.
    """
    kernel_id, session_name, text, missing, connection = row
    try:
        return replace(_understood(kernel_id, text), missing=str(missing), connection=str(connection))
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        return KernelRecord(
            id=KernelId(str(kernel_id)),
            session=SessionName(str(session_name)),
            generation=0,
            interpreter=Interpreter(name="not known", kind=DAMAGED, argv=()),
            connection_file="",
            directory="",
            channel_identity="",
            ended_at=0.0,
            end_reason=f"the kernel cannot be found: its record is damaged ({error}). If it runs, it was left running",
        )


def _understood(kernel_id: Any, text: Any) -> KernelRecord:
    """Raises ValueError, TypeError, LookupError."""
    given = _fields(KernelRecord, json.loads(text))
    interpreter, process = _fields(Interpreter, given["interpreter"]), given.get("process")
    if given["id"] != kernel_id or not all(isinstance(word, str) for word in interpreter["argv"]):
        raise ValueError(f"id {given['id']!r:.80}, argv {interpreter['argv']!r:.80}")
    _check_own(given, interpreter)
    given["interpreter"] = Interpreter(**{**interpreter, "argv": tuple(interpreter["argv"])})
    given["process"] = ProcessIdentity(**_fields(ProcessIdentity, process)) if process is not None else None
    return KernelRecord(**given)


def identity(text: Any) -> ProcessIdentity | None:
    """The process of a column; None where it is not known, or cannot be read."""
    try:
        return ProcessIdentity(**_fields(ProcessIdentity, json.loads(text)))
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def _check_own(given: Mapping[str, Any], interpreter: Mapping[str, Any]) -> None:
    """Refuse what no kernel of ours has: no command, or another's files, which two would take for their own."""
    if not given.get("owned", True):
        return
    files = {given["connection_file"].rpartition("/")[2]} - {"", f"{given['id']}.json"}
    if files or not interpreter["argv"]:
        raise ValueError(f"connection_file {given['connection_file']!r:.80}, argv {interpreter['argv']!r:.80}")


def _fields(kind: type, given: Any) -> dict[str, Any]:
    """What is in `given` of the fields of a dataclass. Raises ValueError where one is of a wrong type."""
    fitting, odd = _sorted_out(kind, given) if isinstance(given, dict) else ({}, [f"{given!r:.80}"])
    if odd:
        raise ValueError(", ".join(odd))
    return fitting


def _by_name(columns: str, row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(columns.split(", "), row, strict=True))


def _sorted_out(kind: type, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values in `given` that fit the fields of a dataclass, and those that do not, in words."""
    present = {name: types for name, types in _TYPES[kind].items() if name in given}
    fitting = {name: given[name] for name, types in present.items() if _fits(given[name], types)}
    return fitting, [f"{name} {given[name]!r:.80}" for name in present if name not in fitting]


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a value is of one of these types, and can be meant; True is no number."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        return False
    if float in types:
        return not isinstance(value, int | float) or _MOMENTS[0] <= value <= _MOMENTS[1]
    return not isinstance(value, int) or value in _INTEGERS


def execution_values(execution: Execution) -> dict[str, Any]:
    """The columns of an entry but its id; those of its region are empty where it has none."""
    values = {name: getattr(execution, name, None) for name in EXECUTION_COLUMNS.split(", ")[1:]}
    values["interrupted"] = int(execution.status == "interrupted")
    if execution.status == "interrupted":
        values["status"] = "error"  # as earlier versions know it
    if execution.region is not None:
        values.update(log=execution.region.log, log_start=execution.region.start, log_end=execution.region.end)
    count = execution.execution_count
    if count is not None and not (isinstance(count, int) and count in _INTEGERS):  # a range looks for others in turn
        too_large = f"its execution count is too large to be recorded: {str(count)[:40]}"
        values.update(execution_count=None, reason="; ".join(filter(None, (execution.reason, too_large))))
    return values


def execution(row: tuple[Any, ...]) -> Execution:
    """The entry of a row of EXECUTION_COLUMNS; without what is odd in it, which it says.

    A damaged one that was not over counts as lost: it is never run on a guess.
    """
    given = _by_name(EXECUTION_COLUMNS, row)
    given["region"] = _region(given["log"], given["log_start"], given["log_end"])
    if given["status"] == "error" and given["interrupted"] == 1:
        given["status"] = "interrupted"
    fitting, odd = _sorted_out(Execution, given)
    for name, known in _KNOWN.items():
        if name in fitting and fitting[name] not in known:
            odd.append(f"{name} {fitting.pop(name)!r:.80}")
    entry = Execution(**{"session": SessionName(""), "source": "", "kind": "code", "status": "lost", **fitting})
    if not odd:
        return entry
    reason = "; ".join(filter(None, (entry.reason, f"its record is damaged: {', '.join(odd)}")))
    return replace(entry, status=entry.status if entry.settled else "lost", reason=reason)


def _region(log: Any, start: Any, end: Any) -> Any:
    """Where an entry's messages are; what cannot be a place as it is."""
    if log is None:
        return None
    fits = isinstance(log, str) and isinstance(start, int) and isinstance(end, int)
    return Region(log=log, start=start, end=end) if fits and 0 <= start <= end else (log, start, end)
