"""Begins a checkpoint in the kernel's process: makes the snapshot, and waits until it is at work."""

from __future__ import annotations

import _thread
import importlib.util
import os
import threading
from typing import Any

_loaded: dict[str, Any] = {}
_OWN_THREADS = ("ipykernel", "IPython", "zmq", "tornado", "ipyparallel")
"""Whose threads every kernel has."""
_TRIES = 3


def beside(name: str) -> Any:
    """The module in the file beside this one, loaded once, without touching `sys.path` or `sys.modules`."""
    if name not in _loaded:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
        spec: Any = importlib.util.spec_from_file_location("_kernel_supervisor_" + name, path)
        module = importlib.util.module_from_spec(spec)
        vars(module)["beside"] = beside
        spec.loader.exec_module(module)
        _loaded[name] = module
    return _loaded[name]


def begin(kernel: Any, content: Any) -> Any:
    """Make a snapshot that writes a checkpoint of the variables of `kernel`, and say how that went.

    `{"status": "ok", "pid", "held_ms", "names"}` once it is at work; `{"status": "busy"}` where a cell runs;
    `{"status": "refused", "why"}`.
    """
    quiet = beside("quiet")
    why = quiet.hindrance() or beside("borrowed").hindrance(content)
    if why:
        return {"status": "refused", "why": why}
    listed = beside("listing").user_variables(kernel.shell, content.get("only"))
    threads = user_threads() if content.get("threads", True) else []

    def work(begun: Any) -> None:
        beside("snapshot").save(kernel, content, threads, begun)

    for _ in range(_TRIES):
        try:
            copied = quiet.copy(lambda: bool(getattr(kernel, "_supervisor_running", ())), work)
        except OSError as error:
            return {
                "status": "refused",
                "why": "the kernel's process could not be copied: %s" % (error.strerror or error),
            }
        if copied is None:
            return {"status": "busy"}
        if copied.is_at_work:
            _thread.start_new_thread(copied.see_off, ())
            return {"status": "ok", "pid": copied.pid, "held_ms": copied.held_ms, "names": len(listed)}
        copied.kill()
        copied.see_off()
        if not copied.is_stuck:
            break
    return {"status": "refused", "why": copied.why}


def user_threads() -> list[str]:
    """The names of the threads that run but for those that every kernel has. Nothing of theirs is called."""
    found = []
    for thread in list(vars(threading)["_active"].values()):
        names = getattr(thread, "__dict__", {})
        target = names.get("_target")
        owner = type(getattr(target, "__self__", None))
        origins = {type(thread).__module__, owner.__module__, getattr(target, "__module__", "")}
        is_own = any(str(origin).partition(".")[0] in _OWN_THREADS for origin in origins)
        if not (is_own or thread is threading.main_thread() or "supervisor" in str(names.get("_name"))):
            found.append(str(names.get("_name")))
    return sorted(found)
