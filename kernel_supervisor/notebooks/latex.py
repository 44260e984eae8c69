"""PDF through pandoc and xelatex, where LaTeX is what a machine has: TeX of a notebook is shown, not run."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from nbconvert.exporters import PDFExporter
from nbconvert.exporters.pdf import LatexFailed
from nbconvert.filters import escape_latex
from nbconvert.utils.pandoc import pandoc

from kernel_supervisor.notebooks.contents import as_markdown
from kernel_supervisor.notebooks.guarded import is_ours
from kernel_supervisor.notebooks.shown.choosing import on_paper
from kernel_supervisor.notebooks.shown.figures import Draughtsman
from kernel_supervisor.notebooks.shown.heads import Head, head_of
from kernel_supervisor.notebooks.shown.pictures import tags_as_markdown
from kernel_supervisor.notebooks.wishes import Wishes

_FILTER = r"""
local function formula(math)
  if not pandoc.write then return nil end
  local document = pandoc.Pandoc({ pandoc.Plain({ math }) })
  local html = pandoc.write(document, "html", { html_math_method = "mathml" })
  local found = nil
  html = html:gsub("<annotation.->.-</annotation>", "")
  pandoc.walk_block(pandoc.Div(pandoc.read(html, "html").blocks), { Math = function(each) found = each end })
  return found and pandoc.Math(math.mathtype, found.text)
end
local function environment(text)
  return text:find("\\begin", 1, true) == 1 and formula(pandoc.Math("DisplayMath", text)) or nil
end
local function lines(text)
  local words = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    if #words > 0 then table.insert(words, pandoc.LineBreak()) end
    table.insert(words, pandoc.Code(line))
  end
  return pandoc.Para(words)
end
local function is_tex(raw) return raw.format:lower():find("tex") ~= nil end
return { {
  Math = function(math) return formula(math) or pandoc.Code(math.text) end,
  CodeBlock = function(block)
    if block.text:find("\\", 1, true) or block.text:find("^^", 1, true) then return lines(block.text) end
  end,
  RawInline = function(raw) if is_tex(raw) then return environment(raw.text) or pandoc.Code(raw.text) end end,
  RawBlock = function(raw)
    if not is_tex(raw) then return nil end
    local math = environment(raw.text)
    return math and pandoc.Para({ math }) or lines(raw.text)
  end,
} }
"""
r"""Formulas as pandoc has understood them, written anew; all other TeX as text, its characters spelled out.

What pandoc does not know, `\input` in a formula for one, could read any file. Verbatim text would end where it says so,
and in a footnote it is none.
"""
_PAPERS = {"a4": "a4paper", "letter": "letterpaper"}
_TEMPLATE = r"""
((* extends 'latex/index.tex.j2' *))
((* block docclass *))\documentclass[11pt,PAPER]{article}((* endblock docclass *))
((* block margins *))
\geometry{PAPER,hmargin=2cm,vmargin=2.1cm,headheight=14pt,headsep=0.5cm,footskip=1cm}
\makeatletter
\def\ps@kshead{\def\@oddfoot{\hfil\footnotesize\thepage{} / \pageref{ks-last}\hfil}\let\@evenfoot\@oddfoot
  \def\@oddhead{\footnotesize\ifnum\value{page}>1 TITLE\hfill ABOUT\fi}\let\@evenhead\@oddhead}
\makeatother
\pagestyle{kshead}
\AtEndDocument{\label{ks-last}}
((* endblock margins *))
((* block maketitle *))OPENING((* endblock maketitle *))
"""
"""nbconvert's, on the paper and under the head that the other engines have."""
_SAID = ("kernelspec", "language_info", "title")
_ATTACHED = {"image/png": ".png", "image/jpeg": ".jpg"}
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".pdf"})
_GUARDS = {"openin_any": "p", "openout_any": "p", "shell_escape": "f"}
"""What TeX's own library lets a document open (texmf.cnf): what is beside it and in TeX's folders, no more."""
_COMMAND = ["xelatex", "-no-shell-escape", "{filename}", "-quiet"]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
"""All but the escape character, of which nbconvert makes colours."""


def shows(character: str) -> bool:
    """Whether `character` can be shown: LaTeX's own fonts have little beyond Latin letters."""
    return character < "\u0250" or "\u2010" <= character <= "\u2044"


def write(notebook: Any, ipynb: Path, pdf: Path, draughtsman: Draughtsman, wishes: Wishes) -> list[str]:
    """Write `notebook`, which stands at `ipynb`, to `pdf`; return what it does not show, by cell.

    Raises OSError or RuntimeError.
    """
    shown = on_paper(notebook, draughtsman, inline_html=False)
    resources = {"metadata": {"name": ipynb.stem, "path": str(ipynb.parent)}}
    os.environ.update(_GUARDS, TEXINPUTS=f"{pdf.parent}:{ipynb.parent}:")
    (template := pdf.parent / "ours.tex.j2").write_text(_template(head_of(notebook, ipynb), wishes), encoding="utf-8")
    exporter: Any = PDFExporter(  # type: ignore[no-untyped-call]  # nbconvert has no types
        latex_command=_COMMAND, latex_count=3, exclude_input=not wishes.with_code, template_file=str(template)
    )
    exporter.register_filter("convert_pandoc", _guarded(ipynb.parent, pdf.parent))
    for name in ("resolve_references", "convert_explicitly_relative_paths"):
        exporter.register_filter(name, _left)  # the first writes links' texts as TeX; the second is about pictures
    try:
        document, _ = exporter.from_notebook_node(_printable(shown.notebook, pdf.parent), resources)
    except LatexFailed as error:
        raise RuntimeError(str(error)) from error
    pdf.write_bytes(document)
    return shown.remarks


