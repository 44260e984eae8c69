"""Copies this process so that nothing in it notices: no SIGCHLD, nothing for `os.wait`, no hook, no warning.

`os.fork` would run what others have registered to be done at forks: OpenBLAS's waits for its threads, with the
interpreter held, and freezes the kernel beside one that computes; Python's hooks are the user's. So the first copy is
made by `clone` without an exit signal, which only `__WALL` waits for. It makes the second by glibc's `_Fork`, which
calls nobody either, and stays to see that off: it is the parent of all that comes, and a process of its own session.
"""

from __future__ import annotations

import _imp
import contextlib
import ctypes
import os
import platform
import select
import signal
import sys
import time
from typing import Any, Callable

_CLONE = {"x86_64": 56, "aarch64": 220}
_WALL = 0x40000000
_IMPORTS_S = 2.0
_BIRTH_S = 10.0
_GPUS = ("/libcuda.so", "/dev/nvidia", "/dev/kfd")
"""What stands in the memory map of a process that computes on a graphics card."""
beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
births: Any = beside("birth") if beside else None


def hindrance() -> str:
    """Why this process cannot be copied, in words; empty where nothing stands against it."""
    if not sys.platform.startswith("linux") or platform.machine() not in _CLONE:
        return "variables are saved in a copy of the kernel's process, which is made on Linux alone (x86-64, aarch64)"
    libc = ctypes.PyDLL(None)
    if not (hasattr(libc, "_Fork") and hasattr(libc, "gnu_get_libc_version")):
        return "this system's C library cannot copy a process that has threads (it takes glibc 2.34 or later)"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "this Python runs without its global lock: a copy of it would not be whole"
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        text = maps.read()
    if any(each in text for each in _GPUS):
        return "this kernel has a graphics card in use (CUDA): a copy of its process cannot read what is there"
    return ""


class Copy:
    """A copy of this process: what waits in it, and whether it is at work."""

    def __init__(self, watcher: int, held_ms: float) -> None:
        self.watcher, self.held_ms = watcher, held_ms
        self.pid = 0
        self.is_at_work = self.is_stuck = False
        self.why = ""

    def hear(self, end: int) -> None:
        """Wait until it says its pid, and that it is at work, or does not in time."""
        heard, until = b"", time.monotonic() + _BIRTH_S
        poll = select.poll()
        poll.register(end, select.POLLIN)
        while births.AT_WORK not in heard:
            if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
                self.why = "the copy of the kernel's process did not begin its work within %g s" % _BIRTH_S
                self.is_stuck = True
                break
            piece = os.read(end, 4096)
            if not piece:
                said = heard.partition(b"\n")[2].decode("utf-8", "replace")
                self.why = said or "the copy of the kernel's process ended before it began its work"
                break
            heard += piece
        self.is_at_work = births.AT_WORK in heard
        number = heard.partition(b"\n")[0]
        self.pid = int(number) if number.isdigit() else 0

    def kill(self) -> None:
        """End it where it is stuck: the one that waits holds the pid of the other, and ends by itself without it."""
        if self.is_stuck:
            with contextlib.suppress(OSError):
                os.kill(self.pid or self.watcher, signal.SIGKILL)

    def see_off(self) -> None:
        """Wait for its end, so that nothing is left of it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        libc, status = ctypes.CDLL(None, use_errno=True), ctypes.c_int()
        while libc.waitpid(self.watcher, ctypes.byref(status), _WALL) < 0 and ctypes.get_errno() == 4:
            continue


def copy(is_busy: Callable[[], bool], work: Callable[[Callable[[], None]], None]) -> Copy | None:
    """Have a copy of this process do its `work`, and end; None where the process `is_busy` right before.

    `work` is called with what it calls once it has begun. To be called in a thread that is there for this alone.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        end, tell = os.pipe2(os.O_CLOEXEC)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            copied = _clone(is_busy, work, tell, null)
        finally:
            os.close(tell)
            os.close(null)
        try:
            if copied is not None:
                copied.hear(end)
        finally:
            os.close(end)
        return copied
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _clone(is_busy: Callable[[], bool], work: Any, tell: int, null: int) -> Copy | None:
    """The first copy. Between it and what resets the interpreter nobody must have asked for the interpreter's lock:
    it is taken afresh, and the others wait for as long as it can take."""
    libc, number = ctypes.PyDLL(None, use_errno=True), ctypes.c_long(_CLONE[platform.machine()])
    nothing = ctypes.c_long(0)
    libc.PyOS_AfterFork_Child.restype = None
    nowhere = births.Nowhere()
    _take_import_lock()
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(_patience_s())
        time.sleep(0)
        if is_busy():
            return None
        start = time.perf_counter()
        pid = libc.syscall(number, nothing, nothing, nothing, nothing, nothing)
        if not pid:
            births.be_copy(libc, work, tell, null, nowhere, start)
        held_ms = (time.perf_counter() - start) * 1000
    finally:
        sys.setswitchinterval(interval)
        _imp.release_lock()
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return Copy(pid, round(held_ms, 1))


def _take_import_lock() -> None:
    """A copy that is made while another thread has it could import nothing. Where others hold it for long, give up.

    It also keeps others from making a copy at the same time.
    """
    until = time.monotonic() + _IMPORTS_S
    while _imp.lock_held():
        if time.monotonic() > until:
            raise TimeoutError("another thread holds Python's import lock")
        time.sleep(0.001)
    _imp.acquire_lock()


def _patience_s() -> float:
    """For how long others do not ask for the interpreter: longer than a copy takes, on a busy machine too."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return min(1.0, 0.15 + 0.05 * pages * os.sysconf("SC_PAGE_SIZE") / (1 << 30))
