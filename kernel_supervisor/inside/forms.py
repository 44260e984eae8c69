"""What stands in a message log, as bytes: records, the messages and the marks in them (`records/messagelog.py`).

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import base64
import binascii
import importlib.util
import re
from typing import Any

_PLAIN = re.compile(r"[\w.:-]{0,100}", re.ASCII)


def private(name: str) -> Any:
    """A module of the standard library once more, for us alone: user code replaces nothing in it."""
    spec: Any = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


json = private("json")


def record(who: bytes, *payload: bytes) -> list[bytes]:
    """The parts of a record."""
    checksum = 0
    for part in payload:
        checksum = binascii.crc32(part, checksum)
    head = b"\n#%08x %d %s\n" % (checksum, sum(map(len, payload)), who)
    return [head, *payload, b" %08x\n" % checksum]


def marked(kind: str, parent_id: str, detail: str, **more: str) -> tuple[bytes, bytes]:
    """Whose a mark is, and what it says."""
    fields = {"kind": kind, "parent_id": parent_id, "detail": detail, **more}
    return b"mark " + plain(parent_id), json.dumps(["mark", fields]).encode()


def message_of(channel: str, frames: list[bytes], buffers: Any) -> list[bytes]:
    """The parts of a message's payload."""
    header, parent_header, metadata, content = frames
    tail = b",%s]" % json.dumps([base64.b64encode(part).decode("ascii") for part in buffers]).encode()
    return [b'["%s",' % channel.encode(), header, b",", parent_header, b",", metadata, b",", content, tail]


def in_one_line(payload: Any) -> Any:
    """A payload whose newlines, of a packer that is not json's, are white space."""
    if any(b"\n" in part for part in payload):
        return [json.dumps(json.loads(b"".join(payload))).encode()]
    return payload


def asker(parent: Any) -> str:
    """The msg_id of a request."""
    parent_id = parent.get("msg_id", "")
    return parent_id if isinstance(parent_id, str) else "?"


def plain(parent_id: Any) -> bytes:
    """The msg_id of a request as it stands in a record's head."""
    fits = isinstance(parent_id, str) and parent_id not in ("mark", "recorder") and _PLAIN.fullmatch(parent_id)
    return parent_id.encode() if fits else b"?"
