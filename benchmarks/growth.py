"""What an answer costs as a session's history grows: the last figure beside the first.

Bound: each within 1.3 × of what it cost at first. Two sessions side by side, a short one and a long one, so that the
machine's moods meet both alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from figures import COMMAND, about, interleaved, seconds, show, supervisor, verdict

from kernel_supervisor.client.connection import Connection
from kernel_supervisor.paths import Paths

_SHORT, _LONG = 10, 10_000
_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "1+1": ("kernel_exec", {"code": "1+1"}),
    "1/0": ("kernel_exec", {"code": "1/0"}),
    "history, last 20": ("kernel_history", {"last": 20}),
    "history, filtered": ("kernel_history", {"last": 5, "filter": "1+"}),
    "status": ("kernel_status", {}),
}


def main() -> int:
    """Print the figures; exit 1 where a bound is broken."""
    rounds, long = (5, 300) if "--quick" in sys.argv else (40, _LONG)
    about(rounds)
    with supervisor() as paths:
        subprocess.run([*COMMAND, "start"], check=True, stdout=subprocess.DEVNULL)
        sessions = {"short": _session(paths, "short", _SHORT), "long": _session(paths, "long", long)}
        kept = []
        for title, (tool, arguments) in _CALLS.items():
            parts: dict[str, Callable[[], float]] = {
                f"{name}: {title}": partial(_ask, connection, tool, arguments) for name, connection in sessions.items()
            }
            figures = interleaved(parts, rounds)
            short, grown = figures
            show(f"after {_SHORT} and {long} cells", figures, floor=short, unit="ms", scale=1e3)
            ratio = statistics.median(figures[grown]) / statistics.median(figures[short])
            kept.append(verdict(ratio <= 1.3, f"{title}: {ratio:.2f} × what it cost at first, at most 1.3 ×"))
        for connection in sessions.values():
            connection.close()
    return 0 if all(kept) else 1


def _ask(connection: Connection, tool: str, arguments: dict[str, Any]) -> float:
    return seconds(lambda: connection.call_tool(tool, arguments))


def _session(paths: Paths, name: str, cells: int) -> Connection:
    """A session with so many cells in its history, every fiftieth of which failed."""
    connection = Connection(paths, session=name)
    connection.open(start=True)
    for number in range(cells):
        connection.call_tool("kernel_exec", {"code": "1/0" if number % 50 == 49 else f"{number}+1"})
    return connection


if __name__ == "__main__":
    sys.exit(main())
