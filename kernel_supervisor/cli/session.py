"""What every sub-command has at hand: its options, a connection that is opened when it is needed, and printing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from kernel_supervisor.client.connection import CallError, Connection
from kernel_supervisor.paths import find

DONE, FAILED, USAGE, NO_DAEMON = 0, 1, 2, 3
_QUICK_S = 60.0


class Command:
    """One run of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.paths = find()
        self._connection: Connection | None = None

    def connection(self, *, start: bool = False) -> Connection:
        """The connection to the daemon, which is started if `start` says so. Raises NoDaemonError."""
        if self._connection is None:
            connection = Connection(
                self.paths,
                session=getattr(self.options, "session", "") or None,
                python=getattr(self.options, "python", "") or None,
            )
            connection.open(start=start)
            self._connection = connection
        return self._connection

    def tool(self, name: str, *, start: bool = False, deadline_s: float | None = _QUICK_S, **arguments: Any) -> Any:
        """A tool's text and facts. Raises CallError."""
        return self.connection(start=start).call_tool(name, arguments, deadline_s=deadline_s)

    def long_tool(self, name: str, **arguments: Any) -> Any:
        """A tool that may take minutes; standard error shows how it goes. The daemon is started. Raises CallError."""
        said = [""]

        def show(words: str) -> None:
            if words != said[0]:
                said[0] = words
                print(words, file=sys.stderr, flush=True)

        return self.connection(start=True).call_tool(name, arguments, on_progress=show)

    def find_kernel(self, wanted: str) -> dict[str, Any]:
        """The living kernel with that id, beginning of an id, or session. Raises CallError."""
        kernels: list[dict[str, Any]] = self.tool("kernel_list_running")[1]["kernels"]
        exact = [each for each in kernels if wanted in (each["kernel_id"], each["session"])]
        matches = exact or [each for each in kernels if wanted and each["kernel_id"].startswith(wanted)]
        if not matches:
            raise CallError(f"there is no kernel {wanted!r}; `kernel-supervisor list` shows them")
        if len(matches) > 1:
            names = ", ".join(f"{each['kernel_id']} ({each['session']})" for each in matches)
            raise CallError(f"{wanted!r} could be several kernels: {names}")
        return matches[0]

    def close(self) -> None:
        """Say goodbye to the daemon."""
        if self._connection is not None:
            self._connection.close()


def print_json(value: Any) -> None:
    """For programs: one document, sorted by nothing, indented for the person who looks at it anyway."""
    print(json.dumps(value, indent=2, default=str))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """For people."""
    from tabulate import tabulate  # 12 ms, and only where there is a table

    print(tabulate(rows, headers, tablefmt="simple", disable_numparse=True))


def size(count: int | None) -> str:
    """Bytes in MB, as memory is usually given."""
    return "" if count is None else f"{count / 1e6:.0f} MB"


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0, seconds):.0f} s"
