"""glance: what lives in this directory's session, in two lines, for a conversation that begins."""

from __future__ import annotations

import time
from typing import Any

from kernel_supervisor.amounts import several, size, span
from kernel_supervisor.cli.codes import DONE
from kernel_supervisor.cli.forgetting import ago
from kernel_supervisor.cli.session import Command
from kernel_supervisor.client.connection import CallError, NoDaemonError

_LAST, _CODE = 20, 90


def glance(command: Command) -> int:
    """Nothing is said where nothing lives, no daemon runs, or it does not answer: a hook is nobody's business then."""
    try:
        status: dict[str, Any] = command.tool("kernel_status")[1]
        if status.get("state") in ("idle", "busy", "starting"):
            entries = command.tool("kernel_history", last=_LAST)[1]["entries"]
            print(f"{_what_lives(status)}\n{_what_is_done(entries)}")
    except (CallError, NoDaemonError, TimeoutError):
        pass
    return DONE


def _what_lives(status: dict[str, Any]) -> str:
    cells, memory = several(status["execution_count"], "cell"), size(status["memory_bytes"])
    about = ", ".join(filter(None, [f"up {span(status['uptime_s'])}", memory, cells]))
    used = f"last used {ago(status['last_used_at'])}"
    return (
        f"Python session {status['session']} of kernel-supervisor lives: a kernel that is {status['state']} ({about}; "
        f"{used}). Its variables are there, nothing has to be run again: kernel_history and kernel_list_vars show them."
    )


def _what_is_done(entries: list[dict[str, Any]]) -> str:
    """What runs, else what ran last."""
    running = [each for each in entries if each["status"] == "running"]
    for each in running or entries[-1:]:
        state = f"was the last ({each['status']})"
        if running:
            state = f"has been at work for {span(time.time() - each['queued_at'])}"
        first, *others = each["code"].strip().split("\n")
        code = first[:_CODE] + (" …" if others or len(first) > _CODE else "")
        return f"Execution {each['execution_id']} {state}: {code}"
    return "Nothing was run in it yet."
