"""Drawings in SVG that can be made smaller: one that says its size, but not what of it is seen, is cut instead."""

from __future__ import annotations

import re
from typing import Any

_DRAWING = re.compile(r"<svg\b[^>]*>", re.IGNORECASE)
_SIZE = re.compile(r"""(?<![\w-])(width|height)\s*=\s*["']?\s*(\d+(?:\.\d+)?)(?:px)?\s*(?=["'\s>])""", re.IGNORECASE)


def with_views(data: Any) -> None:
    """Have each drawing in a bundle say that all of it is seen."""
    for mime in ("image/svg+xml", "text/html"):
        if isinstance(data.get(mime), str) and "<svg" in data[mime]:
            data[mime] = _DRAWING.sub(_viewed, data[mime])


def _viewed(tag: re.Match[str]) -> str:
    sizes = {name.lower(): size for name, size in _SIZE.findall(tag[0])}
    if "viewbox" in tag[0].lower() or len(sizes) < 2:
        return tag[0]
    return f'<svg viewBox="0 0 {sizes["width"]} {sizes["height"]}"{tag[0][4:]}'
