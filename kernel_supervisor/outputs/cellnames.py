"""Files that stand for cells: ipykernel gives each cell one that there is not, called after a hash of its code."""

from __future__ import annotations

import re

_FILE = re.compile(r"/ipykernel_\d{1,10}/(\d{1,10})\.py(?:\", line (\d{1,9})|:(\d{1,9}):)")
"""Begins with what is searched for, not with the path before it: that would be tried at each character."""
_PATH = 300
_SEED, _FACTOR = 0xC70F6907, 0x5BD1E995
"""ipykernel's compiler.py."""


def cells_named(text: str, source: str, count: int | None) -> str:
    """A text in which warnings and tracebacks name the cell with this source and execution count as `Cell In[8], line
    2`, and any other one as such. A file that nothing but its name is told of stays."""
    if "/ipykernel_" not in text:
        return text
    own = str(_hash(source.encode("utf-8", "replace")))
    kept, end = [], 0
    for found in _FILE.finditer(text):
        start = _beginning(text, found.start(), end)
        name = "another cell" if found[1] != own else f"Cell In[{count}]" if count is not None else "this cell"
        kept += [text[end:start], f"{name}, line {found[2] or found[3]}", ":" if found[3] else ""]
        end = found.end()
    return "".join((*kept, text[end:]))


def _beginning(text: str, at: int, end: int) -> int:
    """Where what names a file begins, of which this is the middle: with its path, or with `File`."""
    reach = max(end, at - _PATH)
    start = max(reach, *(text.rfind(each, reach, at) + 1 for each in ' \t\n"'))
    return start - len('File "') if text.endswith('File "', max(end, start - 6), start) else start


def _hash(data: bytes) -> int:
    """MurmurHash2 of 32 bits, with ipykernel's seed."""
    value, whole = _SEED ^ len(data), len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _FACTOR & 0xFFFFFFFF
        word = (word ^ word >> 24) * _FACTOR & 0xFFFFFFFF
        value = value * _FACTOR & 0xFFFFFFFF ^ word
    if rest := data[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * _FACTOR & 0xFFFFFFFF
    value = (value ^ value >> 13) * _FACTOR & 0xFFFFFFFF
    return value ^ value >> 15
