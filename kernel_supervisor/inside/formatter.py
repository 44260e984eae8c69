"""Adds `text/llm+plain` to what a cell displays: the short text from which a model understands a large object.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later, IPython 7.34 and later. What
is said of which type is in `summaries`. Every other MIME type stays as it is. It fails open: whatever goes wrong,
the display is the ordinary one.

Two methods of this kernel's shell are wrapped: `display_formatter.format`, through which every object goes that is
shown, and `display_pub.publish`, for figures that publish a bundle of their own, as plotly's do. And tracebacks are
told what lines a cell has.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import linecache
import os
import sys
from collections.abc import Callable
from typing import Any

MIME = "text/llm+plain"
OWN_LIMIT = 20_000
"""Characters of an object's own `_repr_llm_`."""
_PACKAGE = "_kernel_supervisor_summaries"
_DEEP = 100
"""Frames of a traceback that can only be those of a recursion."""
_FATAL = (KeyboardInterrupt, SystemExit, GeneratorExit)


def install(shell: Any) -> Callable[[Any, str], str | None]:
    """Wrap the two methods of `shell`; the function that summarises, for `lookup`."""
    summaries = load_summaries()
    formatter, publisher = shell.display_formatter, shell.display_pub
    formatter.format = _formatting(formatter.format, summaries)
    publisher.publish = _publishing(publisher.publish, summaries)
    _quietly(_tell_lines_of_cells)
    summary: Callable[[Any, str], str | None] = summaries.summary
    return summary


def load_summaries() -> Any:
    """The package beside this file; it leaves no name in `sys.modules`."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "summaries")
    path = os.path.join(folder, "__init__.py")
    spec = importlib.util.spec_from_file_location(_PACKAGE, path, submodule_search_locations=[folder])
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    try:
        spec.loader.exec_module(package)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]
    return package


def _tell_lines_of_cells() -> None:
    """Have IPython look at the frames of cells as it looks at those of files, where it would tell them wrong.

    A cell's file is in `linecache` only. IPython 9 counts the lines of a file to see whether it is short enough to be
    read, fails, and then marks the line where a frame was left, not the one that raised, shows each frame of a
    recursion, and searches all modules for each (`ultratb.VerboseTB.get_records`). Other tracebacks stay as they are.
    """
    ultratb: Any = importlib.import_module("IPython.core.ultratb")
    count: Any = ultratb.get_line_number_of_frame
    records: Any = ultratb.VerboseTB.get_records
    wrong: list[bool] = []

    @functools.wraps(count)
    def counted(frame: Any) -> int:
        if not any(wrong[-1:]) or not _is_of_cell(frame):
            return int(count(frame))
        name = frame.f_code.co_filename
        inspect.modulesbyfile[name] = "__main__"  # its cache, which it would fill so itself
        return len(linecache.getlines(name))

    @functools.wraps(records)
    def get_records(self: Any, etb: Any, *args: Any, **kwargs: Any) -> Any:
        wrong.append(_is_deep_or_left_elsewhere(etb))
        try:
            return records(self, etb, *args, **kwargs)
        finally:
            wrong.pop()

    ultratb.get_line_number_of_frame, ultratb.VerboseTB.get_records = counted, get_records


def _is_of_cell(frame: Any) -> bool:
    name = frame.f_code.co_filename
    return name in linecache.cache and not os.path.exists(name)


def _is_deep_or_left_elsewhere(traceback: Any) -> bool:
    for _ in range(_DEEP):
        if traceback is None:
            return False
        if traceback.tb_frame.f_lineno != traceback.tb_lineno and _is_of_cell(traceback.tb_frame):
            return True
        traceback = traceback.tb_next
    return True


def _formatting(format_: Any, summaries: Any) -> Any:
    @functools.wraps(format_)
    def formatted(obj: Any, include: Any = None, exclude: Any = None) -> Any:
        bundle, metadata = format_(obj, include=include, exclude=exclude)
        if not bundle or MIME in bundle or (include and MIME not in include) or (exclude and MIME in exclude):
            return bundle, metadata
        text = _quietly(lambda: _said_of(obj, bundle, summaries))
        return ({**bundle, MIME: text} if text else bundle), metadata

    return formatted


def _publishing(publish: Any, summaries: Any) -> Any:
    @functools.wraps(publish)
    def published(data: Any, *args: Any, **kwargs: Any) -> Any:
        text = _quietly(lambda: None if MIME in data else summaries.bundle_summary(data))
        return publish({**data, MIME: text} if text else data, *args, **kwargs)

    return published


def _said_of(obj: Any, bundle: Any, summaries: Any) -> str | None:
    own = _own_text(obj)
    if own is not None:
        return own if len(own) <= OWN_LIMIT else own[:OWN_LIMIT] + f" … ({len(own)} characters in all)"
    if bundle.get("text/markdown"):
        return None
    plain = bundle.get("text/plain")
    said: str | None = summaries.summary(obj, plain if type(plain) is str else "")
    return said or summaries.bundle_summary(bundle)


def _own_text(obj: Any) -> str | None:
    """What the `_repr_llm_` of the class says. Looked up as special methods are: no `__getattr__` is asked."""
    for kind in type.__dict__["__mro__"].__get__(type(obj)):
        method = type.__dict__["__dict__"].__get__(kind).get("_repr_llm_")
        if method is not None:
            said = type(obj)._repr_llm_(obj)
            return said if type(said) is str else None
    return None


def _quietly(say: Callable[[], str | None]) -> str | None:
    """What `say` returns; None where it raises. An interrupt is meant for the cell and passes."""
    try:
        return say()
    except _FATAL:
        raise
    except BaseException:  # noqa: BLE001 - polars' panics are no Exception; the display goes on without this text
        return None
