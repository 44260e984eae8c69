"""Python code as a tree."""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()
"""CPython 3.11 counts how deep it is for all threads together: two trees that are made at once are a SystemError.

Others make them, too, where a traceback is written down.
"""


def parsed(source: str) -> ast.Module | None:
    """The tree of Python code; None of what is none, is too much, or is read as others make a tree."""
    try:
        with _ONE_AT_A_TIME:
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None
