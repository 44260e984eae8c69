"""Notebooks as HTML, PDF, Markdown and scripts, converted in a process of their own that a deadline ends.

What converts (nbconvert, pandoc, a browser) is imported and started there alone; see `convert`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from kernel_supervisor.core.answers import heard
from kernel_supervisor.core.errors import RefusedError, SupervisorError, UnavailableError
from kernel_supervisor.isolation import isolated
from kernel_supervisor.notebooks.files import check_target, copy_aside, umask_of
from kernel_supervisor.notebooks.glyphs import fonts_for
from kernel_supervisor.notebooks.processes import end
from kernel_supervisor.notebooks.wishes import BESIDE, Wishes
from kernel_supervisor.tasks import apart

FORMATS = {"html": "auto", "pdf": "auto", "md": "", "py": ""}
"""What can be made, and what it is made with where nothing else is asked for: a theme, an engine."""
Progress = Callable[[str], None]

_MODULE = "kernel_supervisor.notebooks.convert"
_LONGEST_LINE = 1 << 20
_LAST_WORDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A document that was made from a notebook."""

    path: Path
    engine: str
    """What made it: `nbconvert`, or the PDF engine."""
    missing: str = ""
    """Characters that no font on this machine can show, each once: blanks or boxes in the document."""

    remarks: tuple[str, ...] = ()
    """What it does not show, by cell, in words."""

    @property
    def words(self) -> str:
        """Its path, with what made it where that matters."""
        fonts = ", ".join(fonts_for(self.missing))
        missing = f", without glyphs for {self.missing}" if self.missing else ""
        missing += f": install the font{'s' if ',' in fonts else ''} {fonts}" if fonts else ""
        return str(self.path) if self.engine == "nbconvert" else f"{self.path} (by {self.engine}{missing})"


async def export(
    form: str,
    ipynb: Path,
    target: Path,
    option: str = "",
    *,
    deadline_s: float,
    environment: str = "",
    wishes: Wishes | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Make one of the `FORMATS` of the notebook `ipynb` at `target` (absolute; the suffix is added).

    The HTML is one file; figures are drawn by their libraries' scripts in `environment`, the folder of the Python that
    made them. Without a PDF engine as the `option`, those on this machine are tried in the order that loses least of
    this notebook; `wishes` say the rest of how it is wanted. A file that stands there is replaced in one step; it and
    the notebook are left alone on any error. `progress` is called with a few words now and then. Raises RefusedError
    for a path that cannot be, and where no engine is there, with the command that installs one; UnavailableError where
    it could not be made within `deadline_s` seconds or at all.
    """
    target = await apart("documents", check_target, target, suffix=f".{form}")
    folder = Path(await apart("documents", tempfile.mkdtemp, prefix="kernel-supervisor-"))
    try:
        made = folder / target.name
        wishes = replace(wishes or Wishes(), made_with=option or FORMATS[form], environment=environment)
        arguments = (form, str(ipynb), str(made), wishes.words(), str(deadline_s))
        outcome = await _converted(arguments, folder, deadline_s, progress or (lambda words: None))
        await apart("documents", _put, made, target, umask_of(ipynb))
    finally:
        await asyncio.shield(apart("documents", shutil.rmtree, folder, ignore_errors=True))
    remarks = tuple(filter(None, outcome.get("remarks", "").split("\n")))
    return Exported(path=target, engine=outcome["engine"], missing=outcome.get("missing", ""), remarks=remarks)


def _put(made: Path, target: Path, umask: int) -> None:
    """Put the document at `target`, and what it has beside it there, too."""
    beside = target.with_name(target.stem + BESIDE)
    for picture in sorted(made.with_name(made.stem + BESIDE).glob("*")):
        copy_aside(picture, beside / picture.name, umask=umask)
    copy_aside(made, target, umask=umask)


async def _converted(arguments: tuple[str, ...], folder: Path, deadline_s: float, progress: Progress) -> dict[str, str]:
    with (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *isolated(_MODULE, *arguments),
            cwd=folder,  # not the project's: its files must not be taken for modules
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
    try:
        outcome = await asyncio.wait_for(_followed(process, progress), deadline_s)
    except asyncio.TimeoutError:
        raise UnavailableError(
            f"the export as {arguments[0]} took more than {deadline_s:g} s and was stopped"
        ) from None
    finally:
        await end(process)
    if "engine" not in outcome:
        raise await apart("documents", partial(_failure, outcome, process.returncode, folder / "stderr"))
    return outcome


async def _followed(process: asyncio.subprocess.Process, progress: Progress) -> dict[str, str]:
    """The last thing that the process says, after `progress` was told the others."""
    said: dict[str, str] = {}
    assert process.stdout is not None  # a pipe was asked for
    async for line in _lines(process.stdout):
        for said in heard([line]):
            if "progress" in said:
                progress(said["progress"])
    await process.wait()
    return said


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await output.readline()
        except ValueError:  # longer than any of ours
            continue
        if not line:
            return
        yield line


def _failure(outcome: dict[str, str], returncode: int | None, stderr: Path) -> SupervisorError:
    if "refused" in outcome:
        return RefusedError(outcome["refused"])
    if "unavailable" in outcome:
        return UnavailableError(outcome["unavailable"])
    words = stderr.read_text(errors="replace").strip()[-_LAST_WORDS:]
    return UnavailableError(f"the export failed (exit code {returncode}); its last words: {words}")
