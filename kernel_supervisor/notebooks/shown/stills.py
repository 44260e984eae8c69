"""What a page says until scripts from the network have drawn what only they can draw: widgets and maps in words."""

from __future__ import annotations

import html
import re

STYLE = """
.ks-still { padding: 0.3em 0.5em; font-family: var(--jp-code-font-family); font-size: var(--jp-code-font-size); }
.jp-OutputArea-child:has(.ks-still):has(+ .jp-OutputArea-child .widget-subarea),
.jp-OutputArea-child:has(.ks-still) + .jp-OutputArea-child:not(:has(.widget-subarea)) { display: none; }
.ks-map:not(.ks-drawn) > div > div { position: relative; overflow: hidden; height: auto !important;
  padding: 0 !important; }
.ks-map:not(.ks-drawn) iframe { visibility: hidden; height: 400px !important; }
.ks-map.ks-drawn { border: 0; padding: 0; font-size: inherit; }
"""
"""A widget's words go once it is drawn behind them, and a map covers its own once its library is there."""
_DRAWN = """<script>(place => place.querySelector("iframe").addEventListener("load", event =>
  event.target.contentWindow.L && place.classList.add("ks-drawn")))(document.currentScript.parentElement)</script>"""
_MAP = '<div class="ks-map ks-missing">'
_UNTRUSTED = re.compile(r"<span[^>]*>Make this Notebook Trusted to load map: File -> Trust Notebook</span>")
_CENTRE = re.compile(r"\bcenter:\s*\[\s*(-?[\d.]+)\s*,\s*(-?[\d.]+)\s*\]")
_ZOOM = re.compile(r'"zoom":\s*(\d+)')
_MARKS = (
    ("marker", re.compile(r"\bL\.(?:marker|circleMarker)\(")),
    ("shape", re.compile(r"\bL\.(?:circle|polygon|polyline|rectangle|geoJson)\(")),
)


def of_widget(said: str) -> str:
    """A widget's text as HTML that is seen until the widget is drawn."""
    return f'<div class="ks-still">{html.escape(said)}</div>'


def is_map(markup: str) -> bool:
    """Whether `markup` is a map as we have it."""
    return markup.startswith(_MAP)


def map_said(markup: str) -> str:
    """What a map of leaflet shows (folium's, for one), in words; empty for what is none."""
    said = html.unescape(markup)
    centre, zoom = _CENTRE.search(said), _ZOOM.search(said)
    if "L.map(" not in said or centre is None:
        return ""
    where = " ".join(f"{float(part):g}{',' * (not place)}" for place, part in enumerate(centre.groups()))
    drawn = ((len(sign.findall(said)), name) for name, sign in _MARKS)
    counts = [f"{number:,} {name}{'s' * (number > 1)}" for number, name in drawn if number]
    closer = f" at zoom {zoom[1]}" if zoom else ""
    return f"A map around {where}{closer}{', with ' + ' and '.join(counts) if counts else ''}"


def with_map_said(markup: str, host: str) -> str:
    """`markup` that says what its map shows where that cannot be drawn, rather than what is to be done in Jupyter."""
    said = map_said(markup)
    words = f"{said}; it is drawn where {html.escape(host)} can be reached."
    if not said or not _UNTRUSTED.search(markup):
        return markup
    map_itself = _UNTRUSTED.sub(lambda _: f"<span>{words}</span>", markup)
    return f"{_MAP}{map_itself}{_DRAWN}</div>"
