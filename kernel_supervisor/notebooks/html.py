"""A notebook as one HTML file, through nbconvert. Imported by the converting process alone (1.9 s, 60 MB)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbconvert.exporters import HTMLExporter

from kernel_supervisor.notebooks.contents import with_readable_json

_NO_SCRIPT = "data:text/javascript,"
_MATH = re.compile(r"\$[^$]+\$|\\\(|\\\[|\\begin\{")
_NO_PICTURE = re.compile(r"(<img\b[^>]*?\bsrc=)([\"'])data:(?!image/)[^\"'>]*", re.IGNORECASE)
"""nbconvert embeds whatever Markdown names as a picture, a file of secrets too, if it is beside the notebook."""
_STYLE = """<style>
.jp-Notebook .highlight pre { overflow-x: auto; }
@media print {
  .jp-InputArea, .jp-InputArea-editor, .jp-OutputArea-output { overflow: visible !important; }
  .jp-Notebook pre { white-space: pre-wrap !important; overflow-wrap: anywhere !important; }
  .jp-Notebook img, .jp-Notebook svg { max-width: 100%; break-inside: avoid; }
  .jp-Notebook tr { break-inside: avoid; }
}
</style>
"""


def write_html(
    notebook: Any, ipynb: Path, html: Path, theme: str, progress: Callable[[str], None] = lambda words: None
) -> tuple[str, str]:
    """Write `notebook`, an nbformat node that stands at `ipynb`, to `html` in `theme` (light or dark).

    Scripts from the network are asked for only where the notebook has a use for them, so that a reader
    without a network does not wait for them in vain. Returns what made it, and which characters it lacks: none.
    """
    progress("writing HTML")
    text = json.dumps(notebook)
    # nbconvert has no types
    exporter = HTMLExporter(template_name="lab", theme=theme, embed_images=True)  # type: ignore[no-untyped-call]
    if "require" not in text and "widget-view+json" not in text:
        exporter.require_js_url = _NO_SCRIPT
    if not _MATH.search(text.replace("\\\\", "\\")):
        exporter.mathjax_url = _NO_SCRIPT
    resources = {"metadata": {"name": ipynb.stem, "path": str(ipynb.parent)}}
    page, _ = exporter.from_notebook_node(with_readable_json(notebook), resources)
    page = _NO_PICTURE.sub(r"\1\2", page).replace("</head>", _STYLE + "</head>", 1)
    html.write_text(page, encoding="utf-8", errors="replace")
    return "nbconvert", ""
