"""A session as a document: its notebook, and what is made from it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from kernel_supervisor import kernelspecs
from kernel_supervisor.core.errors import SupervisorError, UnavailableError
from kernel_supervisor.core.model import (
    PART,
    Execution,
    ExecutionId,
    Interpreter,
    KernelRecord,
    Mark,
    Message,
    SessionName,
    SessionRecord,
)
from kernel_supervisor.notebooks.cells import Cell
from kernel_supervisor.notebooks.document import About, Written, notebook_json, write_notebook
from kernel_supervisor.notebooks.export import Progress, export
from kernel_supervisor.notebooks.files import PRIVATE, check_folder, check_target
from kernel_supervisor.notebooks.history import Choice, Entry
from kernel_supervisor.notebooks.loading import language_of
from kernel_supervisor.notebooks.wishes import Wishes
from kernel_supervisor.outputs.widgets import Widgets
from kernel_supervisor.running import reading
from kernel_supervisor.sessions import loading
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import apart

EXPORT_DEADLINE_S = 300.0
Abridged = Callable[[Iterable[Cell], int], Iterable[Cell]]
"""Makes of cells what is shown of them, told how many others there are."""
_COMMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What was written, and what could not be."""

    notebook: Path
    cells: int
    exports: list[str] = field(default_factory=list)
    """Their paths, each with what made it where that matters."""
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    """What an export does not show of the notebook, by its format and cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be written, where relative paths start, and the umask of the one who wants it."""

    path: str
    directory: str
    umask: int | None
    overwrite: bool = False
    choice: Choice = field(default_factory=Choice)
    exports: Mapping[str, str] = field(default_factory=dict)
    """The formats to be made from it, each with its option as `export` has it."""
    wishes: Wishes = field(default_factory=Wishes)


async def save(supervisor: Supervisor, session: SessionRecord, wanted: Wanted, progress: Progress) -> Saved:
    """Write a session's notebook and what is made from it. A failed export leaves the notebook as it is.

    Raises RefusedError and UnavailableError as `write_notebook` does.
    """
    session = await supervisor.sessions.keep(session)
    path = await apart("documents", _target, wanted, session)
    written = await write(
        supervisor,
        session.name,
        path,
        wanted.choice,
        overwrite=wanted.overwrite,
        umask=PRIVATE if wanted.umask is None else wanted.umask,
        make_folder=bool(wanted.path.strip()),
        session_kernel=wanted.wishes.session_kernel,
    )
    saved = Saved(notebook=written.path, cells=written.cells)
    record = await supervisor.sessions.kernel_record(session)
    environment = environment_of(record.interpreter if record is not None else None)
    for form, option in wanted.exports.items():
        target = saved.notebook.with_suffix(f".{form}")
        try:
            made = await export(
                form,
                saved.notebook,
                target,
                option,
                deadline_s=EXPORT_DEADLINE_S,
                environment=environment,
                wishes=wanted.wishes,
                progress=progress,
            )
            saved.exports.append(made.words)
            saved.remarks.extend(f"{form.upper()}: {remark}" for remark in made.remarks)
        except SupervisorError as error:
            saved.failures.append(f"no {form.upper()}: {error}")
    return saved


def environment_of(interpreter: Interpreter | None) -> str:
    """The folder of a Python, where its libraries are; empty where there is none."""
    if interpreter is None or interpreter.language != "python":
        return ""
    return interpreter.prefix or (str(Path(interpreter.argv[0]).parent.parent) if interpreter.argv else "")


def _target(wanted: Wanted, session: SessionRecord) -> Path:
    name = wanted.path.strip() or session.autosave or os.path.join(session.directory, session.title)
    path = Path(os.path.expanduser(name))
    if not path.is_absolute():
        check_folder(Path(wanted.directory))
    return check_target(Path(wanted.directory, path), suffix=".ipynb")


async def write(
    supervisor: Supervisor, name: SessionName, path: Path, choice: Choice | None = None, **how: Any
) -> Written:
    """Write a session's notebook to `path`, as `check_target` has it; `how` and what it raises are `write_notebook`'s.

    With `session_kernel` it names the kernelspec that opens it in its session.
    It is written to its end even if the one who asked is gone, before another writer may begin.
    """
    how = {"make_folder": False, **how}
    return await asyncio.shield(_write(supervisor, name, path, choice or Choice(), how))


