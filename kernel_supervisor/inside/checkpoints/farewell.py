"""Has an idle kernel that is sent SIGTERM by others make a checkpoint first, and end of that signal as it would have.

While a cell runs the signal is as ever, for it and for what it forks: nothing could be saved then, and what was before
it has a checkpoint. A handler of the user's own wins.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import inspect
import json
import os
import signal
import threading
from typing import Any

beside: Any = globals().get("beside")
"""`saving.beside`, which loads this module and puts itself here before."""
_INSTALLED = "_supervisor_farewell"
_OF_THE_USERS = "user code has a handler of its own for SIGTERM"


def keep(kernel: Any, content: Any) -> Any:
    """Make the checkpoint of `content` at SIGTERM from now on, or none where it names no folder. In the main thread.

    `{"status": "ok"}`, or `{"status": "refused", "why"}`. Once it is begun, `begun.json` stands in the folder, with
    what `saving.begin` has answered.
    """
    farewell = getattr(kernel, _INSTALLED, None)
    if farewell is None:
        farewell = Farewell(kernel)
        setattr(kernel, _INSTALLED, farewell)
    farewell.content = content if content.get("into") else None
    farewell.save = beside("saving").begin
    return farewell.settle()


class Farewell:
    """What one kernel does at SIGTERM."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.content: Any = None
        self.save: Any = None
        self.began = _thread.allocate_lock()
        self.handler = self.handle
        os.register_at_fork(after_in_child=self.step_back)
        self.follow_cells()

    def follow_cells(self) -> None:
        """Leave the signal to cells."""
        execute = self.kernel.shell_handlers["execute_request"]

        async def execute_request(stream: Any, ident: Any, parent: Any) -> None:
            self.step_back()
            try:
                result = execute(stream, ident, parent)
                if inspect.isawaitable(result):
                    await result
            finally:
                self.settle()

        self.kernel.shell_handlers["execute_request"] = execute_request

    def settle(self) -> Any:
        """Handle the signal where that is asked for, no cell runs and nobody else does."""
        if self.content is None:
            self.step_back()
        elif threading.current_thread() is threading.main_thread() and not self.is_busy():
            if signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, self.handler):
                return {"status": "refused", "why": _OF_THE_USERS}
            signal.signal(signal.SIGTERM, self.handler)
        return {"status": "ok"}

    def step_back(self) -> None:
        """Let the signal end the process at once. In forks, too."""
        if signal.getsignal(signal.SIGTERM) is self.handler:
            with contextlib.suppress(ValueError):  # a subshell's thread: the main one runs no cell
                signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def is_busy(self) -> bool:
        """Whether a cell runs."""
        return bool(getattr(self.kernel, "_supervisor_running", ()))

    def handle(self, *_: Any) -> None:
        """In the main thread, which is not to wait: a checkpoint is made in one of its own."""
        if self.began.acquire(False):
            _thread.start_new_thread(self.end, ())

    def end(self) -> None:
        """Save, and end."""
        try:
            content = self.content
            if content is not None:
                said = json.dumps(self.save(self.kernel, content)).encode()
                with open(os.path.join(content["into"], "begun.json"), "wb") as file:
                    file.write(said)
        finally:
            ctypes.CDLL(None).signal(int(signal.SIGTERM), None)
            os.kill(os.getpid(), signal.SIGTERM)
