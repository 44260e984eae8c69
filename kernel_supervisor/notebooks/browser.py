"""PDF as a browser prints it: the look of a notebook, HTML included; formulas in MathML."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nbformat import from_dict

from kernel_supervisor.notebooks.contents import IMAGES
from kernel_supervisor.notebooks.glyphs import in_a_font
from kernel_supervisor.notebooks.guarded import guard, new_permit, permit_scripts
from kernel_supervisor.notebooks.html import page_of
from kernel_supervisor.notebooks.shown import inks, markup
from kernel_supervisor.notebooks.shown.choosing import is_placeholder, on_paper
from kernel_supervisor.notebooks.shown.chromium import BrowserError, started
from kernel_supervisor.notebooks.shown.figures import Draughtsman
from kernel_supervisor.notebooks.shown.fitting import fitted
from kernel_supervisor.notebooks.shown.formulas import table_in
from kernel_supervisor.notebooks.shown.printed import lines_of
from kernel_supervisor.notebooks.shown.tables import is_table, tables_of
from kernel_supervisor.notebooks.wishes import Wishes

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_SCRIPTS_MS = 10_000
_STYLE = """
.jp-Cell, .jp-Cell-inputWrapper, .jp-Cell-outputWrapper, .jp-InputArea, .jp-OutputArea, .jp-OutputArea-child,
.jp-OutputArea-output, .jp-InputArea-editor, .jp-RenderedHTMLCommon {
  display: block !important; width: auto !important; }
.jp-InputPrompt, .jp-OutputPrompt, .jp-Collapser, .jp-InputCollapser, .jp-OutputCollapser { display: none !important; }
.ks-head { margin: 0 0 0.8cm !important; padding: 0 10px !important; }
.jp-CodeCell .jp-InputArea:not(:has(.ks-line:nth-child(9))), .ks-missing { break-inside: avoid; }
.jp-CodeCell:not(.jp-mod-noOutputs) .jp-Cell-inputWrapper,
.ks-line:first-child:not(:last-child), .ks-line:nth-last-child(-n + 4):not(:last-child) { break-after: avoid; }
.jp-RenderedImage, .jp-RenderedSVG { break-inside: avoid; }
.jp-OutputArea-output pre { font-size: 8.5pt; }
.jp-RenderedHTMLCommon { padding-right: 0 !important; }
.jp-RenderedHTMLCommon pre.ks-printed { padding: 2pt 5px; }
* { scrollbar-width: none; }
.jp-RenderedMarkdown details::details-content { content-visibility: visible; }
.jp-InputArea-editor { border: 0 !important; background: none !important; }
.jp-InputArea-editor .highlight { background: none; }
.jp-InputArea-editor .highlight pre { font-size: 8.5pt; padding: 5px 0 !important; }
.jp-InputArea-editor .ks-line { background: #f5f5f5; padding-left: 1.6em; print-color-adjust: exact; }
.jp-InputArea-editor .ks-line::before { left: 0.4em; }
.jp-InputArea-editor .ks-line:first-child { border-top: 5px solid #f5f5f5; border-radius: 3px 3px 0 0; }
.jp-InputArea-editor .ks-line:last-child { border-bottom: 5px solid #f5f5f5; border-radius: 0 0 3px 3px; }
.jp-InputArea-editor .ks-line:only-child { border-radius: 3px; }
body.jp-Notebook { margin: 0 !important; padding: 0 !important; max-width: none; }
"""
"""Blocks alone: a browser cannot turn a page within anything else. Code has its ground by lines: a box that goes on
overleaf would reach to the page's end."""
shows = in_a_font


def write(notebook: Any, ipynb: Path, pdf: Path, draughtsman: Draughtsman, wishes: Wishes) -> list[str]:
    """Write `notebook`, which stands at `ipynb`, to `pdf`; return what it does not show, by cell.

    Raises OSError or RuntimeError.
    """
    shown = on_paper(notebook, draughtsman, inline_html=True)
    page, permit = pdf.with_suffix(".print.html"), new_permit()
    permit_scripts(shown.notebook, permit)
    _set_outputs(shown.notebook)
    written = page_of(shown.notebook, ipynb, "light", style=markup.STYLE + _STYLE, wishes=replace(wishes, template=""))
    text = markup.with_code_marked(written)
    page.write_text(text, encoding="utf-8", errors="replace")
    guard(page, permit)
    started(pdf.parent / "browser", partial(_print, page, pdf))
    return shown.remarks


def _print(page: Path, pdf: Path, command: list[str]) -> None:
    how = ("--no-pdf-header-footer", f"--virtual-time-budget={_SCRIPTS_MS}", f"--print-to-pdf={pdf}")
    finished = subprocess.run([*command, *how, page.as_uri()], capture_output=True, text=True, check=False)
    if not pdf.exists():
        raise BrowserError(finished.stderr)


def _set_outputs(notebook: Any) -> None:
    """Have tables and texts set for pages, and widgets as texts: they need scripts."""
    for cell in notebook.cells:
        if "outputs" in cell:
            cell["outputs"] = [_set(output) for output in cell.outputs]


def _set(output: Any) -> Any:
    if "text" in output or "traceback" in output:
        text = output.get("text") or "\n".join(output.get("traceback", ())) or str(output.get("ename"))
        is_error = "traceback" in output or output.get("name") == "stderr"
        return _as_html(markup.printed(lines_of(text.rstrip("\n")), is_error=is_error))
    data = output.get("data", {})
    if _WIDGET_VIEW in data and len(data) > 1:
        del data[_WIDGET_VIEW]
    table = table_in(data.get("text/latex", ""))
    if table is not None and "text/html" not in data:
        return _as_html(markup.table(fitted(table)))
    if is_placeholder(output) or any(mime in data for mime in (*IMAGES, "text/markdown", "text/latex")):
        return output
    source = data.get("text/html", "")
    if is_table(source) and (tables := tables_of(source)):
        return _as_html("".join(markup.table(fitted(each)) for each in tables))
    if "text/plain" in data and not source and not any(mime.endswith("javascript") for mime in data):
        return _as_html(markup.printed(lines_of(data["text/plain"])))
    if source:
        data["text/html"] = inks.readable(source)
    return output


def _as_html(source: str) -> Any:
    made = {"output_type": "display_data", "data": {"text/html": source}, "metadata": {}}
    return from_dict(made)  # type: ignore[no-untyped-call]  # nbformat has no types
