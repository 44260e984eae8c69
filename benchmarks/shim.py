"""What a client waits for and keeps in memory: the shim, and the commands that need no kernel.

The shim is started both as `register` writes it down and as the installed script, without any PYTHON* variable.
Bounds: `initialize` answered, and memory, within 1.3 × those of `import zmq`; commands in 150 ms.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil
from figures import COMMAND, about, interleaved, seconds, show, supervisor, verdict

_SCRIPT = [os.path.join(os.path.dirname(sys.executable), "kernel-supervisor-mcp")]
IDLE = [sys.executable, "-c", "import sys, zmq; sys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()"]
_INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}


def main() -> int:
    """Print the figures; exit 1 where a bound is broken."""
    rounds = 3 if "--quick" in sys.argv else 25
    about(rounds)
    with supervisor():
        command = registered()
        times = interleaved(
            {
                "python -c pass": lambda: seconds(lambda: run("-c", "pass")),
                "import zmq": lambda: seconds(lambda: run("-c", "import zmq")),
                "registered command: spawn to initialize": lambda: seconds(lambda: talk(command)),
                "installed script: spawn to initialize": lambda: seconds(lambda: talk(_SCRIPT)),
                "kernel-supervisor list": lambda: seconds(lambda: run(*COMMAND[1:], "list")),
                "kernel-supervisor status": lambda: seconds(lambda: run(*COMMAND[1:], "status")),
            },
            rounds,
        )
        resident = interleaved({"import zmq": lambda: memory(IDLE), "idle shim": lambda: memory(command)}, rounds)
    show("time", times, floor="import zmq", unit="ms", scale=1e3)
    show("resident memory", resident, floor="import zmq", unit="MB", scale=1e-6)
    return 0 if _judge(times, resident) else 1


def _judge(times: dict[str, list[float]], memory: dict[str, list[float]]) -> bool:
    median = {name: statistics.median(row) for name, row in times.items()}
    bound = 1.3 * median["import zmq"]
    shims = {name: row for name, row in median.items() if name.endswith("spawn to initialize")}
    slowest = max(median["kernel-supervisor list"], median["kernel-supervisor status"])
    grown = statistics.median(memory["idle shim"]) / statistics.median(memory["import zmq"])
    kept = [
        *(
            verdict(row <= bound, f"{name} {row * 1e3:.0f} ms, at most {bound * 1e3:.0f}")
            for name, row in shims.items()
        ),
        verdict(grown <= 1.3, f"memory of the idle shim {grown:.2f} × `import zmq`, at most 1.3 ×"),
        verdict(slowest <= 0.150, f"list and status {slowest * 1e3:.0f} ms, at most 150 ms"),
    ]
    return all(kept)


def registered() -> list[str]:
    """The command that an MCP client is told; asking for it starts the daemon."""
    told = subprocess.run([*COMMAND, "register", "--print"], check=True, capture_output=True, text=True).stdout
    document, _ = json.JSONDecoder().raw_decode(told[told.index("{") :])
    (server,) = document["mcpServers"].values()
    return [server["command"], *server["args"]]


def run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def talk(command: list[str]) -> None:
    """From the spawn to the answer; ending it is measured, too, and is nothing beside it."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _opening(process)
        process.kill()


def cold(command: list[str]) -> tuple[float, float]:
    """From the spawn to `initialize` and `tools/list` answered, and to the answer of the first tool call."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _opening(process)
        _ask(process, 2, "tools/list", {})
        opened = time.perf_counter() - began
        _ask(process, 3, "tools/call", {"name": "kernel_status", "arguments": {}})
        answered = time.perf_counter() - began
        process.kill()
    return opened, answered


def memory(command: list[str]) -> float:
    """Of a process that has said its first line, once nothing more comes."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _opening(process)
        found = psutil.Process(process.pid).memory_info().rss
        process.kill()
    return float(found)


def _opening(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(_INITIALIZE).encode() + b"\n")
    process.stdin.flush()
    if not process.stdout.readline():
        raise RuntimeError(f"{process.args!r} answered nothing")


def _ask(process: subprocess.Popen[bytes], number: int, method: str, params: dict[str, Any]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    while json.loads(process.stdout.readline()).get("id") != number:  # news, which nobody asked for
        pass


if __name__ == "__main__":
    sys.exit(main())
