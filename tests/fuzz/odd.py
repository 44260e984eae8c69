"""Odd values, odd neighbours of good ones, and what kernels send where nothing is odd."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

DEEP = "[" * 5_000 + "]" * 5_000
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 10**30, 10**4000, 0.5, 1e308, float("inf"), float("nan")),
    *(
        "",
        "x",
        "0",
        "-1",
        "\x00",
        "a\x00b",
        "\ud800",
        "\udcff",
        "é\n\t",
        "x" * 5_000,
        "../../..",
        "[",
        "%s{}",
        "/dev/zero",
    ),
    *([], [None], [[]], [1, 2, 3], ["x"], {}, {"": None}, {"x": {"x": []}}, [[[[[[[[[[]]]]]]]]]]),
)
"""Every type of JSON, and what Python's reader takes besides."""


def value(chance: random.Random) -> Any:
    """One of them."""
    return copy.deepcopy(chance.choice(VALUES))


def neighbour(good: Any, chance: random.Random) -> Any:
    """`good` with something in it replaced, left out, or added."""
    if not isinstance(good, dict | list) or not good or chance.random() < 0.15:
        return value(chance)
    changed = copy.copy(good)
    key = chance.choice(list(changed) if isinstance(changed, dict) else range(len(changed)))
    what = chance.random()
    if what < 0.15:
        del changed[key]
    elif what < 0.25 and isinstance(changed, dict):
        changed[str(value(chance))[:20]] = value(chance)
    else:
        changed[key] = neighbour(changed[key], chance) if chance.random() < 0.7 else value(chance)
    return changed


def text(value: Any) -> bytes:
    """JSON as Python writes it, `Infinity` and halves of surrogate pairs included."""
    return json.dumps(value).encode()


def damaged(line: bytes, chance: random.Random) -> bytes:
    """Bytes with some of them cut, doubled or replaced."""
    at, until = sorted(chance.randrange(len(line) + 1) for _ in range(2))
    rubbish = chance.choice(
        (b"", b"\xff\xfe", b"\x00", line[at:until] * 2, b"[" * 3_000, b"9" * 5_000, b'"', b"{}", b"\r")
    )
    return line[:at] + rubbish + line[until:]


DATA = {"text/plain": "plain", "text/html": "<b>bold</b>", "image/png": "iVBORw0KGgo=", "application/json": {}}
STATE = {"_model_name": "IntProgressModel", "value": 1, "max": 2, "children": [], "description": "bar"}
CONTENTS: dict[str, dict[str, Any]] = {
    "stream": {"name": "stdout", "text": "text\n"},
    "display_data": {"data": DATA, "metadata": {"image/png": {"width": 1}}, "transient": {"display_id": "d"}},
    "update_display_data": {"data": DATA, "metadata": {}, "transient": {"display_id": "d"}},
    "execute_result": {"data": DATA, "metadata": {}, "execution_count": 1, "transient": {}},
    "error": {"ename": "E", "evalue": "value", "traceback": ["a line"]},
    "clear_output": {"wait": True},
    "execute_input": {"code": "1", "execution_count": 1},
    "comm_open": {"comm_id": "c", "target_name": "t", "data": {"state": STATE, "buffer_paths": [["x"]]}},
    "comm_msg": {"comm_id": "c", "data": {"method": "update", "state": STATE, "buffer_paths": [["x"]]}},
    "comm_close": {"comm_id": "c", "data": {}},
    "status": {"execution_state": "busy"},
    "execute_reply": {
        "status": "error", "execution_count": 1, "ename": "E", "evalue": "v", "traceback": ["a line"],
        "payload": [{"source": "page", "data": DATA}, {"source": "set_next_input", "text": "next"}],
    },
    "input_request": {"prompt": "?", "password": False},
    "supervisor_input_over": {"question": "q"},
    "supervisor_unrecorded": {"channel": "iopub"},
    "no_such_type": {"x": 1},
}  # fmt: skip
"""A content of each type of message."""


def paths(content: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each thing in a content."""
    for name in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield (*before, name)
        yield from paths(content[name], (*before, name))
