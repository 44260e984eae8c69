"""Lets the supervisor ask, on the control channel, for what a kernel's variables are to be saved.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. What saves is loaded from the
folder that the request names, and forgotten: a kernel that lives through an upgrade is saved as the new one does it.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import importlib.util
import os
from typing import Any

CHECKPOINT = "supervisor_checkpoint_request"
_REPLY = "supervisor_checkpoint_reply"
_BUSY = {"status": "busy"}


def install(kernel: Any) -> None:
    """Add the request to the control channel of `kernel`.

    It is answered while others are: what takes time is done in a thread that `threading` does not know.
    """

    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        loop, asked = asyncio.get_running_loop(), parent["content"]

        def reply(content: Any) -> None:
            kernel.session.send(stream, _REPLY, content, parent=parent, ident=ident)

        def work() -> None:
            content = _begin(kernel, asked)
            with contextlib.suppress(RuntimeError):  # the kernel ends
                loop.call_soon_threadsafe(reply, content)

        if is_busy(kernel):
            reply(_BUSY)
        else:
            _thread.start_new_thread(work, ())

    kernel.control_handlers[CHECKPOINT] = handle


def is_busy(kernel: Any) -> bool:
    """Whether a cell runs, as `place.py` counts them."""
    return bool(getattr(kernel, "_supervisor_running", ()))


def _begin(kernel: Any, asked: Any) -> Any:
    try:
        path = os.path.join(asked["code"], "saving.py")
        spec: Any = importlib.util.spec_from_file_location("_kernel_supervisor_saving", path)
        saving = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(saving)
        return saving.begin(kernel, asked)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the kernel goes on
        return {"status": "refused", "why": "%s: %s" % (type(error).__name__, error)}
