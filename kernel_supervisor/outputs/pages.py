"""An HTML output: what it is, what can be read in it, and the picture in it that is seen first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

from kernel_supervisor.amounts import several, size
from kernel_supervisor.outputs.markup import Table, read

_SHORT, _FEW_LINES = 400, 20
"""Characters and lines of text that need no word about what they stand in."""
_WHOLE = 8000
"""Characters of text that are shown as they are; of more, the tables are cut first."""
_ROWS = 10
"""Rows of a table that is cut."""
BRIEF = "[in brief: this is not the whole page]"
_TABLES = 5
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,300})", re.IGNORECASE)
_TITLE_REACH = 20_000
_FRAME = re.compile(r'frames\[(\d{1,6})\] = "data:image/(png|jpeg);base64,([A-Za-z0-9+/=\\\s]*)"')
"""A frame of an animation as matplotlib's `to_jshtml` writes it, its base64 in continued lines."""
_INTERVAL = re.compile(r"new Animation\(frames, \w+, \w+, (\d{1,9}(?:\.\d{1,9})?)")
_DATA = re.compile(r"data:image/(png|jpeg|gif|webp|bmp);base64,([A-Za-z0-9+/=\s]{100,})", re.IGNORECASE)
_TAG_REACH = 2000
"""Characters of a tag in which its picture begins."""
_DRAWN = (
    ("Plotly.newPlot", "plotly"),
    ("vegaEmbed", "Vega"),
    ("Bokeh.", "bokeh"),
    ("L.map(", "Leaflet"),
    ("echarts.init", "ECharts"),
    ("vis.Network", "vis.js"),
    ("Highcharts", "Highcharts"),
    ("mermaid", "Mermaid"),
    ("d3.select", "D3"),
)
"""By what stands in a page: whose script draws it."""


def page(html: str) -> str:
    """The text of a page, what it is before it where it is long; empty where it has none and nobody draws it."""
    animated = _animation(html)
    if animated:
        return f"HTML, {size(len(html))}: {animated}"
    found = read(html)
    about = [said for said in (_title(html), _drawn(html)) if said]
    if len(found.text) <= _SHORT and found.text.count("\n") < _FEW_LINES and not about:
        return found.text
    text, tables = found.text, found.tables
    if len(text) > _WHOLE or not found.is_whole:
        brief = read(html, rows=_ROWS)
        text, tables = f"{_shortened(brief.text)}\n{BRIEF}", brief.tables
    about += [*map(_told, tables[:_TABLES]), *([f"{len(tables) - _TABLES} more tables"] if tables[_TABLES:] else [])]
    outline = ", ".join(about or ["text"])
    return f"HTML, {size(len(html))}: {outline}" + (f":\n{text}" if text else ", no text")


def embedded(data: Mapping[str, Any]) -> tuple[str, str]:
    """The picture in a bundle's HTML, as its type and base64: an animation's first frame, or the only one there is.

    Both are empty where there is none.
    """
    html = data.get("text/html")
    html = "".join(map(str, html)) if isinstance(html, list) else html
    if not isinstance(html, str) or ";base64," not in html:
        return "", ""
    frame = _FRAME.search(html)
    if frame:
        return f"image/{frame[2]}", re.sub(r"[\\\s]", "", frame[3])
    found = list(itertools.islice((each for each in _DATA.finditer(html) if _is_shown(html, each.start())), 2))
    return (f"image/{found[0][1].lower()}", found[0][2]) if len(found) == 1 else ("", "")


def _is_shown(html: str, at: int) -> bool:
    """Whether what stands there is the picture of a tag."""
    tag = html.rfind("<", max(0, at - _TAG_REACH), at)
    return tag >= 0 and html[tag : tag + 4].lower() == "<img" and html.find(">", tag, at) < 0


def _animation(html: str) -> str:
    if 'frames[0] = "data:image/' not in html:
        return ""
    last = max(int(match[1]) for match in re.finditer(r"frames\[(\d{1,6})\] = ", html))
    apart = _INTERVAL.search(html)
    return (
        f"animation of {several(last + 1, 'frame')}"
        + (f", {float(apart[1]):g} ms apart" if apart else "")
        + ", its first frame"
    )


def _title(html: str) -> str:
    found = _TITLE.search(html[:_TITLE_REACH])
    title = " ".join(unescape(found[1]).split()) if found else ""
    return f"'{title[:100]}'" if title else ""


def _drawn(html: str) -> str:
    names = [name for mark, name in _DRAWN if mark in html] if "<script" in html.lower() else []
    return f"drawn by a script ({', '.join(names[:2])})" if names else ""


def _told(table: Table) -> str:
    return f"table of {several(table.rows, 'row')} × {several(table.columns, 'column')}"


def _shortened(text: str) -> str:
    if len(text) <= _WHOLE:
        return text
    end = text.rfind("\n", _WHOLE // 2, _WHOLE)
    kept = text[: end if end > 0 else _WHOLE]
    return f"{kept}\n[… {len(text) - len(kept):,} more characters of text …]"
