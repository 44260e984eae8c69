"""A figure in a page that draws it by a script, as plotly's, altair's and bokeh's own HTML do."""

from __future__ import annotations

import json
import re
from typing import Any

from .bokeh import documents_summary
from .plotly import plotly_figure
from .vega import vega_figure

_LONGEST = 30_000_000
"""Characters of a page that is looked into."""
_PLOTLY, _VEGA, _BOKEH = "Plotly.newPlot(", "var spec = ", '<script type="application/json"'
_SPACE = re.compile(r"[\s,]*")


def page_summary(html: str) -> str | None:
    """What the figure in a page shows; None where there is none that can be read."""
    if len(html) > _LONGEST or "<script" not in html:
        return None
    at = html.rfind(_PLOTLY)
    if at >= 0:
        _name, at = _value(html, at + len(_PLOTLY))
        data, at = _value(html, at)
        return plotly_figure({"data": data, "layout": _value(html, at)[0]})
    at = html.find(_VEGA)
    if at >= 0 and "vegaEmbed" in html:
        return vega_figure(_value(html, at + len(_VEGA))[0])
    at = html.find(_BOKEH)
    if at >= 0 and "Bokeh" in html:
        return documents_summary(_value(html, html.index(">", at) + 1)[0])
    return None


def _value(script: str, at: int) -> tuple[Any, int]:
    """The JSON that stands there, behind spaces and commas, and where it ends."""
    start = _SPACE.match(script, at)
    assert start is not None
    return json.JSONDecoder().raw_decode(script, start.end())
