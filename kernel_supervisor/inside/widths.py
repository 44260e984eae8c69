"""Lets pandas print frames as wide as a reader without a screen can take them.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. What IPython shows of a value, and
notebooks keep, is as wide as without us, and a width of the user's own wins.
"""

from __future__ import annotations

import functools
import threading
from typing import Any, Callable

_USUAL, _WIDE = 80, 160
"""Columns: pandas' `display.width` where nobody sets it, and what is taken instead."""


def install(shell: Any, after: Callable[..., None]) -> None:
    """Widen what is printed in this shell. `after` does something to a module once it is imported."""
    shown = threading.local()
    format_ = shell.display_formatter.format

    @functools.wraps(format_)
    def formatted(*args: Any, **kwargs: Any) -> Any:
        before, shown.now = getattr(shown, "now", False), True
        try:
            return format_(*args, **kwargs)
        finally:
            shown.now = before

    shell.display_formatter.format = formatted
    after("pandas.io.formats.console", lambda module: _widen(module, shown))


def _widen(console: Any, shown: Any) -> None:
    size = console.get_console_size

    @functools.wraps(size)
    def sized(*args: Any, **kwargs: Any) -> Any:
        found = size(*args, **kwargs)
        return (_WIDE, *found[1:]) if found[0] == _USUAL and not getattr(shown, "now", False) else found

    console.get_console_size = sized
