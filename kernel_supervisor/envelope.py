"""What travels on the daemon's socket: a kind, a small JSON header, and at most one JSON-RPC message.

    client → daemon   hello · rpc · bye
    daemon → client   welcome · rpc · settled · who · stopping

The body of `rpc` is one JSON-RPC message as the client or the MCP server wrote it; nobody on the way reads
it. Pure: no zmq, no os. NamedTuple instead of a dataclass, whose import would cost the shim 8 ms.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

PROTOCOL = 1
"""Raised when a frame changes its meaning; a daemon answers a hello of another protocol with `welcome` all
the same, and the client decides."""

HELLO = b"hello"
"""Opens a connection. Header: protocol, client_id, kind (`shim` or `cli`), pid, version, cwd, project,
session, python, shim_python, env, umask, limits; `known`, the incarnation that it was connected to before; `ways`, how
a command line words what can be done next."""
WELCOME = b"welcome"
"""The answer. Header: protocol, version, pid, start (the daemon's incarnation)."""
RPC = b"rpc"
"""One message. From a client: `call`, its number among this client's requests (the call key), absent for
what is not a request; `again`, where it was handed to a daemon before. From the daemon: `answers`, the call number,
where it is a response."""
SETTLED = b"settled"
"""A call that will never be answered (it was cancelled). Header: call."""
WHO = b"who"
"""The daemon does not know this client: say hello again."""
STOPPING = b"stopping"
"""The daemon was told to stop: start another only when your client asks for something."""
BYE = b"bye"
"""The client leaves. Its kernels stay."""
LARGEST_CHARS = 400_000
"""Of a result's text, where it is asked for; Claude Code takes no more than 500,000."""
_LARGEST = (1 << 63) - 1
_FIELDS: dict[str, type[Any]] = {
    **dict.fromkeys(("protocol", "pid", "start", "umask", "call", "answers"), int),
    "again": bool,
    **dict.fromkeys(("client_id", "kind", "version", "cwd", "project", "session", "python", "shim_python"), str),
    "env": dict,
    "limits": dict,
    "known": list,
    "ways": dict,
}
"""What each of a header's fields is, where it is there; numbers count from 0. Others are passed over."""


class EnvelopeError(ValueError):
    """A frame that is not one of ours."""


class Frame(NamedTuple):
    """One frame, read."""

    kind: bytes
    header: dict[str, Any]
    body: bytes


def pack(kind: bytes, header: dict[str, Any], body: bytes = b"") -> list[bytes]:
    """The parts of a ZeroMQ message."""
    return [kind, json.dumps(header, separators=(",", ":")).encode("utf-8", "surrogatepass"), body]


def unpack(parts: Sequence[bytes]) -> Frame:
    """The frame in `parts`. Raises EnvelopeError."""
    if len(parts) != 3:
        raise EnvelopeError(f"a frame has three parts, not {len(parts)}")
    kind, header, body = parts
    try:
        fields = json.loads(header, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError(f"the header is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise EnvelopeError("the header is not an object")
    for name, wanted in _FIELDS.items():
        if fields.get(name) is not None and not _is(fields[name], wanted):
            raise EnvelopeError(f"the header's {name} is not what it is to be ({wanted.__name__})")
    return Frame(kind, fields, body)


class TooLong(float):
    """A number in somebody's JSON that has more digits than Python reads."""

    digits = 0


def parsed(body: bytes) -> Any:
    """What the JSON of others says, numbers of any length included. Raises ValueError or RecursionError."""
    return json.loads(body, parse_int=_number)


def _number(text: str) -> int | TooLong:
    try:
        return int(text)
    except ValueError:
        number = TooLong("inf")
        number.digits = len(text)
        return number


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is(value: Any, wanted: type) -> bool:
    return type(value) is wanted and (type(value) is not int or 0 <= value <= _LARGEST)
