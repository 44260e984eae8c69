"""PDF through pandoc and xelatex, where LaTeX is what a machine has."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from nbconvert.exporters import PDFExporter
from nbconvert.exporters.pdf import LatexFailed

from kernel_supervisor.notebooks.contents import with_readable_json

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
"""All but the escape character, of which nbconvert makes colours."""


def shows(character: str) -> bool:
    """Whether `character` can be shown: LaTeX's own fonts have little beyond Latin letters."""
    return character < "\u0250" or "\u2010" <= character <= "\u2044"


def write(notebook: Any, ipynb: Path, pdf: Path) -> None:
    """Write `notebook`, which stands at `ipynb`, to `pdf`. Raises OSError or RuntimeError."""
    resources = {"metadata": {"name": ipynb.stem, "path": str(ipynb.parent)}}
    os.environ["TEXINPUTS"] = f"{ipynb.parent}:"
    exporter: Any = PDFExporter()  # type: ignore[no-untyped-call]  # nbconvert has no types
    try:
        document, _ = exporter.from_notebook_node(_printable(notebook), resources)
    except LatexFailed as error:
        raise RuntimeError(str(error)) from error
    pdf.write_bytes(document)


def _printable(notebook: Any) -> Any:
    """`notebook` without what LaTeX gives up on: control characters, and SVG, which only Inkscape translates."""
    notebook = with_readable_json(notebook)
    for cell in notebook.cells:
        cell["source"] = _CONTROL.sub("", cell.source)
        for output in cell.get("outputs", ()):
            if "text" in output:
                output["text"] = _CONTROL.sub("", output.text)
            data = output.get("data", {})
            if data.pop("image/svg+xml", None):
                data.setdefault("text/plain", "A picture in SVG: it is in the notebook.")
            if "text/plain" in data:
                data["text/plain"] = _CONTROL.sub("", data["text/plain"])
    return notebook
