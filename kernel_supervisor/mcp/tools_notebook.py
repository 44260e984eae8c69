"""The tools about the session as a document: its text, its notebook, and notebooks that exist already."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from kernel_supervisor.amounts import several
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Beside, ExecutionId, SessionRecord
from kernel_supervisor.mcp import rerunning
from kernel_supervisor.mcp.arguments import ExecutionNumber, about
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.carried import with_progress
from kernel_supervisor.mcp.view import Reading
from kernel_supervisor.notebooks.export import FORMATS
from kernel_supervisor.notebooks.history import Choice
from kernel_supervisor.notebooks.loading import Loaded
from kernel_supervisor.notebooks.wishes import WORDS, Wishes, wishes_in
from kernel_supervisor.sessions import loading, saving

_T = TypeVar("_T")
_SUFFIX = len(".xxxxx")
"""What is longer, or has digits, is a part of a name."""
_OPENED = (
    "`kernel-supervisor jupyterlab` opens it in its session; another Jupyter, after "
    "`kernel-supervisor kernelspec install --session`"
)
_TOLD = 20
"""So many remarks on what documents do not show are told one by one."""


async def kernel_add_markdown(
    call: Call,
    session: SessionRecord,
    text: str,
    before: ExecutionNumber | None = None,
    after: ExecutionNumber | None = None,
) -> Answer:
    """Add a markdown cell to the session's notebook, at its end or beside an execution."""
    needed(text, "text is empty: give the markdown to add")
    beside = await _beside(call, session, before, after)
    entry = await call.supervisor.executions.add_entry(session, "markdown", text, call.client, call.key, beside)
    where = f", {'before' if beside.before else 'after'} entry {beside.entry}" if beside else ""
    done = f"added to the notebook of session {session.name} as entry {entry.id}{where}"
    return Answer(text=done, facts={"execution_id": entry.id})


async def _beside(
    call: Call, session: SessionRecord, before: ExecutionId | None, after: ExecutionId | None
) -> Beside | None:
    wanted = before if before is not None else after
    if wanted is None:
        return None
    if before is not None and after is not None:
        raise RefusedError("before and after exclude each other: name one entry")
    entry, _ = await call.supervisor.executions.find(wanted)
    if entry.session != session.name:
        name = "before" if before is not None else "after"
        raise RefusedError(f"{name}: execution {wanted} is in session {entry.session}, not in {session.name}")
    return Beside(entry=entry.id, before=before is not None)


async def kernel_save_notebook(
    call: Call,
    session: SessionRecord,
    path: Annotated[str, about("default: named after the session, in its directory")] = "",
    save_html: bool = False,
    save_pdf: bool = False,
    overwrite: Annotated[bool, about("a file that this session did not write")] = False,
    only: Annotated[Literal["all", "ok"], about("ok: without failed cells")] = "all",
    first: Annotated[ExecutionNumber | None, about("execution to begin with")] = None,
    last: ExecutionNumber | None = None,
    to: list[Literal["ipynb", "html", "pdf", "md", "py"]] | None = None,
    theme: Literal["auto", "light", "dark"] = "auto",
    pdf_engine: Literal["typst", "browser", "xelatex"] | None = None,
    options: Annotated[list[str] | None, about(", ".join(WORDS))] = None,
    autosave: Annotated[bool | None, about("keep it up to date; false: no longer")] = None,
) -> Answer:
    """Write the session as .ipynb, and in other formats; once, or kept up to date."""
    choice = Choice(only=only, first=first, last=last)
    if autosave and choice != Choice():
        raise RefusedError("autosave keeps the whole session: leave out only, first and last")
    wishes = _wishes(call, options or ())
    if autosave and wishes.session_kernel:
        raise RefusedError("autosave keeps a notebook for any Jupyter: leave out session-kernel, or autosave")
    stem, suffix = os.path.splitext(path)
    named = suffix.lower().removeprefix(".")
    _refuse_unknown(suffix)
    asked = {*(to or ()), named, *(["html"] if save_html else []), *(["pdf"] if save_pdf else [])}
    made_with = {"html": theme, "pdf": pdf_engine or ""}
    wanted = saving.Wanted(
        path=stem if named in FORMATS else path,
        directory=call.caller.asker.cwd,
        umask=call.caller.asker.surroundings.umask,
        overwrite=overwrite,
        choice=choice,
        exports={form: made_with.get(form, "") for form in FORMATS if form in asked},
        wishes=wishes,
    )
    saved = await with_progress(
        call, "writing the notebook", lambda tell: _in_turn(call, saving.save(call.supervisor, session, wanted, tell))
    )
    written = (f"{saved.notebook} ({several(saved.cells, 'cell')})", *saved.exports)
    lines = [f"wrote {path}" for path in written] + saved.failures + _told(saved.remarks)
    if wishes.session_kernel:
        lines.append(_OPENED)
    if autosave is not None:
        await call.supervisor.sessions.change(session.name, autosave=str(saved.notebook) if autosave else "")
        call.supervisor.catch_up(session.name)
        lines.append("it is kept up to date from now on" if autosave else "autosave is off")
    facts = {
        "path": str(saved.notebook),
        "cells": saved.cells,
        "exports": saved.exports,
        "failures": saved.failures,
        "remarks": saved.remarks,
        "autosave": call.supervisor.sessions.known[session.name].autosave or None,
    }
    return Answer(text="\n".join(lines), facts=facts)


