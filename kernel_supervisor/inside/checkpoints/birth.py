"""What the copies of a kernel's process do as they begin: what is open is closed, what is said leads nowhere."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
from typing import Any

AT_WORK = b"\0"
"""What the snapshot says once it is."""
_CLOSE_RANGE = 436
_WALL, _NO_HANG = 0x40000000, 1
_SUBREAPER = 36
_LAST_MS = 2000


def be_copy(libc: Any, work: Any, tell: int, null: int, nowhere: Any, start: float) -> None:
    """In the first copy: have everything closed, make the second one, and wait for all that it leaves.

    What would let go of the interpreter is not called here: its lock is as other threads have left it.
    """
    sys.stdin = sys.stdout = sys.stderr = nowhere
    sys.__stdin__ = sys.__stdout__ = sys.__stderr__ = nowhere  # type: ignore[misc]  # they can be replaced
    sys.unraisablehook = _ignore
    held_ms = (time.perf_counter() - start) * 1000
    try:
        libc.setsid()
        libc.prctl(_SUBREAPER, 1, 0, 0, 0)
        tell = _close_all(libc, tell, null)
        pid = libc._Fork()
        if not pid:
            libc.PyOS_AfterFork_Child()
            _be_second(work, tell, held_ms)
        elif pid > 0:
            line = b"%d\n" % pid
            libc.write(tell, line, len(line))
            libc.close(tell)
            _see_off_all(libc, pid)
    finally:
        libc._exit(1)


def _close_all(libc: Any, tell: int, null: int) -> int:
    """Lead 0, 1 and 2 nowhere and close all else but the way to the kernel; its number now."""
    most = ctypes.c_uint(0xFFFFFFFF)
    for number in (0, 1, 2):
        if number != tell:
            libc.dup2(null, number)
    moved = tell if tell > 2 else libc.fcntl(tell, 0, 3)  # F_DUPFD
    if moved != tell:
        libc.dup2(null, tell)
    closed = libc.syscall(ctypes.c_long(_CLOSE_RANGE), ctypes.c_uint(moved + 1), most, ctypes.c_uint(0))
    if moved > 3 and not closed:
        libc.syscall(ctypes.c_long(_CLOSE_RANGE), ctypes.c_uint(3), ctypes.c_uint(moved - 1), ctypes.c_uint(0))
    for number in range(3, libc.getdtablesize()) if closed else ():  # Linux before 5.9
        if number != moved:
            libc.close(number)
    return int(moved)


def _be_second(work: Any, tell: int, held_ms: float) -> None:
    """In the snapshot, which ends here whatever comes."""
    try:
        work(Birth(tell, held_ms))
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else is to hear of it
        with contextlib.suppress(OSError):  # it was at work
            os.write(tell, ("%s: %s" % (type(error).__name__, error)).encode("utf-8", "replace")[:1000])
    finally:
        os._exit(1)


class Birth:
    """What the snapshot says to the kernel: once, that it is at work."""

    def __init__(self, tell: int, held_ms: float) -> None:
        self.tell, self.held_ms = tell, round(held_ms, 1)

    def __call__(self) -> None:
        """Say it, and hold nothing any more that the kernel has."""
        os.write(self.tell, AT_WORK)
        os.close(self.tell)


def _see_off_all(libc: Any, snapshot: int) -> None:
    """Wait for the snapshot, then for what it leaves, which ends with it."""
    status, left = ctypes.c_int(), _LAST_MS
    while left:
        pid = libc.waitpid(-1, ctypes.byref(status), _WALL | (_NO_HANG if not snapshot else 0))
        if pid < 0:
            return
        if pid == snapshot:
            snapshot = 0
        elif not pid:
            libc.usleep(1000)
            left -= 1


class Nowhere:
    """A text stream that leads nowhere."""

    encoding, errors, closed, name, mode, newlines = "utf-8", "replace", False, os.devnull, "w", None

    def write(self, text: Any) -> int:
        """As if it were written."""
        return len(text)

    def writelines(self, lines: Any) -> None:
        """As if they were written."""

    def flush(self) -> None:
        """Nothing is held."""

    def read(self, *_: Any) -> str:
        """There is nothing."""
        return ""

    readline = read

    def isatty(self) -> bool:
        """Nobody sees it."""
        return False

    def fileno(self) -> int:
        """What leads nowhere, too."""
        return 1


def _ignore(*_: Any) -> None:
    """What cannot be raised is of no interest."""
