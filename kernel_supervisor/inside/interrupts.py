"""Lets an interrupt reach the code of a request alone: it always gets its reply, and the kernel goes on.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. ipykernel (6.x, 7.x) raises
KeyboardInterrupt from before it looks at a request until after its reply: one that comes as the cell ends takes the
reply away, and everybody who waits for it waits for ever; between the two it ends the kernel's loop. One that comes
between the request and its code is kept for the code, which is not begun then.
"""

from __future__ import annotations

import functools
import inspect
import signal
import threading
import traceback
from collections.abc import Callable
from typing import Any


def install(kernel: Any) -> None:
    """Narrow SIGINT's handler down to what runs user code: cells, completion, inspection, and widgets' callbacks."""
    execute = kernel.do_execute
    if not inspect.iscoroutinefunction(execute):
        return
    early: list[bool] = []
    before: list[Any] = []

    def keep(*_: Any) -> None:
        early.append(True)

    def pre_handler_hook() -> None:
        if _in_main_thread():
            early.clear()
            before.append(_handler())
            signal.signal(signal.SIGINT, keep)

    def post_handler_hook() -> None:
        if before and _in_main_thread():
            signal.signal(signal.SIGINT, before.pop())

    @functools.wraps(execute)
    async def do_execute(*args: Any, **kwargs: Any) -> Any:
        if not _in_main_thread():  # a subshell's
            return await execute(*args, **kwargs)
        count, outside, replies = kernel.shell.execution_count, _handler(), []
        failure: BaseException = KeyboardInterrupt()
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
        except Exception as error:  # noqa: BLE001 - IPython does not expect an interrupt everywhere: whatever it is
            failure = error
        return replies[0] if replies else _failed(kernel, count, failure)

    kernel.pre_handler_hook, kernel.post_handler_hook = pre_handler_hook, post_handler_hook
    kernel.do_execute = do_execute
    for name in ("do_complete", "do_inspect"):
        reply = {"status": "error", **_described(KeyboardInterrupt())}
        setattr(kernel, name, _interruptible(getattr(kernel, name), reply))
    for name in ("comm_open", "comm_msg", "comm_close"):
        if name in kernel.shell_handlers:
            kernel.shell_handlers[name] = _interruptible(kernel.shell_handlers[name], None)


def _interruptible(function: Callable[..., Any], instead: Any) -> Callable[..., Any]:
    """A `function` that calls user code, and what it returns where that is interrupted."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _in_main_thread() or inspect.iscoroutinefunction(function):
            return function(*args, **kwargs)
        outside, results = _handler(), []
        try:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                results.append(function(*args, **kwargs))
            finally:
                _handle(outside)
        except KeyboardInterrupt:
            _handle(outside)
        return results[0] if results else instead

    return call


def _in_main_thread() -> bool:
    """Where signals are handled. Requests that come while one is handled nest; those of subshells are elsewhere."""
    return threading.current_thread() is threading.main_thread()


def _handler() -> Any:
    """SIGINT's handler; one that Python did not set cannot be set again."""
    return signal.getsignal(signal.SIGINT) or signal.SIG_IGN


def _handle(handler: Any) -> None:
    """Make it SIGINT's handler. Python runs the present one first where a signal came just before."""
    while True:
        try:
            signal.signal(signal.SIGINT, handler)
            return
        except KeyboardInterrupt:
            continue


def _failed(kernel: Any, count: int, failure: BaseException) -> dict[str, Any]:
    """The reply to a cell that was interrupted in IPython's own code around it, its error published."""
    request = kernel.get_parent("shell").get("content", {})
    if kernel.shell.execution_count == count and request.get("store_history", not request.get("silent")):
        kernel.shell.execution_count += 1  # the next cell is another one
    error = _described(failure)
    kernel.send_response(kernel.iopub_socket, "error", error)
    return {"status": "error", "execution_count": count, "user_expressions": {}, "payload": [], **error}


def _described(failure: BaseException) -> dict[str, Any]:
    lines = traceback.format_exception_only(type(failure), failure)
    return {"ename": type(failure).__name__, "evalue": str(failure), "traceback": [line.rstrip() for line in lines]}
