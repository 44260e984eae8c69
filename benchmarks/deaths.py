"""How soon a client is told, with its explanation, that the kernel died under its call.

Goal: within 2 s, in a kernel that the present daemon started and in one that it adopted.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
from pathlib import Path

from figures import about, seconds, show, supervisor, verdict

from kernel_supervisor.client.connection import Connection
from kernel_supervisor.paths import Paths

_GOAL_S = 2.0
_DEATHS = {
    "os._exit(3)": ("import os; os._exit(3)", "exit code 3"),
    "SIGKILL": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
}


def main() -> int:
    """Print the figures; exit 1 where the goal is missed."""
    rounds = 2 if "--quick" in sys.argv else 20
    about(rounds)
    figures: dict[str, list[float]] = {"1+1, nobody dies": []}
    with supervisor() as paths:
        connection = Connection(paths)
        connection.open(start=True)
        for adopted in (False, True):
            for name, (code, explained) in _DEATHS.items():
                row = figures.setdefault(f"{name}, {'adopted' if adopted else 'born'}", [])
                for _ in range(rounds):
                    figures["1+1, nobody dies"].append(seconds(lambda: _run(connection, "1+1")))
                    if adopted:
                        _another_daemon(paths, connection)
                    row.append(seconds(lambda code=code, explained=explained: _run(connection, code, explained)))  # type: ignore[misc]  # mypy cannot infer a lambda's default
                    connection.call_tool("kernel_restart", {})
        connection.close()
    show("told of a death", figures, floor="1+1, nobody dies", unit="ms", scale=1e3)
    slowest = max(max(row) for row in figures.values())
    worst = max(statistics.median(row) for row in figures.values())
    return 0 if verdict(slowest <= _GOAL_S, f"told after {slowest:.2f} s at most, {worst:.2f} s in the middle") else 1


def _run(connection: Connection, code: str, explained: str = "") -> None:
    text, facts = connection.call_tool("kernel_exec", {"code": code})
    if facts["status"] != ("dead" if explained else "ok") or explained not in text:
        raise RuntimeError(text)


def _another_daemon(paths: Paths, connection: Connection) -> None:
    """Kill the daemon and wait until the next one has adopted the kernel."""
    os.kill(int(Path(paths.lock).read_text()), signal.SIGKILL)
    connection.close()
    connection.open(start=True)
    connection.call_tool("kernel_status", {})


if __name__ == "__main__":
    sys.exit(main())
