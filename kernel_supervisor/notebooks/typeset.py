"""PDF through pandoc and Typst, both from PyPI: formulas without a network, tables and code as on paper."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

from kernel_supervisor.notebooks.contents import IMAGES, as_markdown, is_html_only, with_readable_json
from kernel_supervisor.notebooks.glyphs import in_a_font
from kernel_supervisor.notebooks.terminal import INVISIBLE

_FILTER = """
local shown = {
  RawBlock = function(raw) if raw.format:lower() == "typst" then return pandoc.CodeBlock(raw.text) end end,
  RawInline = function(raw) if raw.format:lower() == "typst" then return pandoc.Code(raw.text) end end,
}
RawInline = shown.RawInline
function RawBlock(block)
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
#show raw.where(block: true): it => if it.lang == none { it } else {
  block(fill: luma(245), inset: 6pt, radius: 2pt, width: 100%, it)
}
"""
"""Words longer than a line may be broken, where Typst would let them run over the edge; code has a ground."""
_NOBODY = "http://127.0.0.1:9"
"""Where pandoc asks for what a notebook has from the network: it reaches nobody."""
shows = in_a_font
"""Typst brings fonts for the Latin, Greek and Cyrillic scripts."""


def write(notebook: Any, ipynb: Path, pdf: Path) -> None:
    """Write `notebook`, which stands at `ipynb`, to `pdf`. Raises OSError, RuntimeError or ValueError."""
    # Optional, and without types: imported by name, where they are needed.
    pypandoc, typst = importlib.import_module("pypandoc"), importlib.import_module("typst")
    source, lua, preamble, typ = (pdf.with_suffix(suffix) for suffix in (".part.ipynb", ".lua", ".head", ".typ"))
    source.write_text(json.dumps(_reduced(notebook)), encoding="utf-8", errors="replace")
    lua.write_text(_FILTER)
    preamble.write_text(_PREAMBLE)
    os.environ.update({"http_proxy": _NOBODY, "https_proxy": _NOBODY, "no_proxy": ""})
    pypandoc.convert_file(
        str(source),
        "typst",
        format="ipynb",
        outputfile=str(typ),
        extra_args=[
            "--standalone",
            "--ipynb-output=all",
            f"--lua-filter={lua}",
            f"--include-in-header={preamble}",
            f"--extract-media={pdf.parent / 'media'}",
            f"--resource-path={ipynb.parent}",
            "--variable=papersize:a4",
            "--variable=margin.x:2cm",
            "--variable=margin.y:2cm",
        ],
    )
    typst.compile(str(typ), output=str(pdf), root="/")


def _reduced(notebook: Any) -> Any:
    """`notebook` with one form of each output, that which is best on paper, without terminal colours."""
    notebook = with_readable_json(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if "data" in output:
                output["data"] = _best(output.data)
            if "text" in output:
                output["text"] = INVISIBLE.sub("", output.text)
            if "traceback" in output:
                output["traceback"] = [INVISIBLE.sub("", line) for line in output.traceback]
    return notebook


def _best(data: Any) -> dict[str, Any]:
    for mime in (*IMAGES, "text/markdown"):
        if mime in data:
            return {mime: data[mime]}
    if "text/latex" in data:
        return {"text/markdown": as_markdown(data["text/latex"])}
    if "<table" in data.get("text/html", "") or is_html_only(data):
        return {"text/html": data["text/html"]}
    if "text/plain" in data:
        return {"text/plain": INVISIBLE.sub("", data["text/plain"])}
    return {"text/plain": "\n".join(json.dumps(value) for value in data.values())}
