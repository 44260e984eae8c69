"""What is recorded of contents that are long, or that UTF-8 cannot say.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, Iterator

_ROOM = {"error": 1 << 18, "execute_reply": 1 << 18, "input_request": 1 << 18, "execute_input": 1 << 20}
"""Characters that are recorded of each text in messages that are no outputs."""
PIECE = 1 << 20
"""Characters of a printed text that are recorded together, at the most."""
_ITEM = 1000
"""Characters for which there is room at least in each of many texts."""
_MAY_BE_CUT = ("text/plain", "text/markdown")
"""Of the forms of what is shown those that mean something without their middle."""
_NAMED, _NAME = 5, 100
"""How many forms that are missing are named, and how much of their names that is."""


def bounded(msg: Any, most: int) -> Any:
    """The content of a message as far as it is recorded; None where that is all of it."""
    msg_type = msg["header"]["msg_type"]
    room = _ROOM.get(msg_type)
    if room is None:
        return None
    short = shortened(msg["content"], room if msg_type == "execute_input" else min(room, max(most, 1000)))
    return None if short == msg["content"] else short


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
        return value if len(value) <= room else value[:half] + cut(len(value) - 2 * half, "characters") + value[-half:]
    if isinstance(value, dict):
        most = max(room // _ITEM, 64)
        short = {key: shortened(value[key], room) for key in itertools.islice(value, most)}
        return short if len(short) == len(value) else {**short, "…": cut(len(value) - most, "items")}
    if not isinstance(value, (list, tuple)) or not value:
        return value
    if not all(isinstance(each, str) for each in value):
        return shortened_items(value, room)
    if sum(map(len, value)) <= room:
        return value
    lines = [shortened(each, room // 4) for each in value]
    first, last = fitting(lines, room // 2), fitting(lines[::-1], room // 2)
    if first + last >= len(lines):
        return lines
    return [*lines[:first], cut(len(lines) - first - last, "lines"), *lines[-last:]]


def shortened_items(items: Any, room: int) -> Any:
    """`items`, which are no texts, the same way."""
    half = max(room // _ITEM, 64) // 2
    each_has = max(room // len(items), _ITEM)
    if len(items) <= 2 * half:
        return [shortened(each, each_has) for each in items]
    first, last = ([shortened(each, each_has) for each in part] for part in (items[:half], items[-half:]))
    return [*first, {"…": cut(len(items) - 2 * half, "items")}, *last]


def shown_shortly(msg_type: str, content: Any, room: int) -> Any:
    """An output that is too long to be recorded whole; None where a part of it would mean nothing."""
    if msg_type in ("stream", "error"):
        return shortened(content, room)
    if "data" not in content or msg_type.startswith("comm_"):
        return None
    data, lacking, left = {}, [], room
    for form, value in content["data"].items():
        if form in _MAY_BE_CUT and isinstance(value, str):
            data[form] = shortened(value, room // 2)
        elif size(value) + len(form) <= left:
            data[form], left = value, left - size(value) - len(form)
        else:
            lacking.append(cut(size(value), "characters of %s" % form[:_NAME])[:-1])
    if lacking:
        said = "".join(lacking[:_NAMED]) + (cut(len(lacking) - _NAMED, "forms more") if lacking[_NAMED:] else "")
        data["text/plain"] = str(data.get("text/plain", "")) + said
    large = [name for name in ("metadata", "transient") if size(content.get(name)) > room // 4]
    return {**content, "data": data, **{name: {} for name in large}}


def size(value: Any) -> int:
    """The characters in what is shown."""
    return len(value) if isinstance(value, (str, bytes)) else len(json.dumps(value, default=str))


def cut(number: int, what: str) -> str:
    """What stands in the place of something that is not recorded."""
    return "\n[… %d %s that are not recorded …]\n" % (number, what)


def fitting(lines: list[str], room: int) -> int:
    """How many of the first `lines` have room."""
    return sum(length <= room for length in itertools.accumulate(map(len, lines)))


def pieces(msg: Any, length: int) -> Iterator[tuple[Any, Any]]:
    """A long text that was printed as several messages: their headers and contents. No reader has to hold more."""
    content = sayable(msg["content"])
    for number, start in enumerate(range(0, len(content["text"]), length)):
        header = dict(msg["header"], msg_id="%s-%d" % (msg["header"]["msg_id"], number))
        yield header, dict(content, text=content["text"][start : start + length])
