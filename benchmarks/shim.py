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

import psutil
from figures import COMMAND, about, interleaved, seconds, show, supervisor, verdict

_SCRIPT = [os.path.join(os.path.dirname(sys.executable), "kernel-supervisor-mcp")]
_IDLE = [sys.executable, "-c", "import sys, zmq; sys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()"]
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
        registered = _registered()
        times = interleaved(
            {
                "python -c pass": lambda: seconds(lambda: _run("-c", "pass")),
                "import zmq": lambda: seconds(lambda: _run("-c", "import zmq")),
                "registered command: spawn to initialize": lambda: seconds(lambda: _talk(registered)),
                "installed script: spawn to initialize": lambda: seconds(lambda: _talk(_SCRIPT)),
                "kernel-supervisor list": lambda: seconds(lambda: _run(*COMMAND[1:], "list")),
                "kernel-supervisor status": lambda: seconds(lambda: _run(*COMMAND[1:], "status")),
            },
            rounds,
        )
        memory = interleaved({"import zmq": lambda: _memory(_IDLE), "idle shim": lambda: _memory(registered)}, rounds)
    show("time", times, floor="import zmq", unit="ms", scale=1e3)
    show("resident memory", memory, floor="import zmq", unit="MB", scale=1e-6)
    return 0 if _judge(times, memory) else 1


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


def _registered() -> list[str]:
    """The command that an MCP client is told; asking for it starts the daemon."""
    told = subprocess.run([*COMMAND, "register", "--print"], check=True, capture_output=True, text=True).stdout
    document, _ = json.JSONDecoder().raw_decode(told[told.index("{") :])
    (server,) = document["mcpServers"].values()
    return [server["command"], *server["args"]]


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def _talk(command: list[str]) -> None:
    """From the spawn to the answer; ending it is measured, too, and is nothing beside it."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _opening(process)
        process.kill()


def _memory(command: list[str]) -> float:
    """Of a process that has said its first line, once nothing more comes."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _opening(process)
        resident = psutil.Process(process.pid).memory_info().rss
        process.kill()
    return float(resident)


def _opening(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(_INITIALIZE).encode() + b"\n")
    process.stdin.flush()
    if not process.stdout.readline():
        raise RuntimeError(f"{process.args!r} answered nothing")


if __name__ == "__main__":
    sys.exit(main())
