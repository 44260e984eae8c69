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
KEEP = "supervisor_keep_request"
_BUSY = {"status": "busy"}


def install(kernel: Any) -> None:
    """Add the requests to the control channel of `kernel`: for a checkpoint now, and for one at SIGTERM.

    Others are answered meanwhile: what takes time is done in a thread that `threading` does not know. What is to be
    done at signals is said in the main thread, between cells.
    """

    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        loop, asked, request = asyncio.get_running_loop(), parent["content"], parent["header"]["msg_type"]

        def reply(content: Any) -> None:
            reply_type = request.replace("_request", "_reply")
            kernel.session.send(stream, reply_type, content, parent=parent, ident=ident)

        def work() -> None:
            content = _answer(kernel, asked, request)
            with contextlib.suppress(RuntimeError):  # the kernel ends
                loop.call_soon_threadsafe(reply, content)

        if request == KEEP:
            kernel.io_loop.add_callback(work)
        elif is_busy(kernel):
            reply(_BUSY)
        else:
            _thread.start_new_thread(work, ())

    kernel.control_handlers[CHECKPOINT] = kernel.control_handlers[KEEP] = handle


def is_busy(kernel: Any) -> bool:
    """Whether a cell runs, as `place.py` counts them."""
    return bool(getattr(kernel, "_supervisor_running", ()))


def _answer(kernel: Any, asked: Any, request: str) -> Any:
    try:
        saving = _saving(asked)
        return saving.begin(kernel, asked) if request == CHECKPOINT else saving.beside("farewell").keep(kernel, asked)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the kernel goes on
        return {"status": "refused", "why": "%s: %s" % (type(error).__name__, error)}


def _saving(asked: Any) -> Any:
    spec: Any = importlib.util.spec_from_file_location(
        "_kernel_supervisor_saving", os.path.join(asked["code"], "saving.py")
    )
    saving = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(saving)
    return saving
