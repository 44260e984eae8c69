"""Spares a cell waiting for the thread that sends outputs where there is nothing to send.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib and the kernel's own ipykernel only, Python 3.8 and later. A
cell with a value flushes both streams three times (before its result, before its reply, before its idle), each of which
wakes that thread and waits for it, and sleeps for half a millisecond besides, so that what it printed comes first at
clients that draw things in the order in which they come: that stands in the log before, and is in line before.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Callable

_SLEEP_S = 0.0005
"""How long ipykernel sleeps where nobody has configured it otherwise (`Kernel._execute_sleep`)."""


def install(kernel: Any, streams: Any) -> None:
    """Flush the kernel's `streams` so from now on."""
    kernel._supervisor_flushes = [Flush(stream) for stream in streams if _is_known(stream)]
    if kernel._supervisor_flushes and getattr(kernel, "_execute_sleep", None) == _SLEEP_S:
        kernel._execute_sleep = 0.0


def _is_known(stream: Any) -> bool:
    """Whether a stream keeps what was written as is expected here, and copies it to no other stream."""
    buffered = isinstance(getattr(stream, "_buffers", None), dict) and hasattr(stream, "_buffer_lock")
    return buffered and callable(getattr(stream, "_flush", None)) and getattr(stream, "echo", 0) is None


class Flush:
    """Flushes one stream.

    What another thread has taken out of the buffer is on its way as long as that thread holds the lock: who has it, and
    finds the buffer empty, knows that everything is in the log, and in line to be sent.
    """

    def __init__(self, stream: Any) -> None:
        self.stream, self.pid = stream, os.getpid()
        self.lock = (
            threading.RLock()
        )  # a handler of a signal, or what garbage prints as it goes, flushes within a flush
        self.wait, self.send = stream.flush, stream._flush
        self.gather: Callable[[], bool] = lambda: False
        """Takes into the buffers what was written past them, to descriptors; whether somebody does so just now."""
        stream.flush, stream._flush = self.flush, self.flush_now

    def flush(self) -> None:
        """Send what is in the buffer, and return when that is done."""
        if (os.getpid() == self.pid and self.gather()) or not self.is_empty():
            self.wait()

    def is_empty(self) -> bool:
        """Whether nothing is left to send, and nobody is sending; a fork has the lock as it was, and asks nobody.

        The lock is not waited for: who holds it may wait for the buffer, in which a signal has interrupted this thread.
        """
        if os.getpid() != self.pid or not self.lock.acquire(blocking=False):
            return False
        try:
            return not self.stream._buffers
        finally:
            self.lock.release()

    def flush_now(self) -> None:
        """Send what is in the buffer, in this thread."""
        if os.getpid() != self.pid:
            self.send()
            return
        with self.lock:
            self.send()
