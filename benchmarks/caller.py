"""One client in a process of its own: asks for `1+1` again and again for some seconds, and prints how often it could.

    python benchmarks/caller.py bare CONNECTION_FILE SECONDS
    python benchmarks/caller.py shim SESSION SECONDS

It says that it is ready, and begins with the next line that it is sent.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient

SHIM = [sys.executable, "-m", "mcp_shim"]
_OPENING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "line", "version": "1"}}
Call = Callable[..., dict[str, Any]]


def main() -> None:
    """Be such a client."""
    kind, where, seconds = sys.argv[1:]
    with (bare if kind == "bare" else through_shim)(where) as ask:
        ask()
        print("ready", flush=True)
        sys.stdin.readline()
        times, end = 0, time.monotonic() + float(seconds)
        while time.monotonic() < end:
            ask()
            times += 1
    print(times, flush=True)


@contextmanager
def bare(connection_file: str) -> Iterator[Callable[[], Any]]:
    """What asks a kernel by jupyter_client's own means."""
    client = BlockingKernelClient(connection_file=connection_file)
    client.load_connection_file()
    client.start_channels(hb=False)
    client.wait_for_ready(timeout=60)
    yield lambda: client.execute_interactive("1+1", output_hook=lambda _: None)
    client.stop_channels()


@contextmanager
def through_shim(session: str) -> Iterator[Callable[[], Any]]:
    """What asks a session of ours."""
    with line_client("--session", session) as call:
        yield lambda: call("kernel_exec", code="1+1")


@contextmanager
def line_client(*options: str, command: list[str] = SHIM) -> Iterator[Call]:
    """What calls a tool by a JSON-RPC line to a shim: what is ours of the way, without a client's own work.

    The `_meta` that a result has. Raises RuntimeError for an error.
    """
    numbers = count(1)
    with subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def request(method: str, params: dict[str, Any]) -> dict[str, Any]:
            body = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": params}
            to.write(json.dumps(body).encode() + b"\n")
            to.flush()
            while "method" in (message := json.loads(back.readline())):  # news of resources, which nobody asked for
                pass
            return dict(message)

        def call(tool: str, /, **arguments: Any) -> dict[str, Any]:
            answer = request("tools/call", {"name": tool, "arguments": arguments})
            result = answer.get("result", {})
            facts = result.get("_meta", {}).get("kernel-supervisor/result", {})
            if "result" not in answer or result.get("isError") or facts.get("status", "ok") in ("error", "dead"):
                raise RuntimeError(answer.get("error") or result["content"])
            return dict(facts)

        request("initialize", _OPENING)
        to.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
        yield call
        to.close()


if __name__ == "__main__":
    main()
