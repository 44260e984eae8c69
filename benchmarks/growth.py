"""What answers, starts and the daemon's memory cost as a session's history grows: the last figure beside the first.

Bound: each within 1.3 × of what it was after ten executions. One supervisor for each size, side by side, to and fro, so
that the machine's moods meet all alike. A history is built by the client up to its tenth cell; then the daemon is
stopped, and what those cells left is written again as often as it takes, through the product's own records and message
log; the last cells of each are the client's again.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from figures import COMMAND, about, interleaved, seconds, show, supervisor, verdict

from kernel_supervisor.client.connection import Connection
from kernel_supervisor.core.model import Execution, MessageId, Region
from kernel_supervisor.paths import HOME_VARIABLE, Paths
from kernel_supervisor.records.database import Database
from kernel_supervisor.records.messagelog import MessageLogWriter, encode_message
from kernel_supervisor.running.reading import log_size

_BOUND = 1.3
_FIRST, _LAST = 10, 200
"""How many cells the client runs at the beginning of each history, and at the end of one that is long enough."""
_PIECE = 1_000
_PARTS = ("header", "parent_header", "metadata", "content", "buffers")
"""Of a message, as they stand in a log."""
_FAILS = 7
"""The place, among the first ten, of the one that fails."""
_CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "1+1": ("kernel_exec", {"code": "1+1"}),
    "1/0": ("kernel_exec", {"code": "1/0"}),
    "kernel_history, last 20": ("kernel_history", {"last": 20}),
    "kernel_history, filter that many have": ("kernel_history", {"filter": "1+"}),
    "kernel_history, filter that one has": ("kernel_history", {"filter": "The First"}),
    "kernel_status": ("kernel_status", {}),
    "kernel_list_running": ("kernel_list_running", {}),
}


@dataclass
class Grown:
    """A supervisor with a session of so many executions."""

    paths: Paths
    size: int
    connection: Connection

    def ask(self, tool: str, arguments: dict[str, Any]) -> float:
        """How long a call takes."""
        return seconds(lambda: self.connection.call_tool(tool, arguments))

    def save(self) -> float:
        """How long it takes to write the last ten cells as a notebook."""
        entries = self.connection.call_tool("kernel_history", {"last": 10})[1]["entries"]
        first = entries[0]["execution_id"]
        path = f"{self.paths.state}/last.ipynb"
        return self.ask("kernel_save_notebook", {"path": path, "first": first})

    def start_again(self) -> float:
        """How long it takes until a daemon that was stopped has started and taken its kernel over."""
        self.run("stop")
        return seconds(self.begin)

    def begin(self) -> None:
        """Start the daemon, and return when it knows its kernel."""
        self.run("start")
        self.connection.close()
        self.connection = Connection(self.paths, session="grown")
        self.connection.open(start=False)
        state = self.connection.call_tool("kernel_status", {})[1]
        assert state["state"] == "idle", state

    def run(self, *command: str) -> None:
        """The command line, for this supervisor."""
        environ = {**os.environ, HOME_VARIABLE: self.paths.state}
        subprocess.run([*COMMAND, *command], check=True, stdout=subprocess.DEVNULL, env=environ)

    def memory(self) -> float:
        """What the daemon has in memory."""
        pid = int(self.connection.request("supervisor/status", {})["pid"])
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return float(next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS")))


def main() -> int:
    """Print the figures; exit 1 where a bound is broken."""
    quick = "--quick" in sys.argv
    rounds, sizes = (5, (10, 500)) if quick else (40, (10, 1_000, 10_000, 50_000))
    about(rounds)
    with ExitStack() as stack:
        all_grown = [_grown(stack.enter_context(supervisor()), size) for size in sizes]
        kept = [_verdict(title, figures) for title, figures in _answers(all_grown, rounds)]
        memory = {_title(each): [each.memory()] for each in all_grown}
        kept.append(_verdict("the daemon's memory", memory, unit="MB", scale=2**-20))
        starts = interleaved({_title(each): each.start_again for each in all_grown}, 2 if quick else 6)
        kept.append(_verdict("stopped daemon to kernel taken over", starts))
        for each in all_grown:
            each.connection.close()
    return 0 if all(kept) else 1


def _title(grown: Grown) -> str:
    return f"after {grown.size:,} executions"


def _answers(all_grown: list[Grown], rounds: int) -> list[tuple[str, dict[str, list[float]]]]:
    """By what is asked, what it takes with each."""
    asked: dict[str, Callable[[Grown], float]] = {
        title: partial(Grown.ask, tool=tool, arguments=arguments) for title, (tool, arguments) in _CALLS.items()
    }
    asked["kernel_save_notebook, last 10"] = Grown.save
    return [
        (title, interleaved({_title(each): partial(ask, each) for each in all_grown}, rounds))
        for title, ask in asked.items()
    ]


def _verdict(title: str, figures: dict[str, list[float]], unit: str = "ms", scale: float = 1e3) -> bool:
    first, *_, last = figures
    show(title, figures, floor=first, unit=unit, scale=scale)
    ratio = statistics.median(figures[last]) / statistics.median(figures[first])
    held = verdict(ratio <= _BOUND, f"{title}: {ratio:.2f} × what it was at first, at most {_BOUND} ×")
    print()
    return held


def _grown(paths: Paths, size: int) -> Grown:
    grown = Grown(paths, size, Connection(paths, session="grown"))
    grown.run("start")
    grown.connection.open(start=False)
    for number in range(_FIRST):
        code = {0: "'the first'", _FAILS: "1/0"}.get(number, f"{number}+1")
        grown.connection.call_tool("kernel_exec", {"code": code})
    last = min(_LAST, size // 2) if size > _FIRST else 0
    written = size - _FIRST - last - 1  # and the one that counts on
    if written > 0:
        code = f"get_ipython().execution_count += {written}"
        grown.connection.call_tool("kernel_exec", {"code": code})
        grown.run("stop")
        asyncio.run(_write_more(paths, written))
        grown.begin()
    for number in range(last):
        grown.connection.call_tool("kernel_exec", {"code": f"{number}+1"})
    (newest,) = grown.connection.call_tool("kernel_history", {"last": 1})[1]["entries"]
    assert newest["execution_id"] == size, newest
    return grown


async def _write_more(paths: Paths, count: int) -> None:
    """Write once more what the first cells left, as cells of their own that ended just now, one after the other."""
    records = Database(paths.records)
    await records.open()
    (session,) = await records.sessions()
    first = (await records.history(session.name))[1:_FIRST]
    cells = [_Cell(execution, execution.region) for execution in first if execution.region is not None]
    end = log_size(cells[0].region.log)
    writer = MessageLogWriter(Path(cells[0].region.log))
    for begin in range(0, count, _PIECE):
        entries = []
        for number in range(begin, min(begin + _PIECE, count)):
            log, entry = cells[number % len(cells)].again(end, number, count - number)
            writer.append(log)
            end += len(log)
            entries.append(entry)
        await records.add_executions(entries, [f"grown:{number}" for number in range(begin, begin + len(entries))])
    writer.close()
    await records.close()


class _Cell:
    """A cell that was run, to be written again: its entry, and its messages as they stand in the log."""

    def __init__(self, execution: Execution, region: Region) -> None:
        self.execution, self.region = execution, region
        with open(region.log, "rb") as log:
            log.seek(region.start)
            self._payloads = re.findall(rb"\n#[^\n]*\n([^\n]*) [0-9a-f]{8}\n", log.read(region.end - region.start))

    def again(self, start: int, number: int, seconds_ago: float) -> tuple[bytes, Execution]:
        """The records of another like it, which begin at `start` in the log, and its entry."""
        was, msg_id = str(self.execution.msg_id), MessageId(secrets.token_hex(16))
        log = b""
        for n, payload in enumerate(self._payloads):
            channel, *parts = json.loads(payload.replace(was.encode(), msg_id.encode()))
            parts[0]["msg_id"] = f"{msg_id}-{n}"
            log += encode_message(channel, dict(zip(_PARTS, parts, strict=True)))
        at = time.time() - seconds_ago
        entry = replace(
            self.execution,
            msg_id=msg_id,
            execution_count=_FIRST + 1 + number,
            queued_at=at,
            started_at=at,
            finished_at=at,
            region=replace(self.region, start=start, end=start + len(log)),
        )
        return log, entry


if __name__ == "__main__":
    sys.exit(main())
