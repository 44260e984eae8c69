"""What is recorded of contents that are long, or that UTF-8 cannot say.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import itertools
from typing import Any, Iterator

PIECE = 1 << 20
"""Characters of a printed text that are recorded together, at the most."""


def sayable(value: Any) -> Any:
    """`value` with its lone surrogates written as `\\udc80`."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {sayable(key): sayable(each) for key, each in value.items()}
    return [sayable(each) for each in value] if isinstance(value, (list, tuple)) else value


def shortened(value: Any, room: int) -> Any:
    """`value` without the middle of what is longer than `room` characters in it, and with how much that was."""
    if isinstance(value, str):
        half = room // 2
        return value if len(value) <= room else value[:half] + cut(len(value) - 2 * half, "character") + value[-half:]
    if isinstance(value, dict):
        return {key: shortened(each, room) for key, each in value.items()}
    if not isinstance(value, (list, tuple)) or not value:
        return value
    if not all(isinstance(each, str) for each in value):
        return [shortened(each, max(room // len(value), 1000)) for each in value]
    if sum(map(len, value)) <= room:
        return value
    lines = [shortened(each, room // 4) for each in value]
    first, last = fitting(lines, room // 2), fitting(lines[::-1], room // 2)
    if first + last >= len(lines):
        return lines
    return [*lines[:first], cut(len(lines) - first - last, "line"), *lines[-last:]]


def cut(number: int, what: str) -> str:
    """What stands in the place of something that is not recorded."""
    return "\n[… %d %ss that are not recorded …]\n" % (number, what)


def fitting(lines: list[str], room: int) -> int:
    """How many of the first `lines` have room."""
    return sum(length <= room for length in itertools.accumulate(map(len, lines)))


def pieces(msg: Any) -> Iterator[tuple[Any, Any]]:
    """A long text that was printed as several messages: their headers and contents. No reader has to hold more."""
    content = sayable(msg["content"])
    for number, start in enumerate(range(0, len(content["text"]), PIECE)):
        header = dict(msg["header"], msg_id="%s-%d" % (msg["header"]["msg_id"], number))
        yield header, dict(content, text=content["text"][start : start + PIECE])
