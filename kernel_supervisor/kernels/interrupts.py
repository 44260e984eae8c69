"""Lets an interrupt reach a cell's code alone: the cell always gets its reply, and the kernel goes on.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. ipykernel (6.x, 7.x) raises
KeyboardInterrupt from before it looks at a request until after its reply: one that comes as the cell ends takes the
reply away, and everybody who waits for it waits for ever; in a few places it even ends the kernel's loop. One that
comes between the request and its code is kept for the code, which is not begun then.
"""

from __future__ import annotations

import functools
import inspect
import signal
import threading
from typing import Any


def install(kernel: Any) -> None:
    """Narrow SIGINT's handler down to `kernel.do_execute`, for executions; what other requests have stays."""
    execute, begin, end = kernel.do_execute, kernel.pre_handler_hook, kernel.post_handler_hook
    if not inspect.iscoroutinefunction(execute):
        return
    begun: list[bool] = []
    early: list[bool] = []
    before: list[Any] = []

    def pre_handler_hook() -> None:
        if kernel.get_parent("shell").get("msg_type") != "execute_request":
            begun.append(True)
            begin()
        elif threading.current_thread() is threading.main_thread():
            early.clear()
            before.append(signal.signal(signal.SIGINT, lambda *_: early.append(True)) or signal.SIG_IGN)

    def post_handler_hook() -> None:
        if before and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before.pop())
        elif begun:
            begun.pop()
            end()

    @functools.wraps(execute)
    async def do_execute(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():  # a subshell's: no signal is handled there
            return await execute(*args, **kwargs)
        count, replies = kernel.shell.execution_count, []
        outside = signal.getsignal(signal.SIGINT) or signal.SIG_IGN
        try:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                if early:
                    raise KeyboardInterrupt
                replies.append(await execute(*args, **kwargs))
            finally:
                _handle(outside)
        except KeyboardInterrupt:
            _handle(outside)
        return replies[0] if replies else _interrupted(kernel, count)

    kernel.pre_handler_hook, kernel.post_handler_hook = pre_handler_hook, post_handler_hook
    kernel.do_execute = do_execute


def _handle(handler: Any) -> None:
    """Make it SIGINT's handler. Python runs the present one first where a signal came just before."""
    while True:
        try:
            signal.signal(signal.SIGINT, handler)
            return
        except KeyboardInterrupt:
            continue


def _interrupted(kernel: Any, count: int) -> dict[str, Any]:
    """The reply to a cell that was interrupted in IPython's own code around it, its error published."""
    request = kernel.get_parent("shell").get("content", {})
    if kernel.shell.execution_count == count and request.get("store_history", not request.get("silent")):
        kernel.shell.execution_count += 1  # the next cell is another one
    error = {"ename": "KeyboardInterrupt", "evalue": "", "traceback": ["KeyboardInterrupt"]}
    kernel.send_response(kernel.iopub_socket, "error", error)
    return {"status": "error", "execution_count": count, "user_expressions": {}, "payload": [], **error}
