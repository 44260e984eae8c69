"""How soon a kernel that runs a cell can be looked at: asleep, in a Python loop, in C code that holds the GIL.

Goals: 100 ms while it sleeps, 500 ms in a loop, and in C code the news of it within a second; on ipykernel 6 and 7.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from figures import about, seconds, show, supervisor, verdict

from kernel_supervisor.client.connection import CallError, Connection

_HELD = "import ctypes; ctypes.PyDLL(None).usleep(8_000_000)"
_CELLS = {
    "asleep": ("import time; time.sleep(30)", 0.1),
    "in a Python loop": ("while True: pass", 0.5),
    "in C code": (_HELD, 1.0),
}
_LOOKS = {
    "kernel_status": {},
    "kernel_list_vars": {},
    "kernel_inspect": {"var_name": "x"},
    "kernel_history": {},
}


def main() -> int:
    """Print the figures; exit 1 where a goal is missed in the middle."""
    rounds = 1 if "--quick" in sys.argv else 5
    about(rounds)
    kept = True
    with tempfile.TemporaryDirectory(prefix="ksb-", dir="/tmp") as folder, supervisor() as paths:
        connection = Connection(paths)
        connection.open(start=True)
        for ipykernel in ("6.29.5", "7.4.0"):
            prefix = Path(folder, ipykernel)
            subprocess.run([sys.executable, "-m", "uv", "venv", "-q", str(prefix)], check=True)
            install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(prefix / "bin/python")]
            subprocess.run([*install, f"ipykernel=={ipykernel}"], check=True)
            connection.call_tool("kernel_use_env", {"env_name": str(prefix)})
            connection.call_tool("kernel_exec", {"code": "x = 41"})
            kept = _looks(connection, ipykernel, rounds) and kept
        connection.close()
    return 0 if kept else 1


def _looks(connection: Connection, ipykernel: str, rounds: int) -> bool:
    figures: dict[str, list[float]] = {"idle: kernel_list_vars": []}
    goals = []
    for _ in range(rounds):
        for cell, (code, goal) in _CELLS.items():
            figures["idle: kernel_list_vars"].append(seconds(lambda: connection.call_tool("kernel_list_vars", {})))
            for look, arguments in _LOOKS.items():
                number = connection.call_tool("kernel_exec", {"code": code, "timeout": 0.3})[1]["execution_id"]
                name = f"{cell}: {look}"
                figures.setdefault(name, []).append(seconds(lambda: _look(connection, look, arguments)))  # noqa: B023 - called at once
                goals.append((name, goal))
                connection.call_tool("kernel_interrupt", {"execution_id": number})
                connection.call_tool("kernel_output", {"execution_id": number, "wait": 30})
    show(f"ipykernel {ipykernel}", figures, floor="idle: kernel_list_vars", unit="ms", scale=1e3)
    slow = [name for name, goal in goals if statistics.median(figures[name]) > goal]
    return verdict(not slow, f"each within its goal{': not ' + ', '.join(sorted(set(slow))) if slow else ''}")


def _look(connection: Connection, look: str, arguments: dict[str, str]) -> None:
    with suppress(CallError):  # that C code holds the kernel is said with an error where nothing is known from before
        connection.call_tool(look, arguments)


if __name__ == "__main__":
    sys.exit(main())
