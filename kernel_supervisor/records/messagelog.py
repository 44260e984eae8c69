"""The message log: what a kernel sent, one record per message, written by the kernel and its forks.

The format, which `inside/recorder.py` writes:

    "\\n#" CRC32 " " LENGTH " " TYPE " " PARENT "\\n" PAYLOAD " " CRC32 "\\n"

CRC32 is eight hexadecimal digits over PAYLOAD, LENGTH its bytes; PAYLOAD is a JSON array without raw newlines:
`[channel, header, parent_header, metadata, content, [buffer in base64, …]]`, or for a mark
`["mark", {"kind": …, "parent_id": …, "detail": …}]`, of the kind `limit` with the files' name in `end` that have what
was shown last (`ends.py`). TYPE and PARENT say what is in it, so that it can be passed over
without being read: the message's type, or `mark`, and the msg_id of the request; `?` where it cannot be written there.
The log of a kernel that records itself begins with `["recorder", {"format": 2, "ident": …, "bell": true}]`,
with what `failed` before it was ready.

Each record is one `O_APPEND` write. It begins *and* ends with a newline, and its checksum stands at both ends: a torn
record (a full disk, a crash) spoils itself alone, and nothing is passed over that does not end where its head says.

Kernels that a version before this one started write records without a head: "\\n" CRC32 " " PAYLOAD "\\n".
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from kernel_supervisor.core.model import Mark, Message, message_of
from kernel_supervisor.inside.forms import plain, record
from kernel_supervisor.paths import open_regular

MARK, RECORDER = "mark", "recorder"
_HEAD = re.compile(rb"#([0-9a-f]{8}) (\d{1,10}) ([\w.:?-]*) ([\w.:?-]*)\n")
_BARE, _BARE_START = re.compile(rb"[0-9a-f]{8} "), len("01234567 ")
_TAIL = len(" 01234567\n")
_BEGINNING = re.compile(rb"\n#([0-9a-f]{8}) \d+ recorder \n(.+) \1\n")
_BETWEEN = re.compile(r"[\s,]*")
_JSON = json.JSONDecoder()
_BUFFER, _CHUNK = 1 << 16, 1 << 20
_DETAIL = 200
_BARE_HEAD = 4096
"""Bytes of a record without a head in which its message's type and parent usually stand."""


class Passed(NamedTuple):
    """A record that was not read."""

    msg_type: str
    parent_id: str


class Entry(NamedTuple):
    """A record of a log: where it begins, where it ends, and what it says."""

    start: int
    end: int
    item: Message | Mark | Passed


Wanted = Callable[[str, str], bool]
"""Whether a record of this type, with this parent, is to be read."""
Found = tuple[int, Message | Mark | Passed | None]
"""Where a record ends, 0 where it does not yet, and what it says; None where it is damaged."""


def encode_message(channel: str, message: dict[str, Any], written: bytes = b"") -> bytes:
    """A record for `message`, a Jupyter message as jupyter_client deserialises it; `written` is its content as JSON."""
    buffers = [base64.b64encode(buffer).decode("ascii") for buffer in message.get("buffers", ())]
    header, parent = message["header"], message["parent_header"]
    as_it_is = written and b"\n" not in written and json.detect_encoding(written) == "utf-8"
    content = written if as_it_is else _json(message["content"])
    before = _json([channel, header, parent, message["metadata"]])
    payload = b"%s, %s, %s]" % (before[:-1], content, _json(buffers))
    msg_type, parent_id = _field(header, "msg_type"), _field(parent or {"msg_id": ""}, "msg_id")
    return b"".join(record(b"%s %s" % (plain(msg_type), plain(parent_id)), payload))


def encode_mark(mark: Mark) -> bytes:
    """A record for `mark`."""
    fields = {"kind": mark.kind, "parent_id": mark.parent_id, "detail": mark.detail, "end": mark.goes_on}
    return b"".join(record(b"mark " + plain(mark.parent_id), _json([MARK, fields])))


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, dict) else None  # what is no message is passed over by who reads it


def _json(part: Any) -> bytes:
    return json.dumps(part, default=str).encode()


