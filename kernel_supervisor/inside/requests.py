"""Sees to it that no execution is begun twice, and that only the supervisor shuts its kernel down.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later.
"""

from __future__ import annotations

import inspect
from typing import Any


def install(kernel: Any, owner: str) -> None:
    """Take requests so from now on. `owner` is the supervisor's Jupyter session, empty where nobody owns the kernel."""
    run_each_once(kernel)
    if owner:
        obey_owner_alone(kernel, owner)


def run_each_once(kernel: Any) -> None:
    """Never begin an execution twice: a supervisor that is in doubt sends the same msg_id again."""
    begun: set[str] = set()
    execute = kernel.shell_handlers["execute_request"]

    async def execute_request(stream: Any, ident: Any, parent: Any) -> None:
        msg_id = parent["header"]["msg_id"]
        if msg_id in begun:
            return
        begun.add(msg_id)
        result = execute(stream, ident, parent)
        if inspect.isawaitable(result):
            await result

    kernel.shell_handlers["execute_request"] = execute_request


def obey_owner_alone(kernel: Any, owner: str) -> None:
    """Refuse a `shutdown_request` whose Jupyter session is not the supervisor's.

    jupyter_client sends one to every kernel that it knows when its process ends (a Jupyter server, a console): the
    kernel would go, and everybody's variables with it. Who means it asks the supervisor.
    """
    refusal = "this kernel is kept by kernel-supervisor: `kernel-supervisor kill` ends it"

    def guarded(handler: Any) -> Any:
        def shutdown_request(stream: Any, ident: Any, parent: Any) -> Any:
            if parent["header"].get("session") == owner:
                return handler(stream, ident, parent)
            restart = bool(parent["content"].get("restart"))
            content = {"status": "error", "ename": "Refused", "evalue": refusal, "traceback": [], "restart": restart}
            kernel.session.send(stream, "shutdown_reply", content, parent, ident=ident)
            return None

        return shutdown_request

    for handlers in (kernel.shell_handlers, kernel.control_handlers):
        if "shutdown_request" in handlers:
            handlers["shutdown_request"] = guarded(handlers["shutdown_request"])
