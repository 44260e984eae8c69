"""Writing JSON piece by piece, so that a document larger than the memory can be written; knows no notebooks.

The layout is nbformat's own (`nbformat.v4.nbjson.JSONWriter`): indented by one space, keys sorted, non-ASCII
characters as themselves, texts as arrays of lines. A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Write = Callable[[bytes], object]

_SLICE = 1 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Lines:
    """A text to be written as an array of its lines; each piece but the last ends at the end of a line."""

    pieces: Iterable[str]

    def __iter__(self) -> Iterator[str]:
        """Its lines, each with its end."""
        for piece in self.pieces:
            for block in _blocks(piece):
                yield from block.splitlines(keepends=True)


def write_json(value: Any, write: Write, *, depth: int = 0) -> None:
    """Write `value`: what `json` takes, and `Lines`, and any iterator, which becomes an array as it is drawn.

    Raises TypeError for anything else. NaN and infinities are written as strings, as jupyter_client does.
    """
    if isinstance(value, str):
        _write_string(value, write)
    elif isinstance(value, Mapping):
        _write_object(value, write, depth)
    elif isinstance(value, (list, tuple, Lines, Iterator)):
        _write_array(value, write, depth)
    elif isinstance(value, float) and not math.isfinite(value):
        _write_string(repr(value), write)
    else:
        write(json.dumps(value).encode("ascii"))


def _write_object(value: Mapping[str, Any], write: Write, depth: int) -> None:
    before = b"{"
    for key in sorted(value):
        write(before + _newline(depth + 1))
        _write_string(key, write)
        write(b": ")
        write_json(value[key], write, depth=depth + 1)
        before = b","
    write(b"{}" if before == b"{" else _newline(depth) + b"}")


def _write_array(items: Iterable[Any], write: Write, depth: int) -> None:
    before = b"["
    for item in items:
        write(before + _newline(depth + 1))
        write_json(item, write, depth=depth + 1)
        before = b","
    write(b"[]" if before == b"[" else _newline(depth) + b"]")


def _write_string(text: str, write: Write) -> None:
    if len(text) <= _SLICE:
        write(_encoded(text))
        return
    write(b'"')
    for start in range(0, len(text), _SLICE):
        write(_encoded(text[start : start + _SLICE])[1:-1])
    write(b'"')


def _blocks(text: str) -> Iterator[str]:
    """`text` in blocks of bounded size that end at the end of a line; only a longer line is given whole."""
    start = 0
    while start < len(text):
        end = text.find("\n", min(start + _SLICE, len(text))) + 1 or len(text)
        yield text[start:end]
        start = end


def _encoded(text: str) -> bytes:
    encoded = json.dumps(text, ensure_ascii=False)
    try:
        return encoded.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", encoded).encode()


def _newline(depth: int) -> bytes:
    return b"\n" + b" " * depth