class MessageLogWriter:
    """Appends records for kernels that cannot write their own log (other languages, attached ones)."""

    def __init__(self, path: Path) -> None:
        """Open `path` for appending, created 0600. Raises OSError, also for what is no regular file."""
        self._fd = open_regular(str(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def append(self, record: bytes) -> None:
        """Write one record. Raises OSError where it could not be written whole."""
        if os.write(self._fd, record) != len(record):
            raise OSError("the record was cut short: no room on the disk")

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)


def begins(path: str | Path) -> dict[str, Any] | None:
    """What the recorder that began the log at `path` says of itself; None where none did. Never raises."""
    try:
        with os.fdopen(open_regular(os.fspath(path)), "rb") as file:
            found = _BEGINNING.search(file.read(_BARE_HEAD))
        if found is None or int(found[1], 16) != binascii.crc32(found[2]):
            return None
        who, fields = json.loads(found[2])
        return dict(fields) if who == RECORDER else None
    except (OSError, ValueError, TypeError):
        return None


def read(
    path: str | Path,
    start: int = 0,
    end: int | None = None,
    kinds: Collection[str] = (),
    parent: str | None = None,
    others: Wanted | None = None,
) -> Iterator[tuple[int, Message | Mark]]:
    """The records in `[start, end)` of the log at `path`, each with the offset behind it.

    Of the types `kinds`, if there are any (`MARK` is one of them); of `parent` alone, if there is one, with the marks
    that have none; and those that `others` wants, asked as they come. The rest is passed over.

    Damaged records are passed over. What has no final newline yet is left for the next reading. A log that
    does not exist is empty, one that cannot be read is a hole, and one that was cut off before `start` is read from its
    beginning. Never raises for what stands there.
    """

    def wanted(msg_type: str, of: str) -> bool:
        ours = parent is None or of == parent or (msg_type == MARK and not of)
        return (ours and (not kinds or msg_type in kinds)) or (others is not None and others(msg_type, of))

    try:
        for entry in scan(path, start, end, wanted):
            if not isinstance(entry.item, Passed):
                yield entry.end, entry.item
            del entry  # a record may be large: never two of them at a time
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        yield start, Mark(kind="hole", parent_id="", detail=f"its message log cannot be read: {error}")


def scan(
    path: str | Path, start: int = 0, end: int | None = None, wanted: Wanted = lambda msg_type, parent: True
) -> Iterator[Entry]:
    """All records in `[start, end)`, as `read` has them; those that are not `wanted` by their heads.

    Raises OSError or ValueError for a log that cannot be read, FileNotFoundError where there is none.
    """
    with os.fdopen(open_regular(os.fspath(path)), "rb", buffering=_BUFFER) as file:
        yield from scan_file(file, start, end, wanted)


def scan_file(file: BinaryIO, start: int, end: int | None, wanted: Wanted) -> Iterator[Entry]:
    """The same of a log that is open."""
    position = start if start <= os.fstat(file.fileno()).st_size else 0
    while end is None or position < end:
        file.seek(position)
        line = file.readline(_CHUNK)
        if line.startswith(b"\0") and (data := _data(file, position)) > position:
            position = data
            continue
        if line == b"\n":
            position += 1
            continue
        head = _HEAD.fullmatch(line)
        if head is not None:
            behind, item = _with_head(file, head, position + len(line), wanted)
        elif _BARE.match(line):
            behind, item = _bare(file, line, position, wanted)
        else:
            behind, item = _line_end(file, position), None
        if not behind:
            return
        if item is not None:
            yield Entry(position, behind, item)
        del line, item
        position = behind


def _data(file: BinaryIO, position: int) -> int:
    """Where something was written, from `position` on: a log that was made again begins with a hole."""
    with contextlib.suppress(OSError):
        return os.lseek(file.fileno(), position, os.SEEK_DATA)
    return position


def _with_head(file: BinaryIO, head: re.Match[bytes], body: int, wanted: Wanted) -> Found:
    """What stands behind a head, up to where that says that it ends; else the next line is looked at by itself."""
    checksum, length = head[1], int(head[2])
    msg_type, parent = head[3].decode(), head[4].decode()
    end = body + length + _TAIL
    if not _closes(file, body + length, checksum):
        line_end = _line_end(file, body)
        if line_end != end or not _closes(file, body + length, checksum):  # else it became whole meanwhile
            return body if line_end else 0, None
    if msg_type == RECORDER:
        return end, None
    named = Passed(msg_type, parent) if "?" not in (msg_type, parent) else None
    return end, _item(file, body, length, checksum, named, wanted)


def _closes(file: BinaryIO, position: int, checksum: bytes) -> bool:
    file.seek(position)
    return file.read(_TAIL) == b" %s\n" % checksum


def _line_end(file: BinaryIO, position: int) -> int:
    """Where the line at `position` ends, 0 where it does not yet. It may be of any length, and is never held whole."""
    file.seek(position)
    while line := file.readline(_CHUNK):
        position += len(line)
        if line.endswith(b"\n"):
            return position
    return 0


def _bare(file: BinaryIO, line: bytes, position: int, wanted: Wanted) -> Found:
    """What stands in a record without a head, of which `line` is the beginning at least."""
    end = position + len(line) if line.endswith(b"\n") else _line_end(file, position)
    if not end:
        return 0, None
    named = _named(line[_BARE_START:_BARE_HEAD].decode("utf-8", "replace"))
    length = end - position - _BARE_START - 1
    return end, _item(file, position + _BARE_START, length, line[:8], named, wanted)


def _named(text: str) -> Passed | None:
    """The type and the parent in the beginning of a payload; None where they stand further behind."""
    values: list[Any] = []
    at = 1
    try:
        while len(values) < 3:
            value, at = _JSON.raw_decode(text, at + len(_BETWEEN.match(text, at)[0]))  # type: ignore[index]  # it may be empty
            values.append(value)
            if values[0] == MARK and len(values) == 2:
                return Passed(MARK, str(value["parent_id"]))
        return Passed(str(values[1]["msg_type"]), str((values[2] or {}).get("msg_id", "")))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _item(
    file: BinaryIO, position: int, length: int, checksum: bytes, named: Passed | None, wanted: Wanted
) -> Message | Mark | Passed | None:
    """The payload at `position`, if it is wanted, by its name or else by itself; None if it is damaged. A mark stands
    for one that is whole and cannot be read.

    Never more copies of it than are needed.
    """
    if named is not None and not wanted(*named):
        return named
    file.seek(position)
    payload = file.read(length)
    if int(checksum, 16) != binascii.crc32(payload):
        return None
    text = payload.decode("utf-8", "replace")  # half of a surrogate pair is written as a byte, as Jupyter sends it
    del payload
    parts: Any = None
    try:
        parts = json.loads(text)
        text = ""
        item = _mark(parts[1]) if parts[0] == MARK else _message(*parts)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        parent_id = named.parent_id if named is not None else _asked_by(parts)
        if parent_id is None:
            return None
        item = Mark(kind="odd", parent_id=parent_id, detail=str(error)[:_DETAIL])
    named = Passed(MARK if isinstance(item, Mark) else item.msg_type, item.parent_id)
    return item if wanted(*named) else named


def _asked_by(parts: Any) -> str | None:
    """Of which request an unreadable message is; empty where that is not known, None where it is none of ours."""
    parent = parts[2] if isinstance(parts, list) and len(parts) > 2 else None
    msg_id = parent.get("msg_id", "") if isinstance(parent, dict) else ""
    return msg_id if isinstance(msg_id, str) else None


def _mark(fields: dict[str, Any]) -> Mark:
    return Mark(
        kind=str(fields["kind"]),  # type: ignore[arg-type]  # a later version may have others
        parent_id=str(fields["parent_id"]),
        detail=str(fields["detail"]),
        goes_on=bool(fields.get("end")),
    )


def _message(channel: str, header: Any, parent: Any, metadata: Any, content: Any, buffers: list[str]) -> Message:
    return message_of(channel, (header, parent, metadata, content), map(base64.b64decode, buffers))


def unwrap(message: Message) -> Message | None:
    """The message whose parts are in the buffers of one of the type `UNRECORDED`; None where there is none."""
    try:
        parts = [json.loads(part.decode("utf-8", "replace")) for part in message.buffers[:4]]
        return message_of(str(message.content["channel"]), parts, message.buffers[4:])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
