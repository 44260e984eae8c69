"""A notebook as one HTML file, through nbconvert. Imported by the converting process alone (1.9 s, 60 MB)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from nbconvert.filters import ansi2html

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.notebooks.dress import dark_theme, dressed, paper
from kernel_supervisor.notebooks.pages import PageExporter, set_latex
from kernel_supervisor.notebooks.shown import formulas, inks, stills
from kernel_supervisor.notebooks.shown.choosing import on_screen
from kernel_supervisor.notebooks.shown.heads import head_of
from kernel_supervisor.notebooks.shown.markup import MISSING_STYLE
from kernel_supervisor.notebooks.shown.spans import with_legible_inks
from kernel_supervisor.notebooks.wishes import Made, Wishes

_NO_SCRIPT = "data:text/javascript,"
_NO_MATHJAX = "data:text/javascript,0"
_NO_PICTURE = re.compile(r"(<img\b[^>]*?\bsrc=)([\"'])data:(?!image/)[^\"'>]*", re.IGNORECASE)
"""nbconvert embeds whatever Markdown names as a picture, a file of secrets too, if it is beside the notebook."""


def write_html(notebook: Any, ipynb: Path, html: Path, wishes: Wishes, progress: Callable[[str], None]) -> Made:
    """Write `notebook`, an nbformat node that stands at `ipynb`, to `html`, in a theme.

    That is light, dark, or auto: as the reader's system is. Figures draw themselves with the scripts of the kernel's
    environment, which are in the page once. Scripts from the network are asked for only where the notebook has a use
    for them, so that a reader without a network does not wait for them in vain.
    """
    progress("writing HTML")
    shown = on_screen(notebook, wishes.environment)
    theme = wishes.made_with
    page = page_of(shown.notebook, ipynb, theme, style=stills.STYLE, scripts=shown.scripts, wishes=wishes)
    html.write_text(page, encoding="utf-8", errors="replace")
    return Made(engine="nbconvert", remarks=shown.remarks)


def page_of(notebook: Any, ipynb: Path, theme: str, *, style: str, scripts: Sequence[str] = (), wishes: Wishes) -> str:
    """`notebook` as a page, with `style` and `scripts` in its head. Raises RefusedError where its template is none."""
    text = json.dumps(notebook)
    exporter = _exporter(theme, wishes)
    if "require" not in text and "widget-view+json" not in text:
        exporter.require_js_url = _NO_SCRIPT
    head = head_of(notebook, ipynb)
    resources = {"metadata": {"name": head.title, "path": str(ipynb.parent)}}
    address, exporter.mathjax_url = exporter.mathjax_url, _NO_MATHJAX
    set_latex(notebook, exporter.left)
    page, _ = exporter.from_notebook_node(notebook, resources)
    page = page.replace(_NO_MATHJAX, address if exporter.left else _NO_SCRIPT)
    page = _NO_PICTURE.sub(r"\1\2", page)
    page = page if wishes.template else dressed(page, theme, dark_theme(exporter.template_paths), head)
    style = MISSING_STYLE + inks.STYLE + style + paper(wishes.page, head)
    style += formulas.style() if "<math" in page else ""
    before, end, body = page.partition("</head>")
    return before + f"<style>{style}</style>" + "".join(f"<script>{each}</script>" for each in scripts) + end + body


def _exporter(theme: str, wishes: Wishes) -> PageExporter:
    """Raises RefusedError where there is no such template."""
    name, folders = wishes.template or "lab", []
    if os.path.isdir(name):
        name, folders = os.path.basename(os.path.normpath(name)), [os.path.dirname(os.path.abspath(name))]
    try:
        exporter = PageExporter(
            template_name=name,
            extra_template_basedirs=folders,
            theme="dark" if theme == "dark" else "light",
            embed_images=True,
            exclude_input=not wishes.with_code,
        )
        exporter.register_filter("ansi2html", _coloured)  # type: ignore[no-untyped-call]  # nbconvert has no types
        exporter.template  # noqa: B018  # looks for it
    except (ValueError, TemplateError) as error:
        raise RefusedError(
            f"options: there is no template {wishes.template!r} that nbconvert can use ({error})"
        ) from error
    return exporter


def _coloured(text: str) -> str:
    """Printed text with its colours, by nbconvert, where they can be read."""
    return with_legible_inks(ansi2html(text))  # type: ignore[no-untyped-call]  # nbconvert has no types
