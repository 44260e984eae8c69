"""Jupyter messages as they travel over a server's WebSocket, in both subprotocols. Pure: bytes in, bytes out.

https://jupyter-server.readthedocs.io/en/latest/developers/websocket-protocols.html
"""

from __future__ import annotations

import json
import struct
from itertools import accumulate, pairwise
from typing import Any

from jupyter_client.jsonutil import json_default

from kernel_supervisor.core.model import Message, message_of

V1 = "v1.kernel.websocket.jupyter.org"
_PARTS = ("header", "parent_header", "metadata", "content")


def encode(subprotocol: str | None, channel: str, message: dict[str, Any]) -> bytes | str:
    """A request (without buffers) as a frame."""
    if subprotocol != V1:
        return json.dumps({**{part: message[part] for part in _PARTS}, "channel": channel}, default=json_default)
    parts = [channel.encode(), *(json.dumps(message[part], default=json_default).encode() for part in _PARTS)]
    offsets = list(accumulate(map(len, parts), initial=8 * (len(parts) + 2)))
    return b"".join([struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets), *parts])


def decode(subprotocol: str | None, frame: bytes | str) -> Message:
    """The message of a frame. Raises ValueError for others."""
    try:
        if subprotocol == V1 and isinstance(frame, bytes):
            return _decode_v1(frame)
        return _decode_default(frame)
    except (struct.error, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not Jupyter's message: {type(error).__name__}") from None


def _decode_v1(frame: bytes) -> Message:
    (count,) = struct.unpack_from("<Q", frame)
    if not 6 <= count <= len(frame) // 8:
        raise ValueError("not Jupyter's message: its offsets")
    offsets = struct.unpack_from(f"<{count}Q", frame, 8)
    parts = [frame[start:end] for start, end in pairwise(offsets)]
    return message_of(parts[0].decode(), [json.loads(part) for part in parts[1:5]], parts[5:], parts[4])


def _decode_default(frame: bytes | str) -> Message:
    """Text is one JSON object; a binary frame has a table of offsets, the object, and then its buffers."""
    buffers: list[bytes] = []
    if isinstance(frame, bytes):
        (count,) = struct.unpack_from("!I", frame)
        if not 1 <= count <= len(frame) // 4:
            raise ValueError("not Jupyter's message: its offsets")
        offsets = [*struct.unpack_from(f"!{count}I", frame, 4), len(frame)]
        frame, *buffers = [frame[start:end] for start, end in pairwise(offsets)]
    message = json.loads(frame)
    return message_of(str(message["channel"]), [message[part] for part in _PARTS], buffers)
