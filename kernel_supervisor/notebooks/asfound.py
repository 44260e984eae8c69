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


def as_meant(raw: bytes, path: object) -> str:
    """The notebook's text, fit for nbformat. Raises RefusedError, and ValueError for what is no JSON."""
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
        sound["worksheets"] = [_with_cells(_with_metadata(each)) if isinstance(each, dict) else each for each in sheets]
    return _with_cells(sound)


def _with_cells(holder: dict[str, Any]) -> dict[str, Any]:
    cells = holder.get("cells")
    return {**holder, "cells": list(map(_cell, cells))} if isinstance(cells, list) else holder


def _cell(cell: Any) -> Any:
    if not isinstance(cell, dict):
        return cell
    cell = _with_metadata(cell)
    if "input" not in cell and cell.get("source") is None:
        cell["source"] = ""
    if cell.get("cell_type") == "code":
        cell["outputs"] = cell.get("outputs") or []
        cell.setdefault("execution_count", None)
    return cell


def _with_metadata(holder: dict[str, Any]) -> dict[str, Any]:
    metadata = holder.get("metadata")
    return {**holder, "metadata": metadata if isinstance(metadata, dict) else {}}
