"""Says which column or key is near one that is missing, of the table or dictionary that a cell's line names.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. It looks at the error that was
shown last, from the control thread, and asks nothing but dictionaries and known tables.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import linecache
import os
import sys
from typing import Any, Iterator

NEAR = "supervisor_near_request"
_ALIKE = 0.8
"""How alike names are that are taken for one another."""
_MOST = 2000
"""Names that are compared, and characters of each."""
_LARGEST = 100_000
"""Characters of a cell that is looked into."""
_INDEXERS = ("loc", "at")


def install(kernel: Any) -> None:
    """Add the request to the control channel of `kernel`: for a `key` and an `evalue`, what is `near` `of` what."""

    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        try:
            content = parent["content"]
            found = _near(getattr(sys, "last_value", None), str(content["key"]), str(content["evalue"]))
        except Exception:  # noqa: BLE001 - tables and errors are of any kind; then nothing is said
            found = None
        of, near = found or ("", "")
        kernel.session.send(
            stream, "supervisor_near_reply", {"status": "ok", "of": of, "near": near}, parent=parent, ident=ident
        )

    kernel.control_handlers[NEAR] = handle


def _near(error: Any, key: str, evalue: str) -> Any:
    """The name of what was asked for `key`, and the one near key that it has, as it is spelt; None for nothing sure."""
    if error is None or str(error) != evalue:
        return None
    frame, line = _in_cell(error.__traceback__)
    if frame is None:
        return None
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    names = set(_asked(ast.parse(_without_magics(source)), key, line)) if len(source) <= _LARGEST else set()
    found = []
    for name in names:
        value = frame.f_locals.get(name, frame.f_globals.get(name))
        alike = _alike(key, [each for each in _names(value) if type(each) is str and len(each) <= _MOST])
        found += [(name, repr(each)) for each in alike]
    return found[0] if len(found) == 1 else None


def _in_cell(traceback: Any) -> Any:
    """The innermost frame of a cell in a traceback, and its line."""
    found = (None, 0)
    while traceback is not None:
        if "ipykernel_%d%s" % (os.getpid(), os.sep) in traceback.tb_frame.f_code.co_filename:
            found = (traceback.tb_frame, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def _without_magics(source: str) -> str:
    return "\n".join("" if line.lstrip()[:1] in ("%", "!", "?") else line for line in source.splitlines())


def _asked(tree: ast.AST, key: str, line: int) -> Iterator[str]:
    """The names of variables that code of this line asks for a key: as an item, an attribute or in a call."""
    for node in ast.walk(tree):
        if not getattr(node, "lineno", line + 1) <= line <= (getattr(node, "end_lineno", None) or 0):
            continue
        base: Any = None
        if type(node) is ast.Attribute and node.attr == key:
            base = node.value
        elif type(node) is ast.Subscript and _has(node.slice, key):
            base = node.value
            base = base.value if type(base) is ast.Attribute and base.attr in _INDEXERS else base
        elif (
            type(node) is ast.Call
            and type(node.func) is ast.Attribute
            and any(_has(each, key) for each in _given(node))
        ):
            base = node.func.value
        if type(base) is ast.Name:
            yield base.id


def _given(call: Any) -> Iterator[Any]:
    return itertools.chain(call.args, (keyword.value for keyword in call.keywords))


def _has(node: Any, key: str) -> bool:
    return any(type(each) is ast.Constant and each.value == key for each in ast.walk(node))


def _names(value: Any) -> Any:
    """The keys of a dictionary, the columns of a table; of anything else none."""
    if type(value) is dict:
        return list(itertools.islice(value, _MOST))
    for module in ("pandas", "polars"):
        loaded = sys.modules.get(module)
        if loaded is not None and vars(loaded).get("DataFrame") is type(value):
            return list(value.columns[:_MOST])
    return []


def _alike(key: str, names: Any) -> Any:
    """The one name that is nearly this; that which differs in case and spaces alone is nearest."""
    folded: Any = {}
    for name in names:
        folded.setdefault(_folded(name), []).append(name)
    if _folded(key) in folded:
        same = folded[_folded(key)]
        return same if len(same) == 1 and same != [key] else []
    found = [name for each in difflib.get_close_matches(_folded(key), folded, 3, _ALIKE) for name in folded[each]]
    return found if len(found) == 1 else []


def _folded(name: str) -> str:
    return "".join(name.casefold().split())
