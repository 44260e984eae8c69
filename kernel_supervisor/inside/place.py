"""Says where a running cell is: which of its lines, and how many threads run code of cells beside it.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. It reads the stacks of the threads
from the control thread and calls nothing of the user's.
"""

from __future__ import annotations

import inspect
import linecache
import os
import sys
import threading
from typing import Any

PLACE = "supervisor_place_request"
_LONGEST = 120
_RUNNING = "_supervisor_running"


def install(kernel: Any) -> None:
    """Add the request to the control channel of `kernel`: what `_place` says, and whether a cell is `running`."""
    running = _count_cells(kernel)

    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        # A cell that awaits hears of an interrupt when its loop wakes up, and ipykernel's own call from the signal's
        # handler does not wake it (https://github.com/ipython/ipykernel/issues/881): this call, from here, does.
        kernel.io_loop.add_callback(lambda: None)
        content = {"status": "ok", "running": bool(running), **_place()}
        kernel.session.send(stream, "supervisor_place_reply", content, parent=parent, ident=ident)

    kernel.control_handlers[PLACE] = handle


def _count_cells(kernel: Any) -> list[str]:
    """A list with an item for each that runs: one that awaits is in no stack."""
    running: list[str] = getattr(kernel, _RUNNING, [])
    if hasattr(kernel, _RUNNING):
        return running
    setattr(kernel, _RUNNING, running)
    execute = kernel.shell_handlers["execute_request"]

    async def execute_request(stream: Any, ident: Any, parent: Any) -> None:
        running.append("")
        try:
            result = execute(stream, ident, parent)
            if inspect.isawaitable(result):
                await result
        finally:
            running.pop()

    kernel.shell_handlers["execute_request"] = execute_request
    return running


def _place() -> dict[str, Any]:
    """The innermost line of a cell in the main thread: its number, its text and the function; 0 where there is none.

    `threads` is how many others run code of cells.
    """
    main = threading.main_thread().ident
    frames = sys._current_frames()
    found = _in_cell(frames.get(main)) if main is not None else None
    others = sum(_in_cell(frame) is not None for ident, frame in frames.items() if ident != main)
    if found is None:
        return {"line": 0, "code": "", "function": "", "threads": others}
    code = found.f_code
    text = linecache.getline(code.co_filename, found.f_lineno).strip()
    name = "" if code.co_name == "<module>" else code.co_name
    return {"line": found.f_lineno, "code": text[:_LONGEST], "function": name, "threads": others}


def _in_cell(frame: Any) -> Any:
    """The innermost frame from here outwards that is in a cell, by ipykernel's and IPython's names for them."""
    ours = f"ipykernel_{os.getpid()}{os.sep}"
    while frame is not None:
        name = frame.f_code.co_filename
        if ours in name or name.startswith("<ipython-input"):
            return frame
        frame = frame.f_back
    return None