async def _write(supervisor: Supervisor, name: SessionName, path: Path, choice: Choice, how: dict[str, Any]) -> Written:
    async with supervisor.writing[name]:
        entries = await _entries(supervisor, name, choice)
        about = await _about(supervisor, supervisor.sessions.known[name], entries)
        if how.pop("session_kernel", False):
            about = replace(about, kernelspec=kernelspecs.of_session(name))
        known = supervisor.sessions.known[name].notebooks.get(str(path))
        mark = "" if choice == Choice() else f" {PART}"
        loop = asyncio.get_running_loop()

        def announce(fingerprint: str) -> None:
            """Commit what will stand there before it does: whatever dies in between, the file is known as ours."""
            may_be = f"{fingerprint}{mark} {known or ''}".rstrip()
            try:
                noted = asyncio.run_coroutine_threadsafe(_note(supervisor, name, path, may_be), loop)
                noted.result(_COMMIT_S)
            except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError, RuntimeError) as error:
                raise UnavailableError(f"{path} was not written: the supervisor is stopping") from error

        how |= {"about": about, "taken": _taken(supervisor, entries), "choice": choice, "known": known}
        written = await apart("documents", write_notebook, path, entries, announce=announce, **how)
        await _note(supervisor, name, path, written.fingerprint + mark)
        return written


async def document(
    supervisor: Supervisor, name: SessionName, abridge: Abridged, first: int, last: int, remark: str
) -> str:
    """A session's notebook as text, written nowhere, as `abridge` has it: of its `first` and its `last` entries.

    It is told how many others there are; `remark` is what the notebook says of that.
    """
    entries = await _entries(supervisor, name, Choice())
    omitted = max(0, len(entries) - first - last)
    entries = entries[:first] + entries[-last:] if omitted else entries
    about = replace(await _about(supervisor, supervisor.sessions.known[name], entries), metadata=None, remark=remark)
    pieces = bytearray()
    how = partial(notebook_json, abridge=lambda cells: abridge(cells, omitted))
    await apart("documents", how, entries, about, pieces.extend, _taken(supervisor, entries))
    return pieces.decode()


async def _note(supervisor: Supervisor, name: SessionName, path: Path, fingerprints: str) -> None:
    notebooks = supervisor.sessions.known[name].notebooks
    if notebooks.get(str(path)) != fingerprints:
        await supervisor.sessions.change(name, notebooks={**notebooks, str(path): fingerprints})


async def _entries(supervisor: Supervisor, name: SessionName, choice: Choice) -> list[Entry]:
    """Those between the bounds of `choice`; all where there are none, and something may be wrong with it."""
    history = await supervisor.records.history(name, begin=choice.first, end=choice.last)
    replaced = await supervisor.records.replaced(name)
    return [_entry(supervisor, each, replaced) for each in history or await supervisor.records.history(name)]


def _entry(supervisor: Supervisor, execution: Execution, replaced: dict[ExecutionId, Execution]) -> Entry:
    ticket = supervisor.executions.tickets.get(execution.id)
    execution = ticket.execution if ticket is not None else execution
    region = execution.region
    end = reading.log_size(region.log) if region is not None and not execution.settled else None
    messages = partial(reading.messages_of, execution, end, supervisor.executions.unrecorded(execution))
    before = replaced.get(execution.replaces) if execution.replaces is not None else None
    if before is None:
        return Entry(execution=execution, messages=messages)
    return Entry(execution=execution, messages=lambda: chain(reading.messages_of(before), messages()))


def _taken(supervisor: Supervisor, entries: list[Entry]) -> Callable[[Widgets], Iterator[Message]]:
    """What widgets take of the logs in which those entries are, up to the last of them, then of what is in no log."""
    ends: dict[str, int] = {}
    unrecorded: dict[str, Sequence[Message | Mark]] = {}
    for execution, region in ((entry.execution, entry.execution.region) for entry in entries):
        if region is not None:
            end = region.end if execution.settled else reading.log_size(region.log)
            ends[region.log] = max(end, ends.get(region.log, 0))
            unrecorded[region.log] = supervisor.executions.unrecorded(execution)

    def told(widgets: Widgets) -> Iterator[Message]:
        for log, end in ends.items():
            yield from supervisor.executions.earlier.follow(log, end, widgets, unrecorded[log])

    return told


async def _about(supervisor: Supervisor, session: SessionRecord, entries: list[Entry]) -> About:
    """What is true of the kernel that the last of the entries ran on, and of the notebook that was loaded."""
    kernels = [entry.execution.kernel_id for entry in entries if entry.execution.kernel_id is not None]
    sessions, records = supervisor.sessions, supervisor.records
    record = await (records.kernel(kernels[-1]) if kernels else sessions.kernel_record(session))
    about = About(session=session.name, metadata=await apart("documents", loading.metadata_of, session.loaded))
    loaded = language_of(about.metadata or {})
    same = loaded.casefold() == str(record.language_info.get("name", "")).casefold() if record is not None else True
    if record is None or (loaded and not kernels):  # nothing of it ran here: it stays what it was
        return about
    kernelspec = None if loaded and same and "kernelspec" in (about.metadata or {}) else _kernelspec(record)
    return replace(about, kernelspec=kernelspec, language_info=record.language_info)


def _kernelspec(record: KernelRecord) -> dict[str, str]:
    language, name = record.interpreter.language, record.interpreter.name
    if language == "python":
        return {"name": "python3", "display_name": "Python 3", "language": language}
    return {"name": name, "display_name": name, "language": language}
