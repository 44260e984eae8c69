"""What the daemon and a shim keep in memory while cells show more than anybody can read, whoever listens.

Bound: the daemon's peak is within 64 MB of what it had before, the shim's within 16 MB of that and its largest answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from figures import COMMAND, about, supervisor, verdict
from tabulate import tabulate

from kernel_supervisor.client.connection import Connection
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import Paths

_MB = 1 << 20
_DAEMON, _SHIM = 64 * _MB, 16 * _MB
_PATIENCE_S = 600.0
_PRINTED = "for _ in range({count}): print('x' * 1_000_000)"
_LINES = "for number in range({count}): print(number)"
_IMAGES = (
    "import base64, os\nfrom IPython.display import display\nfor _ in range({count}): "
    "display({{'image/png': base64.b64encode(os.urandom(750_000)).decode()}}, raw=True)"
)
_RESULT, _ERROR = "'x' * {count}", "raise ValueError('x' * {count})"
_FLOODS = {
    "300 × 1 MB printed": (_PRINTED, 300),
    "2,000,000 lines": (_LINES, 2_000_000),
    "1,000 images of 1 MB": (_IMAGES, 1_000),
    "a result of 200 MB": (_RESULT, 200_000_000),
    "an error of 300 MB": (_ERROR, 300_000_000),
}


def main() -> int:
    """Print the figures; exit 1 where a bound is broken."""
    divisor = 20 if "--quick" in sys.argv else 1
    about(1)
    rows, kept = [], []
    with supervisor() as paths:
        subprocess.run([*COMMAND, "start"], check=True, stdout=subprocess.DEVNULL)
        looking = Connection(paths, session="floods")
        looking.open(start=True)
        looking.call_tool("kernel_exec", {"code": "1"})
        daemon = int(looking.request("supervisor/status", {})["pid"])
        for title, (code, count) in _FLOODS.items():
            for audience, listen in _AUDIENCES.items():
                with _peak(daemon) as grown:
                    shim = listen(paths, looking, code.format(count=count // divisor))
                rows.append([title, audience, f"{grown[0] / _MB:.0f}", f"{shim / _MB:.0f}" if shim else ""])
                words = f"{title}, {audience}: "
                kept.append(
                    verdict(grown[0] <= _DAEMON, f"{words}the daemon grew by {grown[0] / _MB:.0f} MB, at most 64")
                )
                if shim:
                    kept.append(verdict(shim <= _SHIM, f"{words}the shim grew by {shim / _MB:.0f} MB, at most 16"))
        looking.close()
    print("\n" + tabulate(rows, ["flood", "who listens", "daemon, + MB", "shim, + MB"], disable_numparse=True))
    return 0 if all(kept) else 1


def _within(who: str, grown: int, most: int) -> bool:
    return not grown or verdict(grown <= most, f"{who} grew by {grown / _MB:.0f} MB, at most {most / _MB:.0f}")


@contextmanager
def _peak(pid: int) -> Iterator[list[int]]:
    """By how many bytes the resident memory of a process exceeds, at most, what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = _resident(pid, "VmRSS")
    grown: list[int] = []
    yield grown
    grown.append(max(0, _resident(pid, "VmHWM") - before))


def _resident(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


def _over(looking: Connection) -> None:
    """Wait until nothing runs in the session any more."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if looking.call_tool("kernel_history", {"last": 1})[1]["entries"][-1]["status"] not in ("queued", "running"):
            return
        time.sleep(0.2)
    raise TimeoutError("a cell did not come to its end")


def _nobody(paths: Paths, looking: Connection, code: str) -> int:
    looking.call_tool("kernel_exec", {"code": code, "wait": False})
    _over(looking)
    return 0


def _waiting(paths: Paths, looking: Connection, code: str) -> int:
    looking.call_tool("kernel_exec", {"code": code, "timeout": _PATIENCE_S}, deadline_s=_PATIENCE_S)
    return 0


def _stopped(paths: Paths, looking: Connection, code: str) -> int:
    """A client that asks, with progress, through a shim, and reads nothing of what that answers."""
    argv = isolated("mcp_shim", "--session", "floods")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shim:
        assert shim.stdin is not None
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "deaf", "version": "1"}}
        call = {"name": "kernel_exec", "arguments": {"code": code}, "_meta": {"progressToken": 1}}
        initialized = {"method": "notifications/initialized"}
        for message in ({"id": 1, "method": "initialize", "params": hello}, initialized):
            shim.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        shim.stdin.flush()
        time.sleep(1)
        with _peak(shim.pid) as grown:
            shim.stdin.write(
                json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}).encode() + b"\n"
            )
            shim.stdin.flush()
            time.sleep(1)
            _over(looking)
        shim.kill()
    return grown[0]


def _following(paths: Paths, looking: Connection, code: str) -> int:
    argv = [*COMMAND, "exec", "--session", "floods", code]
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_PATIENCE_S, check=False)
    return 0


def _following_stopped(paths: Paths, looking: Connection, code: str) -> int:
    """Somebody who follows at a terminal that is held (Ctrl-S)."""
    argv = [*COMMAND, "exec", "--session", "floods", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as held:
        time.sleep(2)
        _over(looking)
        held.kill()
    return 0


_AUDIENCES: dict[str, Callable[[Paths, Connection, str], int]] = {
    "nobody": _nobody,
    "a client that waits": _waiting,
    "a client that reads nothing": _stopped,
    "`exec`": _following,
    "`exec`, held": _following_stopped,
}


if __name__ == "__main__":
    sys.exit(main())
