"""Small words for what people and models are told: names on one line, times."""

from __future__ import annotations

import time


def printable(text: str) -> str:
    """`text` on one line: control characters, which a file's name may have, as Python writes them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)


def when(at: float | None) -> str:
    """A time of the epoch, in local time; with the date where it was not today."""
    if at is None:
        return ""
    today = time.strftime("%Y-%m-%d")
    day, clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at)).split(" ")
    return clock if day == today else f"{day} {clock}"