def _wishes(call: Call, options: Sequence[str]) -> Wishes:
    wishes = wishes_in(options, call.caller.asker.surroundings.env)
    folder = Path(call.caller.asker.cwd, os.path.expanduser(wishes.template))
    return replace(wishes, template=str(folder)) if wishes.template and folder.is_dir() else wishes


def _refuse_unknown(suffix: str) -> None:
    """Raises RefusedError for the suffix of a format that there is not, rather than have it end in .ipynb besides."""
    if suffix[1:].isalpha() and len(suffix) <= _SUFFIX and suffix[1:].lower() not in ("ipynb", *FORMATS):
        known = ", ".join(f".{form}" for form in ("ipynb", *FORMATS))
        raise RefusedError(f"path: {suffix} is no format of ours; end it in one of {known}, or in none for .ipynb")


def _told(remarks: list[str]) -> list[str]:
    """The first of what is not shown in documents, and how much more there is."""
    more = [f"… and {several(len(remarks) - _TOLD, 'more remark')}"] if len(remarks) > _TOLD else []
    return remarks[:_TOLD] + more


async def _in_turn(call: Call, work: Coroutine[Any, Any, _T]) -> _T:
    async with call.caller.documents:
        return await work


async def kernel_load_notebook(
    call: Call,
    session: SessionRecord,
    path: Annotated[str, about("relative to your directory")],
    run: Annotated[bool, about("and run them, up to the first error")] = False,
) -> Answer:
    """Take the cells of an .ipynb, with their outputs, into the session, to go on from there."""
    given = needed(path, "path is empty: name a notebook").strip()
    notebook = await asyncio.to_thread(_existing, call.caller.asker.cwd, given)
    loaded = await _in_turn(call, loading.read(call.supervisor, session, notebook, call.key))
    where = ""
    if run:
        where = await _ready(call, session, notebook, loaded)
    entries = await _in_turn(call, loading.load(call.supervisor, session, loaded, call.client, call.key))
    first, last = (entries[0].id, entries[-1].id) if entries else (0, 0)
    span = f" as {f'entries {first} to {last}' if first != last else f'entry {first}'}" if entries else ""
    text = f"loaded {notebook}: {several(len(entries), 'cell')}{span} of session {session.name}"
    facts: dict[str, Any] = {"path": str(notebook), "entries": [entry.id for entry in entries]}
    if not run:
        return Answer(text=f"{text}. None of them was run.", facts={**facts, "ran": 0})
    cells = [entry for entry in entries if entry.kind == "code" and entry.source.strip()]
    done, stopped = await rerunning.run(call, session, cells, "run", loaded=True)
    text, facts = f"{text}{where}. {done} of {several(len(cells), 'code cell')}", {**facts, "ran": done}
    if stopped is None:
        return Answer(text=f"{text} were run.", facts=facts)
    shown = await call.show(stopped.execution, stopped, Reading())
    words = f"{text} ran, then it stopped at this one:"
    failed = {"failed": stopped.execution.id, "status": shown.facts["status"]}
    return replace(shown, content=[words, *(shown.content or ())], facts={**facts, **failed})


async def _ready(call: Call, session: SessionRecord, notebook: Path, loaded: Loaded | None) -> str:
    """Have a kernel that can run its cells, where it lies if that is started for it; what is to be said of the place.

    Raises RefusedError, before anything is done, where no kernel can.
    """
    supervisor, asker = call.supervisor, call.caller.asker
    folder = await asyncio.to_thread(os.path.realpath, notebook.parent)
    metadata = loaded.metadata if loaded is not None else await asyncio.to_thread(loading.metadata_of, session.loaded)
    place = await loading.place_for(supervisor, session, metadata, folder, asker)
    await call.once.begin_durably("kernel_load_notebook")
    session = await supervisor.sessions.keep(session)
    runner = await supervisor.sessions.ready_runner(session, asker, place.interpreter, folder)
    if place.here:
        return f"; the kernel works in {place.here}, as it did before, not in the notebook's folder"
    return f"; the kernel works in {runner.kernel.record.directory}" if folder != session.directory else ""


def _existing(directory: str, given: str) -> Path:
    path = os.path.join(directory, os.path.expanduser(given))
    return Path(path + ".ipynb" if not os.path.exists(path) and os.path.exists(path + ".ipynb") else path)
