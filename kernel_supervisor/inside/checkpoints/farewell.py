"""Has a kernel that is sent SIGTERM by others make a checkpoint first, and end of that signal as it would have.

A handler of the user's own wins, before or after; forks have the default again. Where a cell runs nothing is saved:
what was before it has a checkpoint. Code in C that holds the interpreter holds the end up, too, until it lets go.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import json
import os
import signal
from typing import Any

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
_INSTALLED = "_supervisor_farewell"


def keep(kernel: Any, content: Any) -> Any:
    """Make the checkpoint of `content` at SIGTERM from now on, or none where it names no folder. In the main thread.

    `{"status": "ok"}`, or `{"status": "refused", "why"}`. Once it is begun, `begun.json` stands in the folder, with
    what `saving.begin` has answered.
    """
    farewell = getattr(kernel, _INSTALLED, None)
    if not content.get("into"):
        if farewell is not None:
            farewell.disarm()
        return {"status": "ok"}
    if farewell is None:
        farewell = Farewell(kernel)
        setattr(kernel, _INSTALLED, farewell)
    return farewell.arm(content, beside("saving").begin)


class Farewell:
    """What one kernel does at SIGTERM."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.pid = kernel, os.getpid()
        self.content: Any = None
        self.save: Any = None
        self.began = _thread.allocate_lock()
        self.handler = self.handle
        self.end, self.entrance = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.entrance, False)
        os.register_at_fork(after_in_child=self.forget)
        _thread.start_new_thread(self.watch, ())

    def is_ours(self) -> bool:
        """Whether nobody else handles it."""
        return signal.getsignal(signal.SIGTERM) is self.handler

    def arm(self, content: Any, save: Any) -> Any:
        """Handle it, where nobody does."""
        self.content, self.save = content, save
        if not self.is_ours():
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
                return {"status": "refused", "why": "user code has a handler of its own for SIGTERM"}
            signal.signal(signal.SIGTERM, self.handler)
        before = signal.set_wakeup_fd(self.entrance, warn_on_full_buffer=False)
        if before not in (-1, self.entrance):  # somebody else is to be woken: it is noticed in the main thread alone
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        return {"status": "ok"}

    def disarm(self) -> None:
        """Let it end the process again, at once."""
        self.content = None
        if self.is_ours():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        before = signal.set_wakeup_fd(-1)
        if before not in (-1, self.entrance):
            signal.set_wakeup_fd(before, warn_on_full_buffer=False)

    def watch(self) -> None:
        """Hear of it also while the main thread is in C code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        with contextlib.suppress(OSError):  # user code has closed it
            while signal.SIGTERM not in os.read(self.end, 512) or not self.is_ours():
                continue
            self.go()

    def handle(self, *_: Any) -> None:
        """In the main thread."""
        _thread.start_new_thread(self.go, ())

    def go(self) -> None:
        """Save, and end."""
        if not self.began.acquire(False):
            return
        try:
            content, busy = self.content, getattr(self.kernel, "_supervisor_running", ())
            if content and not busy:
                said = json.dumps(self.save(self.kernel, content)).encode()
                with open(os.path.join(content["into"], "begun.json"), "wb") as file:
                    file.write(said)
        finally:
            ctypes.CDLL(None).signal(int(signal.SIGTERM), None)
            os.kill(self.pid, signal.SIGTERM)

    def forget(self) -> None:
        """In a fork, which ends of it."""
        if self.is_ours():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
