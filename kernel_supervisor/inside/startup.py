"""Notes what fails before a kernel is ready: startup files, lines and extensions of a profile, its configuration.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. IPython shows such errors to
whoever listens then, which is nobody, and goes on.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable

_SHOWN, _LONGEST = 3, 200
_PLACES = ("fname", "line", "python_startup")
"""What IPython's `shellapp` calls what it runs, in these functions:"""
_RUNS = ("_run_startup_files", "_run_exec_lines", "_run_exec_files")


def install(app: Any) -> Callable[[], list[str]]:
    """Watch what the application does, until the function that is returned is called: it has what failed, in words."""
    from ipykernel.zmqshell import ZMQInteractiveShell

    found: list[str] = []
    errors: list[Any] = []
    shown: Any = ZMQInteractiveShell._showtraceback

    def note(place: str, kind: Any, error: Any) -> None:
        if not any(error is each for each in errors):
            errors.append(error)
            found.append("%s: %s" % (_short(place), _short(_said(kind, error))))

    def showing(self: Any, etype: Any, evalue: Any, stb: Any) -> Any:
        note(_place() or "as it started", etype, evalue)
        return shown(self, etype, evalue, stb)

    class Noting(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            kind, error, _ = sys.exc_info()
            if record.levelno >= logging.WARNING and kind is not None:
                note(_place() or record.getMessage().partition("\n")[0].rstrip(":."), kind, error)
            return True

    noting = Noting()
    app.log.addFilter(noting)
    ZMQInteractiveShell._showtraceback = showing  # type: ignore[method-assign]  # until all is begun

    def taken() -> list[str]:
        ZMQInteractiveShell._showtraceback = shown  # type: ignore[method-assign]  # as it was
        app.log.removeFilter(noting)
        more = ["%d more" % (len(found) - _SHOWN)] if len(found) > _SHOWN else []
        return found[:_SHOWN] + more

    return taken


def _said(kind: Any, error: Any) -> str:
    name = str(getattr(kind, "__name__", kind))
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - whatever raised is anybody's; the kernel goes on
        text = ""
    return "%s: %s" % (name, text) if text else name


def _short(text: str) -> str:
    """On one line, and short in JSON, too: the beginning of a log is read in one piece."""
    text = " ".join(text.split())
    while len(text) > _LONGEST or len(ascii(text)) > 2 * _LONGEST:
        text = text[: min(_LONGEST - 1, len(text) // 2)].rstrip("…") + "…"
    return text


def _place() -> str:
    """What of a profile is run, empty for nothing: a file, with how many are left out for its sake, or a line."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_name not in _RUNS:
        frame = frame.f_back
    if frame is None:
        return ""
    names = frame.f_locals
    place = next((str(names[name]) for name in _PLACES if names.get(name)), "a startup file")
    files = sorted(names.get("startup_files") or ())
    left = len(files) - files.index(place) - 1 if place in files and not place.endswith(".ipy") else 0
    return place + (" (and %d after it not run)" % left if left else "")
