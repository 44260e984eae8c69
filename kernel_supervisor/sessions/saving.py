"""A session as a document: its notebook, and the HTML and PDF made from it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import ExecutionId, SessionRecord
from kernel_supervisor.notebooks.document import About, write_notebook
from kernel_supervisor.notebooks.export import export_html, export_pdf
from kernel_supervisor.notebooks.files import check_target
from kernel_supervisor.notebooks.history import Choice, Entry
from kernel_supervisor.sessions.reading import messages_of
from kernel_supervisor.sessions.supervisor import Supervisor

EXPORT_DEADLINE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What was written, and what could not be."""

    notebook: Path
    cells: int
    exports: tuple[str, ...] = ()
    """Paths of HTML and PDF, each with what made it where that matters."""
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be written, and where relative paths start."""

    path: str
    directory: str
    html: bool = False
    pdf: bool = False
    overwrite: bool = False
    only: str = "all"
    first: ExecutionId | None = None
    last: ExecutionId | None = None


async def save(
    supervisor: Supervisor,
    session: SessionRecord,
    wanted: Wanted,
    progress: Callable[[str], None] | None = None,
) -> Saved:
    """Write a session's notebook and what is made from it. A failed export leaves the notebook as it is.

    Raises RefusedError and UnavailableError as `write_notebook` does.
    """
    history = await supervisor.records.history(session.name)
    entries = [
        Entry(execution=execution, messages=lambda execution=execution: messages_of(execution))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        for execution in history
    ]
    path = await asyncio.to_thread(_target, wanted, session)
    choice = Choice(only="ok" if wanted.only == "ok" else "all", first=wanted.first, last=wanted.last)
    written = await asyncio.to_thread(
        write_notebook,
        path,
        entries,
        about=_about(supervisor, session),
        choice=choice,
        known=session.notebooks.get(str(path)),
        overwrite=wanted.overwrite,
    )
    session = supervisor.sessions[session.name]
    notebooks = {**session.notebooks, str(written.path): written.fingerprint}
    await supervisor.change_session(replace(session, notebooks=notebooks))
    exports, failures = await _exports(written.path, wanted, progress)
    return Saved(notebook=written.path, cells=written.cells, exports=exports, failures=failures)


def _target(wanted: Wanted, session: SessionRecord) -> Path:
    name = wanted.path.strip() or os.path.join(session.directory, session.name)
    path = Path(wanted.directory, os.path.expanduser(name))
    return check_target(path, suffix=".ipynb")


def _about(supervisor: Supervisor, session: SessionRecord) -> About:
    runner = supervisor.runner_of(session)
    if runner is None:
        return About(session=session.name)
    language = runner.kernel.info.get("language_info") or {}
    interpreter = runner.kernel.record.interpreter
    kernelspec = {
        "name": "python3" if interpreter.language == "python" else interpreter.name,
        "display_name": "Python 3" if interpreter.language == "python" else interpreter.name,
        "language": interpreter.language,
    }
    return About(session=session.name, kernelspec=kernelspec, language_info=language)


async def _exports(
    notebook: Path, wanted: Wanted, progress: Callable[[str], None] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    exports: list[str] = []
    failures: list[str] = []
    if wanted.html:
        try:
            made = await export_html(
                notebook, notebook.with_suffix(".html"), deadline_s=EXPORT_DEADLINE_S, progress=progress
            )
            exports.append(str(made.path))
        except SupervisorError as error:
            failures.append(f"no HTML: {error}")
    if wanted.pdf:
        try:
            made = await export_pdf(
                notebook, notebook.with_suffix(".pdf"), deadline_s=EXPORT_DEADLINE_S, progress=progress
            )
            missing = f", without glyphs for {made.missing}" if made.missing else ""
            exports.append(f"{made.path} (by {made.engine}{missing})")
        except SupervisorError as error:
            failures.append(f"no PDF: {error}")
    return tuple(exports), tuple(failures)
