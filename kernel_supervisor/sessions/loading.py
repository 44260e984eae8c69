"""A notebook that exists as a session's history, and its cells run."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.life import status_of
from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    Interpreter,
    KernelRecord,
    Message,
    Region,
    SessionRecord,
)
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.environments.choice import as_interpreter
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.notebooks.document import WIDGET_STATE
from kernel_supervisor.notebooks.history import LOADED_CELL
from kernel_supervisor.notebooks.loading import Loaded, LoadedCell, language_of, load_notebook, messages_of
from kernel_supervisor.outputs.area import errors_of
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message
from kernel_supervisor.records.recording import new_msg_id
from kernel_supervisor.running import reading
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import apart

_METADATA = "loaded_notebook"
"""The type of the message, of our own, with which the log of a loaded notebook begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a notebook's cells are to run."""

    interpreter: Interpreter | None = None
    """What the session's kernel is started in for it, where there is none; None for the default one."""
    here: str = ""
    """The directory of the kernel that there is, where that is not the notebook's folder."""


async def read(supervisor: Supervisor, session: SessionRecord, path: Path, call_key: str) -> Loaded | None:
    """What is in a notebook; None where this call has loaded it before.

    Raises RefusedError for what is no notebook, UnavailableError where it cannot be read.
    """
    known = await supervisor.records.entries_of_call(f"{call_key}:load:")
    return None if known else await apart("documents", load_notebook, path)


async def place_for(
    supervisor: Supervisor, session: SessionRecord, metadata: Mapping[str, Any], folder: str, asker: Asker
) -> Place:
    """Where its cells are to run: in the kernel that the session has, else in one of the notebook's language.

    Raises RefusedError where that is another language than the kernel's, or no kernel of it is here.
    """
    record = await supervisor.sessions.kernel_record(session)
    if record is not None:
        _refuse_another(language_of(metadata), record)
        elsewhere = kind_of(record).here and await apart("environments", _differ, record.directory, folder)
        return Place(here=record.directory if elsewhere else "")
    return Place(interpreter=await apart("environments", _interpreter, metadata, asker))


def _refuse_another(language: str, record: KernelRecord) -> None:
    runs = str(record.language_info.get("name") or record.interpreter.language or "")
    if language and runs and _plain(language) != _plain(runs):
        raise RefusedError(
            f"path: this notebook is written in {language}, and this session's kernel runs {runs}; nothing was run. "
            "Load it in a session of its own",
            WayOn("own session"),
            ", whose kernel is started in its language",
        )


def _interpreter(metadata: Mapping[str, Any], asker: Asker) -> Interpreter | None:
    """What runs a notebook that is not in Python: its kernelspec, else the one of that language. Blocks on files."""
    spec = metadata.get("kernelspec")
    name = str(spec.get("name") or "") if isinstance(spec, dict) else ""
    language = language_of(metadata) or _LANGUAGES.get(name, "")
    found = [each for each in discover(asker.where) if each.kind == "kernelspec" and not each.broken]
    named = [each for each in found if name and each.name == name]
    language = language or (named[0].language if named else "python")
    if _plain(language) == "python":
        return None
    fit = [each for each in (*named, *found) if _plain(each.language) == _plain(language)]
    if not fit:
        wanted = f" (kernelspec {name})" if name else ""
        raise RefusedError(
            f"path: this notebook is written in {language}{wanted}, and no kernel of that language is here; nothing "
            "was run. Install its kernel and kernelspec, or load it without running it.",
            WayOn("see environments"),
        )
    return as_interpreter(fit[0], "the notebook is written in its language")


_LANGUAGES = {"ir": "R", "bash": "bash"}
"""Of kernelspecs that are called so everywhere, for notebooks that name no language."""


def _plain(language: str) -> str:
    """A language as one word of those that name it otherwise: `ipython`, `python3`, `Python`."""
    return _SAME.sub(r"\1", language.strip().casefold())


_SAME = re.compile(r"^(?:i(?=python))?(\w+?)(?:[23](?:\.\d+)*)?$")


def _differ(directory: str, folder: str) -> bool:
    return os.path.realpath(directory) != os.path.realpath(folder)


async def load(
    supervisor: Supervisor, session: SessionRecord, loaded: Loaded | None, client: str, call_key: str
) -> list[Execution]:
    """Add a notebook's cells to the end of a session's history, as they stand; once for each call, as `read` has it."""
    session = await supervisor.sessions.keep(session)
    keys = f"{call_key}:load:"
    if loaded is None:
        return await supervisor.records.entries_of_call(keys)
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
    errors = errors_of(cell.outputs)
    return Execution(
        id=ExecutionId(0),
        session=session.name,
        kind=cell.kind,
        source=cell.source,
        status=status_of({**errors[-1], "status": "error"}) if errors else "ok",
        msg_id=msg_id,
        execution_count=cell.execution_count,
        client=client,
        queued_at=time.time(),
        region=Region(log=log, start=start, end=os.path.getsize(log)),
    )


def is_loaded(entry: Execution) -> bool:
    """Whether an entry is a notebook's cell whose outputs came with it: no kernel of the session has run it."""
    return entry.kind == "code" and entry.kernel_id is None and entry.status in ("ok", "error")


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