def _template(head: Head, wishes: Wishes) -> str:
    """The document's frame; what it is called comes into it with its characters spelled out."""
    title, about = (escape_latex(_CONTROL.sub("", words).replace("((", "( (")) for words in (head.title, head.about))  # type: ignore[no-untyped-call]  # see above
    opening = "" if head.is_in_text else rf"{{\LARGE\bfseries {title}\par}}\smallskip"
    opening += rf"\noindent{{\small {about}\par}}\bigskip"
    said = {"PAPER": _PAPERS[wishes.page], "TITLE": title, "ABOUT": about, "OPENING": opening}
    return re.sub("|".join(said), lambda found: said[found[0]], _TEMPLATE)


def _left(source: str) -> str:
    return source


def _guarded(beside: Path, folder: Path) -> Callable[..., str]:
    """What nbconvert's template has pandoc do, by way of the filter; pictures come to `folder`, where TeX may look."""
    (lua := folder / "guard.lua").write_text(_FILTER)

    def convert(source: str, before: str, after: str, extra_args: Any = None) -> str:
        if before != "json":
            document = json.loads(_pandoc(source, before, "json", f"--lua-filter={lua}"))
            for image in _images(document):
                _place(image, beside, folder)
            source = json.dumps(document)
        return source if after == "json" else _pandoc(source, "json", after)

    return convert


def _pandoc(source: str, before: str, after: str, *arguments: str) -> str:
    return str(pandoc(source, before, after, extra_args=[*arguments]))  # type: ignore[no-untyped-call]  # see above


def _images(node: Any) -> list[Any]:
    """Every image in pandoc's JSON."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = [each for child in children for each in _images(child)]
    return [*found, node] if isinstance(node, dict) and node.get("t") == "Image" else found


def _place(image: Any, beside: Path, folder: Path) -> None:
    """Have the picture in `folder`, under a name that says nothing to TeX; where there is none, its text is left."""
    _, text, (name, _) = image["c"]
    places = [place / each for place in (folder, beside) for each in (name, unquote(name))]
    found = next(filter(_is_picture, places), None)
    if found is None:
        image.update(t="Span", c=[["", [], []], text])
        return
    copied = _unused(folder, found.suffix.lower())
    shutil.copyfile(found, copied)
    image["c"][2][0] = copied.name


def _unused(folder: Path, suffix: str) -> Path:
    return folder / f"picture-{len(os.listdir(folder))}{suffix}"


def _is_picture(path: Path) -> bool:
    with suppress(OSError, ValueError):  # a name that can be none
        return path.suffix.lower() in _PICTURES and path.is_file()
    return False


def _printable(notebook: Any, folder: Path) -> Any:
    """`notebook` without what LaTeX gives up on: control characters, and SVG, which only Inkscape translates.

    And without what nbconvert would write into the document as it stands: raw cells, names, and TeX that no kernel of
    ours showed.
    """
    notebook["metadata"] = {key: value for key, value in notebook.metadata.items() if key in _SAID}
    for cell in notebook.cells:
        cell["source"] = _CONTROL.sub("", cell.source)
        if cell.cell_type == "markdown":
            cell["source"] = tags_as_markdown(cell.source)
        _attach(cell, folder)
        if cell.cell_type == "raw":
            cell.update(cell_type="markdown", source=_fenced(cell.source))
        for output in cell.get("outputs", ()):
            if "metadata" in output:
                output.metadata.clear()  # it may name the file that a picture is written to
            if "text" in output:
                output["text"] = _CONTROL.sub("", output.text)
            _choose(output.get("data", {}), is_ours(cell))
    return notebook


def _choose(data: Any, ours: bool) -> None:
    if data.pop("image/svg+xml", None):
        data.setdefault("text/plain", "A picture in SVG: it is in the notebook.")
    if "text/latex" in data and not ours:
        data["text/markdown"] = as_markdown(data.pop("text/latex"))
    for mime in ("text/plain", "text/markdown"):
        if mime in data:
            data[mime] = _CONTROL.sub("", data[mime])


def _attach(cell: Any, folder: Path) -> None:
    """Have the cell's attachments in `folder`, under names of ours."""
    for name, bundle in cell.pop("attachments", {}).items():
        mime = next((mime for mime in _ATTACHED if mime in bundle), None)
        if mime is not None:
            (own := _unused(folder, _ATTACHED[mime])).write_bytes(base64.b64decode(bundle[mime]))
            cell["source"] = cell.source.replace(f"attachment:{name}", own.name)


def _fenced(text: str) -> str:
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 3)
    return f"{fence}\n{text}\n{fence}"
