"""PDF through pandoc and Typst, both from PyPI: formulas without a network, tables and code as on paper."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from nbformat import from_dict

from kernel_supervisor.notebooks.contents import IMAGES, as_markdown, is_html_only
from kernel_supervisor.notebooks.glyphs import in_a_font
from kernel_supervisor.notebooks.guarded import new_permit
from kernel_supervisor.notebooks.shown import typst
from kernel_supervisor.notebooks.shown.choosing import is_placeholder, on_paper
from kernel_supervisor.notebooks.shown.figures import WIDEST, Draughtsman, size_of
from kernel_supervisor.notebooks.shown.fitting import fitted
from kernel_supervisor.notebooks.shown.formulas import table_in, with_formulas_marked
from kernel_supervisor.notebooks.shown.heads import head_of
from kernel_supervisor.notebooks.shown.pictures import tags_as_markdown
from kernel_supervisor.notebooks.shown.printed import Line, lines_of
from kernel_supervisor.notebooks.shown.tables import is_table, tables_of
from kernel_supervisor.notebooks.wishes import Wishes

_FILTER = """
local permit, pieces = "PERMIT", PIECES
local shown = {
  RawBlock = function(raw) if raw.format:lower() == "typst" then return pandoc.CodeBlock(raw.text) end end,
  RawInline = function(raw) if raw.format:lower() == "typst" then return pandoc.Code(raw.text) end end,
}
function RawInline(raw)
  if raw.format == "html" and raw.text:match("^<[bB][rR]%s*/?>$") then return pandoc.LineBreak() end
  return shown.RawInline(raw)
end
local tags = {
  sub = pandoc.Subscript, sup = pandoc.Superscript, b = pandoc.Strong, strong = pandoc.Strong, i = pandoc.Emph,
  em = pandoc.Emph, u = pandoc.Underline, ins = pandoc.Underline, s = pandoc.Strikeout, del = pandoc.Strikeout,
}
local widest = WIDEST
local function pixels(length)
  local number, unit = (length or ""):match("^%s*([%d.]+)%s*([a-z]*)%s*$")
  local each = { [""] = 1, px = 1, ["in"] = 96, pt = 4 / 3, cm = 37.8, mm = 3.78 }
  return number and tonumber(number) * (each[unit] or 0) or 0
end
local function shrunk(image)
  if pixels(image.attributes.width) <= widest then return nil end
  image.attributes.width, image.attributes.height = "100%", nil
  return image
