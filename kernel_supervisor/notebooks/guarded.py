"""What a browser that draws a notebook may do: run the scripts of what our kernels showed, and reach nothing else.

What was loaded from a file, and all Markdown, may come from anybody. Imported by the converting process alone.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

_JAVASCRIPT = "application/javascript"
_SCRIPT = re.compile(r"<script(?=[\s>/])", re.IGNORECASE)
_META = re.compile(r"<meta(?=[\s>/])", re.IGNORECASE)
_NOBODY = "socks5://127.0.0.1:9"
"""The port that discards, on which nothing listens."""
OFFLINE = (
    f"--proxy-server={_NOBODY}",
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-component-update",
)
"""Options with which a Chromium reaches no network, its own machine's included."""


def is_ours(cell: Any) -> bool:
    """Whether a kernel of ours made its outputs, as `cells` has it, which writes this of every cell."""
    about = cell.get("metadata", {}).get("kernel_supervisor", {})
    return "status" in about and not about.get("loaded")


def permit_scripts(notebook: Any, permit: str) -> None:
    """Give the scripts of our kernels' outputs the permit, a word in ASCII."""
    for cell in notebook.cells:
        if is_ours(cell):
            for output in cell.get("outputs", ()):
                _permit(output.get("data", {}), permit)


def guard(page: Path, permit: str) -> None:
    """Have the page run no script without the permit, fetch nothing, and lead nowhere. Raises OSError."""
    policy = {
        "default-src": "'none'",
        "script-src": f"'nonce-{permit}' 'strict-dynamic' 'unsafe-eval'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "media-src": "data: blob:",
        "font-src": "data:",
        "worker-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    content = "; ".join(f"{name} {value}" for name, value in policy.items())
    head, end, body = page.read_text(encoding="utf-8").partition("</head>")
    head = head.replace("<head>", f'<head><meta http-equiv="Content-Security-Policy" content="{content}">', 1)
    page.write_text(head + end + _META.sub("<x-meta", body), encoding="utf-8")


def new_permit() -> str:
    """A word that nothing in a page can know."""
    return secrets.token_hex(16)


def permitted(html: str, permit: str) -> str:
    """`html` whose scripts have the permit."""
    return _SCRIPT.sub(f"<script nonce={permit}", html)  # without quotes: it may be in a script's string, too


def _permit(data: Any, permit: str) -> None:
    html = data.get("text/html", "")
    if _JAVASCRIPT in data:  # nbconvert has it before any HTML, in a tag of its own
        html = f"<script>{data.pop(_JAVASCRIPT)}</script>"
    if html:
        data["text/html"] = permitted(html, permit)
