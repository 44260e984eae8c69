"""A notebook as PDF, by the engine on this machine that loses least of it. For the converting process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Protocol

from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.engines import FOUND
from kernel_supervisor.installer import command_for
from kernel_supervisor.notebooks import browser, latex, typeset
from kernel_supervisor.notebooks.contents import Contents, contents_of
from kernel_supervisor.notebooks.glyphs import missing_characters
from kernel_supervisor.notebooks.shown.figures import Draughtsman
from kernel_supervisor.notebooks.wishes import Made, Wishes


class Engine(Protocol):
    """What a module of an engine has."""

    def shows(self, character: str) -> bool:
        """Whether `character` can be shown."""

    def write(self, notebook: Any, ipynb: Path, pdf: Path, draughtsman: Draughtsman, wishes: Wishes) -> list[str]:
        """Write `notebook`, which stands at `ipynb`, to `pdf`; return what it does not show."""


_ENGINES: Mapping[str, Engine] = {"typst": typeset, "browser": browser, "xelatex": latex}
_ORDER = tuple(_ENGINES)
_LOSSES: Mapping[str, Callable[[Contents], tuple[int, int]]] = {
    "typst": lambda contents: (contents.html_only, contents.tables),
    "browser": lambda contents: (0, contents.formulas),
    "xelatex": lambda contents: (contents.html_only + contents.vectors, contents.tables + 1),
}
"""What each may lose of a notebook, worst first."""


def write_pdf(notebook: Any, ipynb: Path, pdf: Path, wishes: Wishes, progress: Callable[[str], None]) -> Made:
    """Write `notebook`, which stands at `ipynb`, to `pdf`; figures are drawn with the kernel's environment's scripts.

    It is made with one of the engines by name, or `auto`. Raises RefusedError where there is none, UnavailableError
    where all that there are have failed.
    """
    contents = contents_of(notebook)
    draughtsman = Draughtsman(pdf.parent, wishes.environment)
    failures = []
    for name in _candidates(wishes.made_with, contents):
        progress(f"writing PDF with {name}")
        try:
            remarks = _ENGINES[name].write(notebook, ipynb, pdf, draughtsman, wishes)
        except (SubprocessError, OSError, RuntimeError, ValueError) as error:
            failures.append(f"{name}: {_last_words(error)}")
            continue
        missing = missing_characters(contents.characters, _ENGINES[name].shows)
        return Made(engine=name, missing=missing, remarks=remarks)
    raise UnavailableError("the PDF could not be made: " + "; ".join(failures))


def _candidates(engine: str, contents: Contents) -> list[str]:
    if engine != "auto" and engine not in _ENGINES:
        raise RefusedError(f"pdf_engine: there is no engine {engine!r}; choose one of {', '.join(_ORDER)}")
    asked = _ORDER if engine == "auto" else (engine,)
    found = [name for name in asked if FOUND[name]()]
    if not found:
        raise RefusedError(_advice(engine))
    return sorted(found, key=lambda name: (_LOSSES[name](contents), _ORDER.index(name)))


def _advice(engine: str) -> str:
    command = command_for("kernel-supervisor[pdf]")
    if engine in ("auto", "typst"):
        what = "no PDF engine was found on this machine" if engine == "auto" else "the engine typst is not installed"
        return f"{what}; install one with: {command}"
    what = "no Chromium or Chrome was" if engine == "browser" else "xelatex and pandoc were not"
    return f"pdf_engine: {what} found on this machine; install it, or use pdf_engine=typst after: {command}"


def _last_words(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error) or type(error).__name__
    return (said if isinstance(said, str) else said.decode(errors="replace")).strip()[-300:]
