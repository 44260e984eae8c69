"""A session's history as a Jupyter notebook, format 4.5, written in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.notebooks.cells import Cell, cells_of
from kernel_supervisor.notebooks.files import PRIVATE, check_target, is_ours, write_aside
from kernel_supervisor.notebooks.history import Choice, Entry, choose
from kernel_supervisor.notebooks.jsonstream import Write, write_json
from kernel_supervisor.notebooks.survey import Survey, TakenByWidgets

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"

Abridge = Callable[[Iterable[Cell]], Iterable[Cell]]

_KERNELSPEC_KEYS = ("name", "display_name", "language")


class ForeignFileError(RefusedError):
    """Where a notebook is to be written stands a file that the session did not write, or that was changed since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a notebook says about itself."""

    session: str
    kernelspec: Mapping[str, Any] | None = None
    """`name`, `display_name` and `language`; what else it has (a command, an environment) is not written."""
    language_info: Mapping[str, Any] | None = None
    """As `kernel_info_reply` has it."""
    metadata: Mapping[str, Any] | None = None
    """That of the notebook from which the history was loaded; the above comes before it."""
    remark: str = ""
    """What else is to be said of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A notebook that was written."""

    path: Path
    fingerprint: str
    """To be given as `known` when it is written again."""
    cells: int
    """How many cells it has, remarks included."""


def write_notebook(
    path: Path,
    entries: Iterable[Entry],
    *,
    about: About,
    taken: TakenByWidgets | None = None,
    choice: Choice | None = None,
    known: str | None = None,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda fingerprint: None,
    umask: int = PRIVATE,
    make_folder: bool = True,
) -> Written:
    """Write the chosen `entries` as a notebook to `path` (absolute; `.ipynb` is added where it is missing).

    Blocks while it writes: call it in a thread. Its memory grows with the largest message and with what widgets show,
    not the whole; for `taken` see `Survey`. The same history gives the same bytes. A file that stands there is
    replaced only if it is the one with the fingerprint `known` (or one of several, with spaces between), or with
    `overwrite`; it is replaced in one step, and left alone on any error. `announce` is told the new fingerprint just
    before that step. `umask` is that of whoever wants it, for what is new; its folder is among that only with
    `make_folder`.

    Raises RefusedError for a path or choice that cannot be, ForeignFileError where another's file stands there,
    UnavailableError where the disk does not let it happen.
    """
    target = check_target(path, suffix=".ipynb")
    chosen = choose(entries, choice or Choice())
    approve = partial(_refuse_foreign, target, known) if not overwrite else lambda: None
    produce = partial(notebook_json, chosen, about, taken=taken)
    fingerprint, cells = write_aside(
        target, produce, approve=approve, announce=announce, umask=umask, make_folder=make_folder
    )
    return Written(path=target, fingerprint=fingerprint, cells=cells)


def _refuse_foreign(target: Path, known: str | None) -> None:
    if not is_ours(target, known):
        whose = (
            "was changed by someone else since this session wrote it" if known else "was not written by this session"
        )
        raise ForeignFileError(f"path: {target} exists and {whose}; choose another path", WayOn("overwrite"))


def notebook_json(
    entries: Sequence[Entry],
    about: About,
    write: Write,
    taken: TakenByWidgets | None = None,
    *,
    abridge: Abridge | None = None,
) -> int:
    """Give the notebook of `entries` to `write`, piece by piece; return how many cells it has.

    With `abridge` its cells are what that makes of them, and it has no state of widgets.
    """
    survey = Survey(entries, taken)
    cells = abridge(cells_of(entries, survey)) if abridge else cells_of(entries, survey)
    numbers = count()
    notebook = {
        "cells": (cell for cell, _ in zip(cells, numbers, strict=False)),
        "metadata": _metadata(about, {} if abridge else survey.widget_state()),
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    write_json(notebook, write)
    write(b"\n")
    return next(numbers)


def _metadata(about: About, widgets: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(about.metadata or {})
    if about.kernelspec:
        metadata["kernelspec"] = {key: about.kernelspec[key] for key in _KERNELSPEC_KEYS if key in about.kernelspec}
    if about.language_info:
        metadata["language_info"] = dict(about.language_info)
    if widgets:
        metadata["widgets"] = _with_widgets(metadata.get("widgets") or {}, widgets)
    remark = {"remark": about.remark} if about.remark else {}
    metadata["kernel_supervisor"] = {"session": about.session, **remark}
    return metadata


def _with_widgets(loaded: Mapping[str, Any], widgets: Mapping[str, Any]) -> dict[str, Any]:
    known = loaded.get(WIDGET_STATE, {}).get("state", {})
    return {**loaded, WIDGET_STATE: {"state": {**known, **widgets}, "version_major": 2, "version_minor": 0}}
