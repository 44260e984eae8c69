"""The JavaScript of plotting libraries, as it lies in the environment that made the figures, or beside us."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_BOKEHS = ("bokeh", "bokeh-gl", "bokeh-widgets", "bokeh-tables")
_FILES = {
    "plotly": ("plotly/package_data/plotly.min.js",),
    "bokeh": tuple(f"bokeh/server/static/js/{name}.min.js" for name in _BOKEHS),
}


def _fetched(address: str) -> re.Pattern[str]:
    return re.compile(rf"<script\b[^>]*\bsrc=[\"']https?://{address}[\"'][^>]*>\s*</script>", re.IGNORECASE)


_ADDRESSES = (
    (_fetched(r"cdn\.plot\.ly/plotly[\w.-]*\.js"), "plotly"),
    (_fetched(r"cdn\.bokeh\.org/[\w./-]*\.js"), "bokeh"),
    (_fetched(r"cdn\.jsdelivr\.net/npm/vega[\w./@-]*"), "vega"),
)
"""Where pages have them from, if they have them from the network."""


@cache
def scripts_of(library: str, environment: str) -> tuple[str, ...]:
    """The library's scripts in the folder `environment` of a Python's, or beside us; none where they are not there."""
    if library == "vega":
        return _vegas()
    for folder in _folders(environment):
        found = [folder / name for name in _FILES.get(library, ())]
        if found and found[0].is_file():
            return tuple(path.read_text(encoding="utf-8") for path in found if path.is_file())
    return ()


def without_addresses(html: str) -> tuple[str, list[str]]:
    """`html` without the tags that fetch libraries we know, and the names of those."""
    wanted = []
    for address, library in _ADDRESSES:
        html, number = address.subn("", html)
        wanted += [library] if number else []
    return html, wanted


def vega_converter() -> Any | None:
    """The package that draws vega's figures, where it is installed."""
    try:
        return importlib.import_module("vl_convert")  # optional, and 40 MB
    except ImportError:
        return None


def _vegas() -> tuple[str, ...]:
    converter = vega_converter()
    return (converter.javascript_bundle("window.vegaEmbed = vegaEmbed;"),) if converter else ()


def _folders(environment: str) -> Iterator[Path]:
    if environment:
        yield from sorted(Path(environment).glob("lib/python3*/site-packages"))
    yield from (Path(folder) for folder in sys.path if folder.endswith("site-packages"))
