"""A notebook as one HTML file, through nbconvert. Imported by the converting process alone (1.9 s, 60 MB)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kernel_supervisor.notebooks.contents import with_readable_json
from kernel_supervisor.notebooks.pages import PageExporter, with_latex_set
from kernel_supervisor.notebooks.shown.choosing import on_screen
from kernel_supervisor.notebooks.shown.markup import MISSING_STYLE
from kernel_supervisor.notebooks.shown.telling import Made

_NO_SCRIPT = "data:text/javascript,"
_NO_MATHJAX = "data:text/javascript,0"
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
_FOLDED = ".ks-more summary { cursor: pointer; opacity: 0.7; font-size: 0.9em; }"


def write_html(
    notebook: Any, ipynb: Path, html: Path, theme: str, environment: str, progress: Callable[[str], None]
) -> Made:
    """Write `notebook`, an nbformat node that stands at `ipynb`, to `html` in `theme` (light or dark).

    Figures draw themselves with the scripts of `environment`, that of the kernel, which are in the page once. Scripts
    from the network are asked for only where the notebook has a use for them, so that a reader without a network does
    not wait for them in vain.
    """
    progress("writing HTML")
    shown = on_screen(notebook, environment)
    page = page_of(shown.notebook, ipynb, theme, style=MISSING_STYLE + _FOLDED, scripts=shown.scripts)
    html.write_text(page, encoding="utf-8", errors="replace")
    return Made(engine="nbconvert", remarks=shown.remarks)


def page_of(
    notebook: Any,
    ipynb: Path,
    theme: str,
    *,
    style: str = "",
    scripts: Sequence[str] = (),
) -> str:
    """`notebook` as a page, with `style` and `scripts` in its head."""
    text = json.dumps(notebook)
    exporter = PageExporter(template_name="lab", theme=theme, embed_images=True)
    if "require" not in text and "widget-view+json" not in text:
        exporter.require_js_url = _NO_SCRIPT
    resources = {"metadata": {"name": ipynb.stem, "path": str(ipynb.parent)}}
    address, exporter.mathjax_url = exporter.mathjax_url, _NO_MATHJAX
    page, _ = exporter.from_notebook_node(with_latex_set(with_readable_json(notebook), exporter.left), resources)
    page = page.replace(_NO_MATHJAX, address if exporter.left else _NO_SCRIPT)
    head = f"<style>{style}</style>{_STYLE}" + "".join(f"<script>{script}</script>" for script in scripts)
    before, end, body = _NO_PICTURE.sub(r"\1\2", page).partition("</head>")
    return before + head + end + body
