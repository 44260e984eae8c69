"""The text of a notebook as it is found in files: what is obviously meant is read, what is not is refused in words."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

from kernel_supervisor.core.errors import RefusedError

_CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7})( |$)", re.MULTILINE)
_NEWEST = 4
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; the longer ones first, which begin as shorter ones do."""
_OTHERS = (
    (rb"version https://git-lfs\.", "is a pointer of Git LFS, not the notebook itself: `git lfs pull` fetches that"),
    (
        rb"\s*(?:<!doctype html|<html)",
        "is a page of HTML, perhaps of a log-in, not the notebook: fetch the file itself",
    ),
    (rb"\x1f\x8b|PK\x03\x04", "is compressed: unpack it, then load what is in it"),
    (rb"\0+\Z", "has nothing but NUL bytes, as after a crash: .ipynb_checkpoints beside it may have an earlier one"),
)
"""Files that are often there in a notebook's place, by how they begin."""


def as_meant(raw: bytes, path: object) -> str:
    """The notebook's text, fit for nbformat. Raises RefusedError, and ValueError for what is no JSON."""
    for begins, words in _OTHERS:
        if re.match(begins, raw, re.IGNORECASE):
            raise RefusedError(f"path: {path} {words}")
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    text = raw.decode(encoding)
    if not text.strip():
        raise RefusedError(f"path: {path} is empty, so no notebook; name one that has cells")
    try:
        content = json.loads(text)
    except ValueError:
        if conflict := _CONFLICT.search(text):
            line = text.count("\n", 0, conflict.start()) + 1
            raise RefusedError(
                f"path: {path} has a merge conflict that nobody resolved (line {line}): resolve it, or take one side "
                "(git checkout --ours or --theirs), then load it"
            ) from None
        raise
    if not isinstance(content, dict):
        raise RefusedError(f"path: {path} is JSON, and no notebook: those are an object with cells")
    return json.dumps(_completed(content, path))


def _completed(content: dict[str, Any], path: object) -> dict[str, Any]:
    """With what any notebook has, where it is missing or of another kind, and nothing is lost by that."""
    sheets = content.get("worksheets")
    if not isinstance(content.get("cells"), list) and not isinstance(sheets, list):
        raise RefusedError(f"path: {path} is JSON, and no notebook: it has no cells")
    major = content.get("nbformat")
    major = int(major) if isinstance(major, str) and major.isdecimal() and len(major) < 4 else major
    if not isinstance(major, int):
        major = 3 if isinstance(sheets, list) else _NEWEST
    if major > _NEWEST:
        raise RefusedError(
            f"path: {path} is of notebook format {major}, newer than the {_NEWEST} that can be read here; save it as "
            f"version {_NEWEST} where it was written"
        )
    minor = content.get("nbformat_minor")
    sound = _with_metadata(content)
    sound.update(nbformat=major, nbformat_minor=minor if isinstance(minor, int) else 0)
    if isinstance(sheets, list):
        sound["worksheets"] = [
            _with_cells(_with_metadata(each), path) if isinstance(each, dict) else each for each in sheets
        ]
    return _with_cells(sound, path)


def _with_cells(holder: dict[str, Any], path: object) -> dict[str, Any]:
    cells = holder.get("cells")
    if not isinstance(cells, list):
        return holder
    for number, cell in enumerate(cells, 1):
        if why := _unreadable(cell):
            raise RefusedError(f"path: {path} is not a notebook that Jupyter can read: cell {number} {why}")
    return {**holder, "cells": [_cell(cell) for cell in cells if cell is not None]}


def _unreadable(cell: Any) -> str:
    """What keeps a cell from being read; empty where nothing does, or there is nothing in it."""
    if cell is None:
        return ""
    if not isinstance(cell, dict):
        return "is no object"
    if not isinstance(cell.get("cell_type"), str) and not _ran(cell):
        return "does not say whether it is code or Markdown (cell_type)"
    source = cell.get("input" if "input" in cell else "source")
    lines = source if isinstance(source, list) else [source or ""]
    if not all(isinstance(line, str) for line in lines):
        return "has a source that is no text"
    return "" if isinstance(cell.get("outputs") or [], list) else "has outputs that are no list"


def _ran(cell: dict[str, Any]) -> bool:
    return "outputs" in cell or "execution_count" in cell


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    cell = _with_metadata(cell)
    if not isinstance(cell.get("cell_type"), str):
        cell["cell_type"] = "code"
    if "input" not in cell and cell.get("source") is None:
        cell["source"] = ""
    if cell.get("cell_type") == "code":
        cell["outputs"] = cell.get("outputs") or []
        cell.setdefault("execution_count", None)
    return cell


def _with_metadata(holder: dict[str, Any]) -> dict[str, Any]:
    metadata = holder.get("metadata")
    return {**holder, "metadata": metadata if isinstance(metadata, dict) else {}}
