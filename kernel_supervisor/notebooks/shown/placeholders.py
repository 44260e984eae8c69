"""What stands in a document for an output that it cannot show, and how the answer tells of it."""

from __future__ import annotations

import html
import re
from typing import Any

from kernel_supervisor.notebooks.contents import IMAGES
from kernel_supervisor.notebooks.shown.stills import map_said

CAPTION = "text/llm+plain"
_NAME_ONLY = re.compile(r"<(?:[\w.]+\.)?(\w+)(?: object)?(?: at 0x[0-9a-f]+)?>\Z|(?:[a-z]\w*\.)*[A-Z]\w*\(\.\.\.\)\Z")
_LOADS = ("application/vnd.bokehjs_load.v0+json", "application/vnd.holoviews_load.v0+json")
_KINDS = (
    ("<audio", "a sound"),
    ("<video", "a video"),
    ("<iframe", "a page within the page"),
    ("<script", "an interactive output"),
    ("<canvas", "an interactive output"),
)
_ELSEWHERE = re.compile(r"<(?:script|iframe|link)\b[^>]*?\b(?:src|href)\s*=\s*[\"']?https?://([\w.-]+)", re.IGNORECASE)
_CAPTION_LENGTH = 600


def says_something(text: str) -> bool:
    """Whether `text` says more of an output than its class's name."""
    return bool(text.strip()) and not _NAME_ONLY.match(text.strip())


def is_loading(data: Any) -> bool:
    """Whether `data` shows nothing itself, but brings a library for what is shown later."""
    markup = data.get("text/html", "")
    loads_plotly = "PlotlyConfig" in markup and "newPlot" not in markup
    return any(mime in data for mime in _LOADS) or "Loading BokehJS" in markup or loads_plotly


def where_from(markup: str) -> str:
    """The machine on the network without which `markup` shows nothing; empty where it needs none."""
    found = _ELSEWHERE.search(html.unescape(markup))
    return found[1] if found else ""


def kind_of(data: Any) -> str:
    """What `data` is, in words for whoever does not see it."""
    plain = _NAME_ONLY.match(data.get("text/plain", "").strip())
    name = f" ({plain[1]})" if plain and plain[1] else ""
    markup = data.get("text/html", "").lower()
    for tag, words in _KINDS:
        if tag in markup:
            return words + name
    if "text/html" in data:
        return "an output in HTML" + name
    mimes = [mime for mime in data if mime not in ("text/plain", CAPTION)]
    return f"an output of type {mimes[0]}{name}" if mimes else f"an output{name}"


def placeholder(data: Any, kind: str, why: str = "") -> dict[str, str]:
    """The bundle that stands for `data`: what it is, why it is not shown, and what it says of itself."""
    words = f"Not shown: {kind}{f'; {why}' if why else ''}. It is in the notebook."
    caption = caption_of(data)
    caption = f"\n{caption}" if caption else ""
    block = f'<div class="ks-missing">{html.escape(words + caption)}</div>'
    return {"text/plain": words + caption, "text/html": block.replace("\n", "<br>")}


def caption_of(data: Any) -> str:
    """What `data` says of itself: its text for models, its plain text, or what its map shows."""
    said = data.get(CAPTION, "") or data.get("text/plain", "")
    said = said.strip() if isinstance(said, str) and says_something(said) else map_said(data.get("text/html", ""))
    return said if len(said) <= _CAPTION_LENGTH else said[:_CAPTION_LENGTH] + " …"


def is_shown(data: Any) -> bool:
    """Whether a document can show `data` itself, by a picture, a text or its HTML."""
    if any(mime in data for mime in (*IMAGES, "text/markdown", "text/latex", "application/json")):
        return True
    return says_something(data.get("text/plain", ""))
