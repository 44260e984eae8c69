"""What stands at the head of a document: its title, and what it is of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

_HEADING = re.compile(r"^#[ \t]+(?P<words>[^\n]+?)[ \t]*#*$|^(?P<over>[^\n#]+)\n=+[ \t]*$", re.MULTILINE)
_FENCED = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)
_MARKS = re.compile(r"!\[[^\]]*\]\([^)]*\)|\[([^\]]*)\]\([^)]*\)|<[^>]{1,80}>|[*_`$]|\\")
_LONGEST = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a document."""

    title: str
    """Plain text."""
    about: str
    """The session and the day, as a line below it."""
    is_in_text: bool
    """Whether the document's own text has the title, before any code."""


def head_of(notebook: Any, ipynb: Path) -> Head:
    """The head of a notebook that stands at `ipynb`: its metadata's title, its first heading, or the file's name."""
    metadata = notebook.metadata
    before_code = takewhile(lambda cell: cell.cell_type == "markdown", notebook.cells)
    found = next(filter(None, (_HEADING.search(_FENCED.sub("", cell.source)) for cell in before_code)), None)
    own = _MARKS.sub(r"\1", found["words"] or found["over"]).strip() if found else ""
    said = metadata.get("title")
    title = own or (said if isinstance(said, str) else "") or ipynb.stem
    session = metadata.get("kernel_supervisor", {}).get("session", "")
    written = date.fromtimestamp(ipynb.stat().st_mtime)
    day = f"{written.day} {written:%B} {written.year}"
    about = " · ".join(filter(None, (f"Session {session}" if isinstance(session, str) and session else "", day)))
    return Head(title=title[:_LONGEST], about=about, is_in_text=bool(own))
