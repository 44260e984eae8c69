"""A notebook that exists as a session's history, and its cells run."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

from kernel_supervisor.core.model import Execution, ExecutionId, Message, Region, SessionRecord
from kernel_supervisor.notebooks.document import WIDGET_STATE
from kernel_supervisor.notebooks.history import LOADED_CELL
from kernel_supervisor.notebooks.loading import Loaded, LoadedCell, load_notebook, messages_of
from kernel_supervisor.outputs.area import errors_of
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message
from kernel_supervisor.records.recording import new_msg_id
from kernel_supervisor.running import reading
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import apart

_METADATA = "loaded_notebook"
"""The type of the message, of our own, with which the log of a loaded notebook begins."""


async def load(
    supervisor: Supervisor, session: SessionRecord, path: Path, client: str, call_key: str
) -> list[Execution]:
    """Add a notebook's cells to the end of a session's history, as they stand; once for each call.

    Raises RefusedError for what is no notebook, UnavailableError where it cannot be read.
    """
    session = await supervisor.sessions.keep(session)
    keys = f"{call_key}:load:"
    known = await supervisor.records.entries_of_call(keys)
    if known:
        return known
    loaded = await apart("documents", load_notebook, path)
    log = os.path.join(supervisor.paths.logs, f"loaded-{secrets.token_hex(6)}.messages")
    entries = await apart("documents", _write_log, session, loaded, log, client)
    await supervisor.sessions.change(session.name, loaded=log)
    await supervisor.records.add_executions(entries, [f"{keys}{number}" for number in range(len(entries))])
    return await supervisor.records.entries_of_call(keys)


def _write_log(session: SessionRecord, loaded: Loaded, log: str, client: str) -> list[Execution]:
    """Write the messages of all cells, and before them the metadata, with that of what was loaded earlier."""
    metadata = _merged(metadata_of(session.loaded), loaded.metadata)
    writer = MessageLogWriter(Path(log))
    try:
        header = {"msg_id": new_msg_id(), "msg_type": _METADATA, "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": metadata}
        writer.append(encode_message("iopub", message))
        return [_entry(session, cell, writer, log, client) for cell in loaded.cells]
    finally:
        writer.close()


def _entry(session: SessionRecord, cell: LoadedCell, writer: MessageLogWriter, log: str, client: str) -> Execution:
    msg_id, start = new_msg_id(), os.path.getsize(log)
    for message in messages_of(cell, msg_id=msg_id):
        writer.append(encode_message("iopub", message))
    return Execution(
        id=ExecutionId(0),
        session=session.name,
        kind=cell.kind,
        source=cell.source,
        status="error" if errors_of(cell.outputs) else "ok",
        msg_id=msg_id,
        execution_count=cell.execution_count,
        client=client,
        queued_at=time.time(),
        region=Region(log=log, start=start, end=os.path.getsize(log)),
    )


def metadata_of(log: str) -> dict[str, Any]:
    """The metadata of the notebook whose messages are in `log`; empty for no log. Blocks on the disk."""
    for _, item in messagelog.read(log) if log else ():
        return item.content if isinstance(item, Message) and item.msg_type == _METADATA else {}
    return {}


def _merged(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The metadata of two notebooks in one session: the later one's, with the widgets of both."""
    merged = {**earlier, **later}
    states = [each.get("widgets", {}).get(WIDGET_STATE, {}) for each in (earlier, later)]
    if all(states):
        state = {**states[0].get("state", {}), **states[1].get("state", {})}
        merged["widgets"] = {**later["widgets"], WIDGET_STATE: {**states[1], "state": state}}
    return merged


def tags_of(entry: Execution) -> frozenset[str]:
    """The tags of a loaded cell. Blocks on the disk."""
    for item in reading.messages_of(entry):
        if isinstance(item, Message) and item.msg_type == LOADED_CELL:
            tags = item.content.get("metadata", {}).get("tags", ())
            return frozenset(tag for tag in tags if isinstance(tag, str))
    return frozenset()
