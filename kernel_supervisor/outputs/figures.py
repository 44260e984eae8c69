"""Which outputs are figures that a library's own script draws: plotly's, vega's (altair's) and bokeh's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Library: TypeAlias = Literal["plotly", "vega", "bokeh"]

PLOTLY, BOKEH = "application/vnd.plotly.v1+json", "application/vnd.bokehjs_exec.v0+json"
_VEGA = re.compile(r"application/vnd\.(vega|vegalite)\.v\d+(\.\d+)*\+json\Z")
_PLACE = re.compile(r'\s*<div id="[^"]*" data-root-id="[^"]*"[^>]*></div>\s*\Z')
_BY_PAGE: tuple[tuple[str, Library], ...] = (
    ("Plotly.newPlot(", "plotly"),
    ("vegaEmbed(", "vega"),
    ("cdn.bokeh.org/", "bokeh"),
)
"""By what stands in a page: whose script draws it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawable:
    """A figure, and what of its bundles its library needs."""

    library: Library
    data: Mapping[str, Any]


def figure_in(data: Mapping[str, Any], place: str = "") -> Drawable | None:
    """The figure that a MIME bundle is; `place` is what `place_in` found in the output before it."""
    if PLOTLY in data:
        return Drawable(library="plotly", data={PLOTLY: data[PLOTLY]})
    if vega := vega_in(data):
        return Drawable(library="vega", data={vega: data[vega]})
    if BOKEH in data:
        return Drawable(library="bokeh", data={**data, "text/html": place}) if place else None
    page = data.get("text/html", "")
    library = next((each for word, each in _BY_PAGE if word in page), None) if isinstance(page, str) else None
    return Drawable(library=library, data={"text/html": page}) if library is not None else None


def vega_in(data: Mapping[str, Any]) -> str:
    """The type by which a MIME bundle is a figure of vega's; empty where it is none."""
    return next(filter(_VEGA.match, data), "")


def is_of_a_script(data: Mapping[str, Any]) -> bool:
    """Whether a MIME bundle may be a figure, or the place of one."""
    return figure_in(data, "somewhere") is not None


def place_in(data: Mapping[str, Any]) -> str:
    """Where a page is to show a figure of bokeh's, which comes as a display of its own; empty for another output."""
    page = data.get("text/html", "")
    return page if set(data) == {"text/html"} and isinstance(page, str) and _PLACE.match(page) else ""
