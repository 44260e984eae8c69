"""What a daemon that came to nothing left behind: a lock that nobody holds, and its last words."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Sequence

from kernel_supervisor.paths import Paths, open_regular

_MOST = 2000
"""Bytes of last words that are handed on."""


def held(lock: str) -> bool:
    """Whether a daemon lives that may still come up. Looked at as a reader: a daemon that finds us here tries again."""
    try:
        with os.fdopen(open_regular(lock), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def standard_error(paths: Paths) -> str:
    """Where a daemon's standard error goes: a file that can be added to, else where it keeps nobody from working."""
    try:
        os.close(open_regular(_file(paths), os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    except OSError:
        return "/dev/null"
    return _file(paths)


def size(paths: Paths) -> int:
    """How much daemons have written to their standard error so far."""
    try:
        return os.path.getsize(_file(paths))
    except OSError:
        return 0


def words(paths: Paths, start: int = 0) -> str:
    """What was written there from `start` on, the end of it where it is much; of a traceback the error alone."""
    try:
        with os.fdopen(open_regular(_file(paths)), "rb") as file:
            file.seek(max(start, size(paths) - _MOST))
            text = file.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = text.rstrip().splitlines()
    framed = [at for at, line in enumerate(lines) if line.startswith((" ", "Traceback "))]
    return "\n".join(lines[framed[-1] + 1 :] if framed else lines)


def last_words(paths: Paths) -> str:
    """How the last daemon came to nothing, in words; empty where one served since, or none did so."""
    try:
        if os.path.getmtime(_file(paths)) < os.path.getmtime(paths.daemon_log):
            return ""
    except FileNotFoundError:
        pass
    except OSError:
        return ""
    said = words(paths)
    return f"The last one ended with: {said.splitlines()[-1]} ({_file(paths)})" if said else ""


def told(paths: Paths, command: Sequence[str], said: str) -> str:
    """That no daemon can be started with `command`, for whoever waits for one."""
    ended = f"It ended with: {said}" if said else "It ended without a word, again and again."
    return (
        f"kernel-supervisor's daemon does not start. {ended}\n"
        f"Tried: {shlex.join(command)}; all it said is in {_file(paths)}.\n"
        "Once that is mended, the next call starts it; `kernel-supervisor start` tries at once."
    )


def _file(paths: Paths) -> str:
    """Where a daemon writes that could not even begin to log."""
    return paths.daemon_log + ".err"