end
local function fitting(block)
  local wide = 0
  block:walk({ Image = function(image) wide = wide + pixels(image.attributes.width) end })
  if wide <= widest then return nil end
  for number, column in ipairs(block.colspecs) do block.colspecs[number] = { column[1], 1 / #block.colspecs } end
  return block:walk({ Image = function(image)
    image.attributes.width, image.attributes.height = "100%", nil
    return image
  end })
end
local function is_tag(inline, pattern)
  return inline.t == "RawInline" and inline.format == "html" and inline.text:lower():match(pattern)
end
function Inlines(inlines)
  for first = #inlines, 1, -1 do
    local name = is_tag(inlines[first], "^<(%a+)%s*>$")
    if name and tags[name] then
      local held, last = pandoc.Inlines({}), first + 1
      while inlines[last] and not is_tag(inlines[last], "^</" .. name .. "%s*>$") do
        held:insert(inlines[last])
        last = last + 1
      end
      if inlines[last] then
        for _ = first, last do inlines:remove(first) end
        inlines:insert(first, tags[name](held))
      end
    end
  end
  return inlines
end
function Math(math)
  for _, name in ipairs({ "cases", "dcases", "rcases", "array" }) do
    math.text = math.text:gsub("\\\\begin{" .. name .. "}.-\\\\end{" .. name .. "}", function(environment)
      return (environment:gsub("([^\\\\])&", "%1&\\\\quad "))
    end)
  end
  return math
end
function CodeBlock(block) if block.text == "" then return {} end end
function RawBlock(block)
  local number = block.text:match("^" .. permit .. "(%d+)%s*$")
  if number then
    local file <close> = io.open(pieces .. "/piece-" .. number)
    return pandoc.RawBlock("typst", file:read("a"))
  end
  if block.format:lower() == "typst" then return shown.RawBlock(block) end
  if block.format ~= "html" and block.format ~= "markdown" then return nil end
  local document = pandoc.read(block.text, block.format):walk(shown)
  local shows = pandoc.utils.stringify(document) ~= ""
  document:walk({ Image = function() shows = true end })
  if shows then return document.blocks end
  return pandoc.Para(pandoc.Emph("An interactive output: it is in the notebook."))
end
function Pandoc(document)
  local places = {}
  document:walk({ Header = function(header)
    places[(pandoc.utils.stringify(header):gsub("%s", "-"))] = header.identifier
    places[header.identifier] = header.identifier
  end })
  document.blocks = document.blocks:walk({ Div = function(div) return div.content end })
  document = document:walk({ Table = fitting }):walk({ Image = shrunk })
  for number, block in ipairs(document.blocks) do
    if block.t == "Plain" then document.blocks[number] = pandoc.Para(block.content) end
  end
  return document:walk({ Link = function(link)
    if link.target:sub(1, 1) ~= "#" then return nil end
    local named = link.target:sub(2):gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
    if not places[named] then return link.content end
    link.target = "#" .. places[named]
    return link
  end })
end
"""
"""Outputs in HTML and Markdown as what they say: pandoc itself leaves them out of another format.

What is in Typst's own language is shown: run, it could read any file, and fetch packages. Links into the document name
headings as Jupyter does, or pandoc; those that lead nowhere, which Typst takes for an error, are text.
"""

_PREAMBLE = """
#show regex("\\S{60,}"): word => word.text.clusters().join("\\u{200b}")
"""
"""Words longer than a line may be broken, where Typst would let them run over the edge."""
_PAPERS = {"a4": "a4", "letter": "us-letter"}
_NOBODY = "http://127.0.0.1:9"
"""Where pandoc asks for what a notebook has from the network: it reaches nobody."""
shows = in_a_font
"""Typst brings fonts for the Latin, Greek and Cyrillic scripts."""


def write(notebook: Any, ipynb: Path, pdf: Path, draughtsman: Draughtsman, wishes: Wishes) -> list[str]:
    """Write `notebook`, which stands at `ipynb`, to `pdf`; return what it does not show, by cell.

    Raises OSError, RuntimeError or ValueError.
    """
    shown = on_paper(notebook, draughtsman, inline_html=False)
    # Optional, and without types: imported by name, where they are needed.
    pypandoc, engine = importlib.import_module("pypandoc"), importlib.import_module("typst")
    files = (".part.ipynb", ".lua", ".head", ".opening", ".pages", ".typ")
    source, lua, preamble, opening, sheet, typ = (pdf.with_suffix(suffix) for suffix in files)
    head = head_of(notebook, ipynb)
    pieces = _Pieces(pdf.parent, new_permit())
    source.write_text(json.dumps(_reduced(shown.notebook, pieces, wishes)), encoding="utf-8", errors="replace")
    lua.write_text(
        _FILTER.replace("PERMIT", pieces.permit)
        .replace("WIDEST", str(WIDEST))
        .replace("PIECES", typst.literal(str(pieces.folder)))
    )
    preamble.write_text(_PREAMBLE + typst.PREAMBLE + typst.paged(head), encoding="utf-8", errors="replace")
    opening.write_text(typst.opening(head), encoding="utf-8", errors="replace")
    sheet.write_text(json.dumps({"papersize": _PAPERS[wishes.page], "margin": {"x": "2cm", "y": "2.1cm"}}))
    os.environ.update({"http_proxy": _NOBODY, "https_proxy": _NOBODY, "no_proxy": ""})
    pypandoc.convert_file(
        str(source),
        "typst",
        format="ipynb+footnotes+link_attributes",
        outputfile=str(typ),
        extra_args=[
            "--standalone",
            "--ipynb-output=all",
            f"--lua-filter={lua}",
            f"--include-in-header={preamble}",
            f"--include-before-body={opening}",
            f"--extract-media={pdf.parent / 'media'}",
            f"--resource-path={ipynb.parent}",
            f"--metadata-file={sheet}",
        ],
    )
    engine.compile(str(typ), output=str(pdf), root="/")
    return shown.remarks


class _Pieces:
    """What we set ourselves: each in a file, which the filter puts where the document has its mark."""

    def __init__(self, folder: Path, permit: str) -> None:
        self.folder, self.permit = folder, permit
        self._number = 0

    def put(self, markup: str) -> dict[str, str]:
        """The bundle in whose place `markup` comes."""
        self._number += 1
        (self.folder / f"piece-{self._number}").write_text(markup, encoding="utf-8", errors="replace")
        return {"text/html": f"{self.permit}{self._number}"}


def _reduced(notebook: Any, pieces: _Pieces, wishes: Wishes) -> Any:
    """`notebook` with one form of each output, that which is best on paper."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = tags_as_markdown(with_formulas_marked(cell.source))
        elif cell.cell_type == "raw" and not any(cell.metadata.get(name) for name in ("raw_mimetype", "format")):
            cell.update(_printed(cell.source))
        elif cell.cell_type == "code" and not wishes.with_code:
            cell.source = ""
        if "outputs" in cell:
            cell.outputs = [_as_display(_best(output, pieces), output) for output in cell.outputs]
    return notebook


def _printed(text: str) -> Any:
    """A raw cell's words as output: pandoc leaves out what is for no format."""
    output = {"output_type": "stream", "name": "stdout", "text": text}
    cell = {"cell_type": "code", "source": "", "execution_count": None, "outputs": [output]}
    return from_dict(cell)  # type: ignore[no-untyped-call]  # nbformat has no types


def _as_display(data: dict[str, str], output: Any) -> Any:
    about = output.get("metadata", {})
    sizes = {mime: about[mime] for mime in IMAGES if mime in data and _is_size(about.get(mime))}
    if "image/png" in data and not sizes and (size := size_of(data["image/png"])):
        sizes = {"image/png": size}
    return {"output_type": "display_data", "data": data, "metadata": sizes}


def _is_size(about: Any) -> bool:
    """Whether that is a picture's size, and one that a page has room for."""
    if not isinstance(about, dict):
        return False
    width, height = about.get("width"), about.get("height")
    return isinstance(width, int) and isinstance(height, int) and 0 < width <= WIDEST and height > 0


def _best(output: Any, pieces: _Pieces) -> dict[str, str]:
    if "text" in output:
        return pieces.put(typst.printed(_lines(output.text), is_error=output.name == "stderr"))
    if "traceback" in output:
        text = "\n".join(output.traceback) or f"{output.ename}: {output.evalue}"
        return pieces.put(typst.printed(_lines(text), is_error=True))
    data = output.get("data", {})
    if is_placeholder(output):
        return pieces.put(typst.placeholder(data.get("text/plain", "")))
    return _best_of(data, pieces)


def _best_of(data: Any, pieces: _Pieces) -> dict[str, str]:
    for mime in (*IMAGES, "text/markdown"):
        if mime in data:
            return {mime: data[mime]}
    if "text/latex" in data:
        table = table_in(data["text/latex"])
        if table is not None:
            return pieces.put(typst.table(fitted(table)))
        return {"text/markdown": as_markdown(data["text/latex"])}
    markup = data.get("text/html", "")
    if is_table(markup) and (tables := tables_of(markup)):
        return pieces.put("".join(typst.table(fitted(each)) for each in tables))
    if markup and (is_html_only(data) or not data.get("text/plain", "").strip()):
        return {"text/html": markup}
    return pieces.put(typst.printed(_lines(data.get("text/plain", ""))))


def _lines(text: str) -> list[Line]:
    return lines_of(text.rstrip("\n"))
