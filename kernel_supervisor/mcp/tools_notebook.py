"""The tools about the session as a document: its text, its notebook, and notebooks that exist already."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import mcp_types as types

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Beside, SessionRecord
from kernel_supervisor.mcp import arguments as a
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.progress import with_progress
from kernel_supervisor.mcp.view import Reading
from kernel_supervisor.notebooks.export import FORMATS
from kernel_supervisor.notebooks.history import Choice
from kernel_supervisor.sessions import loading, rerunning, saving


async def kernel_add_markdown(call: Call, args: a.AddMarkdown) -> Answer:
    """Add a markdown cell to the session's notebook, at its end or beside an execution."""
    needed(args.text, "text is empty: give the markdown to add")
    session = await call.session(args.session)
    beside = await _beside(call, session, args)
    entry = await call.supervisor.executions.add_entry(session, "markdown", args.text, call.client, call.key, beside)
    where = f", {'before' if beside.before else 'after'} entry {beside.entry}" if beside else ""
    text = f"added to the notebook of session {session.name} as entry {entry.id}{where}"
    return Answer(text=text, facts={"execution_id": entry.id})


async def _beside(call: Call, session: SessionRecord, args: a.AddMarkdown) -> Beside | None:
    wanted = args.before if args.before is not None else args.after
    if wanted is None:
        return None
    if args.before is not None and args.after is not None:
        raise RefusedError("before and after exclude each other: name one entry")
    entry, _ = await call.supervisor.executions.find(wanted)
    if entry.session != session.name:
        name = "before" if args.before is not None else "after"
        raise RefusedError(f"{name}: execution {wanted} is in session {entry.session}, not in {session.name}")
    return Beside(entry=entry.id, before=args.before is not None)


async def kernel_save_notebook(call: Call, args: a.SaveNotebook) -> Answer:
    """Write the session (code, markdown, outputs, plots) as .ipynb, and as HTML or PDF if asked; once, or kept up to
    date."""
    session = await call.session(args.session)
    choice = Choice(only=args.only, first=args.first, last=args.last)
    if args.autosave and choice != Choice():
        raise RefusedError("autosave keeps the whole session: leave out only, first and last")
    stem, suffix = os.path.splitext(args.path)
    named = suffix.lower().removeprefix(".")
    options = {"html": args.theme, "pdf": args.pdf_engine or ""}
    wanted = saving.Wanted(
        path=stem if named in FORMATS else args.path,
        directory=call.caller.asker.cwd,
        umask=call.caller.asker.surroundings.umask,
        overwrite=args.overwrite,
        choice=choice,
        exports={form: options[form] for form in FORMATS if form == named or getattr(args, f"save_{form}")},
    )
    saved = await with_progress(
        call, "writing the notebook", lambda tell: saving.save(call.supervisor, session, wanted, tell)
    )
    lines = [f"wrote {path}" for path in (f"{saved.notebook} ({saved.cells} cells)", *saved.exports)] + saved.failures
    if args.autosave is not None:
        autosave = str(saved.notebook) if args.autosave else ""
        await call.supervisor.sessions.change(session.name, autosave=autosave)
        call.supervisor.catch_up(session.name)
        lines.append("it is kept up to date from now on" if autosave else "autosave is off")
    facts = {
        "path": str(saved.notebook),
        "cells": saved.cells,
        "exports": saved.exports,
        "failures": saved.failures,
        "autosave": call.supervisor.sessions.known[session.name].autosave or None,
    }
    return Answer(text="\n".join(lines), facts=facts)


async def kernel_load_notebook(call: Call, args: a.LoadNotebook) -> Answer:
    """Take the cells of an .ipynb, with their outputs, into the session's history, to go on from there; run=true runs
    them up to the first error."""
    given = needed(args.path, "path is empty: name a notebook").strip()
    session = await call.session(args.session)
    path = await asyncio.to_thread(_existing, call.caller.asker.cwd, given)
    entries = await loading.load(call.supervisor, session, path, call.client, call.key)
    span = f" as entries {entries[0].id} to {entries[-1].id}" if entries else ""
    text = f"loaded {path}: {len(entries)} cells{span} of session {session.name}"
    facts: dict[str, Any] = {"path": str(path), "entries": [entry.id for entry in entries]}
    if not args.run:
        return Answer(text=f"{text}. None of them was run.", facts={**facts, "ran": 0})
    cells = [entry for entry in entries if entry.kind == "code" and entry.source.strip()]
    done, stopped = await rerunning.run(
        cells, lambda cell: call.run_again(session, cell, f"run:{cell.id}", replaces=cell.id), loaded=True
    )
    text, facts = f"{text}. {done} of {len(cells)} code cells", {**facts, "ran": done}
    if stopped is None:
        return Answer(text=f"{text} were run.", facts=facts)
    shown = await call.show(stopped.execution, stopped, Reading())
    words = types.TextContent(type="text", text=f"{text} ran, then it stopped at this one:")
    failed = {"failed": stopped.execution.id, "status": shown.facts["status"]}
    return replace(shown, content=[words, *(shown.content or ())], facts={**facts, **failed})


def _existing(directory: str, given: str) -> Path:
    path = os.path.join(directory, os.path.expanduser(given))
    return Path(path + ".ipynb" if not os.path.exists(path) and os.path.exists(path + ".ipynb") else path)
