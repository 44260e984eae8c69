"""nbconvert's page of HTML, its formulas in MathML: no script has to be fetched to read them."""

from __future__ import annotations

import re
from typing import Any

from bs4 import BeautifulSoup
from jinja2 import pass_context
from mistune.plugins import import_plugin
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from kernel_supervisor.notebooks.shown.formulas import latex_as_html, mathml, table_in
from kernel_supervisor.notebooks.shown.inks import readable
from kernel_supervisor.notebooks.shown.markup import plain_table

_FOOTNOTE = re.compile(r'(?:id="|href="#)fn(?:ref)?-(?=\d)')
"""Begins a footnote's name, which is to be one cell's alone."""
_PICTURE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)


class PageExporter(HTMLExporter):
    """As it is, but for formulas; what of those is not understood is left for MathJax."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]  # nbconvert has no types
        self.left: list[str] = []
        """Formulas that are not understood."""
        self._cells = 0

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """What nbconvert makes of a cell's Markdown."""
        renderer = _Renderer(
            escape=False,
            attachments=context.get("cell", {}).get("attachments", {}),
            embed_images=self.embed_images,
            path=context.get("resources", {}).get("metadata", {}).get("path", ""),
            anchor_link_text=self.anchor_link_text,
            exclude_anchor_links=self.exclude_anchor_links,
            **self.lexer_options,
        )
        renderer.left = self.left
        plugins = map(import_plugin, (*MarkdownWithMath.DEFAULT_PLUGINS, "footnotes"))
        page = str(MarkdownWithMath(renderer=renderer, plugins=plugins).render(source))
        if renderer.has_tags:
            page = str(BeautifulSoup(readable(page), "html.parser"))  # what is left open is closed
        self._cells += 1
        return _FOOTNOTE.sub(rf"\g<0>{self._cells}-", page)


class _Renderer(IPythonRenderer):
    left: list[str]
    has_tags = False

    def _html_embed_images(self, html: str) -> str:
        """What Markdown has of HTML: often one tag, which nbconvert would close before what it is to hold."""
        self.has_tags = True
        return _PICTURE.sub(lambda found: str(super(_Renderer, self)._html_embed_images(found[0])), html)

    def _src_to_base64(self, src: str) -> str | None:
        """The picture that an `<img>` names, attached ones, too."""
        if src.startswith("attachment:"):
            attached = self.attachments.get(src.removeprefix("attachment:"))
            return str(self._embed_image_or_attachment(src)) if attached else None
        found = super()._src_to_base64(src)
        return str(found) if found is not None else None

    def block_math(self, body: str) -> str:
        return mathml(body, is_block=True) or self._as_it_is(body, super().block_math(body))

    def inline_math(self, body: str) -> str:
        return mathml(body, is_block=False) or self._as_it_is(body, super().inline_math(body))

    def latex_environment(self, name: str, body: str) -> str:
        tex = rf"\begin{{{name}}}{body}\end{{{name}}}"
        return mathml(tex, is_block=True) or self._as_it_is(tex, super().latex_environment(name, body))

    def _as_it_is(self, tex: str, said: str) -> str:
        self.left.append(tex)
        return said


def set_latex(notebook: Any, left: list[str]) -> None:
    """Have outputs in LaTeX as HTML, too; those that are not understood come into `left`."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/latex" in data and not any(mime in data for mime in ("text/html", "text/markdown")):
                table = table_in(data["text/latex"])
                source = plain_table(table) if table is not None else latex_as_html(data["text/latex"])
                if source is None:
                    left.append(data["text/latex"])
                else:
                    data["text/html"] = source
