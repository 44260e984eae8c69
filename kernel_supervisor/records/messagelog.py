"""The message log: what a kernel sent, one line per message, written by the kernel and its forks.

The format, which `inside/recorder.py` writes too (it must stand alone):

    "\n" CRC32 " " PAYLOAD "\n"

CRC32 is eight hexadecimal digits over PAYLOAD; PAYLOAD is a JSON array without raw newlines:
`[channel, header, parent_header, metadata, content, [buffer in base64, …]]`, or for a mark
`["mark", {"kind": …, "parent_id": …, "detail": …}]`. Each record is one `O_APPEND` write. It begins *and*
ends with a newline, so that a torn record (a full disk, a crash) spoils itself alone.
"""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from kernel_supervisor.core.model import Mark, Message, message_of
from kernel_supervisor.paths import open_regular

_CHUNK = 1 << 20
_LONGEST_RECORD = 1 << 31
_BEGINNING = re.compile(rb"[0-9a-f]{8} ")
_HEADER = 600
"""Bytes of a record in which its message's own header stands; more does no harm."""


def encode_message(channel: str, message: dict[str, Any]) -> bytes:
    """A record for `message`, a Jupyter message as jupyter_client deserialises it."""
    buffers = [base64.b64encode(buffer).decode("ascii") for buffer in message.get("buffers", ())]
    parts = [
        channel,
        message["header"],
        message["parent_header"],
        message["metadata"],
        message["content"],
        buffers,
    ]
    return _record(json.dumps(parts, default=str).encode())


def encode_mark(mark: Mark) -> bytes:
    """A record for `mark`."""
    return _record(
        json.dumps(["mark", {"kind": mark.kind, "parent_id": mark.parent_id, "detail": mark.detail}]).encode()
    )


def _record(payload: bytes) -> bytes:
    return b"\n%08x %s\n" % (binascii.crc32(payload), payload)


class MessageLogWriter:
    """Appends records for kernels that cannot write their own log (other languages, attached ones)."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending, created 0600. Raises OSError, also for what is no regular file."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))

    def append(self, record: bytes) -> None:
        """Write one record. Raises OSError where it could not be written whole."""
        if os.write(self._fd, record) != len(record):
            raise OSError("the record was cut short: no room on the disk")

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


def read(
    path: str | Path, start: int = 0, end: int | None = None, kinds: Sequence[bytes] = ()
) -> Iterator[tuple[int, Message | Mark]]:
    """The records in `[start, end)` of the log at `path`, each with the offset behind it.

    Of messages with a message type among `kinds`, if there are any; most of the others are not even parsed then.

    Damaged records are passed over. What has no final newline yet is left for the next reading. A log that
    does not exist is empty, one that cannot be read is a hole, and one that was cut off before `start` is read from its
    beginning. Never raises for what stands there.
    """
    try:
        file = os.fdopen(open_regular(os.fspath(path)), "rb", buffering=_CHUNK)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        yield start, Mark(kind="hole", parent_id="", detail=f"its message log cannot be read: {error}")
        return
    with file:
        start = start if start <= os.fstat(file.fileno()).st_size else 0
        file.seek(start)
        position = start
        while end is None or position < end:
            line, length = _line(file, position)
            if not line.endswith(b"\n"):
                return
            position += length
            if kinds and not any(kind in line[:_HEADER] for kind in kinds):
                continue
            text = _payload(line)
            del line  # a record may be large: never more copies of it than are needed
            item = _decode(text) if text is not None else None
            del text
            if item is not None:
                yield position, item
                del item


def _line(file: BinaryIO, position: int) -> tuple[bytes, int]:
    """The line at `position` and its length; of a long one that is no record, as after a crash of the machine, its end.

    What is no record may be of any length: it is never held whole.
    """
    line = file.readline(_CHUNK)
    length = len(line)
    if length < _CHUNK:
        return line, length
    if _BEGINNING.match(line):
        file.seek(position)
        line = file.readline(_LONGEST_RECORD)
        return line, len(line)
    while line and not line.endswith(b"\n"):
        line = file.readline(_CHUNK)
        length += len(line)
    return line, length


def _payload(line: bytes) -> str | None:
    """The JSON of a record that is whole."""
    if len(line) < 11 or line[8:9] != b" ":
        return None
    payload = memoryview(line)[9:-1]
    try:
        if int(line[:8], 16) != binascii.crc32(payload):
            return None
        return str(payload, "utf-8", "replace")  # half of a surrogate pair is written as a byte, as Jupyter sends it
    except ValueError:
        return None


def _decode(text: str) -> Message | Mark | None:
    try:
        parts = json.loads(text)
        return _mark(parts[1]) if parts[0] == "mark" else _message(parts)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _mark(fields: dict[str, Any]) -> Mark:
    return Mark(kind=fields["kind"], parent_id=str(fields["parent_id"]), detail=str(fields["detail"]))


def _message(parts: list[Any]) -> Message:
    channel, *objects, buffers = parts
    return message_of(channel, objects, map(base64.b64decode, buffers))
