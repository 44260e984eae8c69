"""Other servers that give a model a kernel, each by its own ordinary call, beside this one in the same run.

    python benchmarks/peers.py [--quick] [--folder FOLDER] [--json FILE]

Each is installed from PyPI, the newest that its own requirements allow, into an environment of its own below FOLDER,
which is kept where it is named. What is said of a variable was looked at: the server that the client started is killed,
another one is started, and the variable asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import executions
import psutil
from caller import SHIM
from figures import about, seconds, supervisor
from tabulate import tabulate

_PATIENCE_S = 120.0
_MARK = "6131"
"""What the variable holds; no server says it by chance."""
_KERNEL_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How a server is installed, started, and asked to run code."""

    packages: tuple[str, ...]
    script: str
    tool: str
    argument: str
    in_jupyter: bool = False
    """Whether its kernels are a Jupyter server's: then a notebook has to be opened before code can be run."""


PEERS = {
    "loommux": Peer(packages=("loommux",), script="loommux", tool="run_python", argument="freeform"),
    "python-mcp-server": Peer(
        packages=("python-mcp-server",), script="python-mcp-server", tool="run_python_code", argument="code"
    ),
    "jupyter-mcp-server": Peer(
        packages=("jupyter-mcp-server", "jupyterlab", "jupyter-collaboration"),
        script="jupyter-mcp-server",
        tool="execute_code",
        argument="code",
        in_jupyter=True,
    ),
}


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was measured of one server: seconds, and bytes."""

    opened: float
    first: float
    memory: int
    warm: list[float] = field(default_factory=list)
    variable: str = "–"


class Line:
    """A server that is spoken to by lines, as a client speaks: without a client's own work."""

    def __init__(self, command: list[str], environment: Mapping[str, str], cwd: Path) -> None:
        """Start it, and measure how long it takes until `initialize` is answered."""
        began = time.perf_counter()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=dict(environment), cwd=cwd, **pipes)
        self._numbers = count(1)
        client = {"name": "benchmark", "version": "1"}
        self._request("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self._write({"method": "notifications/initialized"})
        self.opened = time.perf_counter() - began

    def call(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a tool answers, as text. Raises RuntimeError for an error."""
        result = self._request("tools/call", {"name": tool, "arguments": arguments})
        text = json.dumps(result, ensure_ascii=False)
        if result.get("isError"):
            raise RuntimeError(text)
        return text

    def end(self) -> None:
        """By a closed pipe, as clients do; by force where it does not end within ten seconds."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a machine that runs out of memory does."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(_PATIENCE_S)

    def _request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        self._write({"id": number, "method": method, "params": params})
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return dict(message["result"])
        raise RuntimeError(f"{self.process.args!r} ended")

    def _write(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()


class Server:
    """One of them, and how it is started again."""

    def __init__(self, peer: Peer, start: Callable[[], Line]) -> None:
        self.peer = peer
        self.start = start
        self.kernel_id = ""
        self.line = self._opened()
        first = seconds(partial(self.run, "1+1"))
        self.seen = Seen(opened=self.line.opened, first=first, memory=_resident(self.line.process.pid))

    def run(self, code: str) -> str:
        """Run code by the server's own tool."""
        return self.line.call(self.peer.tool, {self.peer.argument: code})

    def look_for_a_variable(self) -> None:
        """Whether what was computed is there when the server was killed and another one has come."""
        try:
            self.run(f"mark = {_MARK[:2]}00 + {_MARK[2:]}")
            self.line.kill()
            self.line = self._opened()
            kept = "kept" + (", found by its kernel's id" if self.kernel_id else "")
            self.seen.variable = kept if _MARK in self.run("mark") else "lost"
        except RuntimeError as error:
            self.seen.variable = "lost" if "NameError" in str(error) else f"error: {str(error)[:40]}"

    def _opened(self) -> Line:
        line = self.start()
        if self.peer.in_jupyter:
            mode = {"mode": "connect", "kernel_id": self.kernel_id} if self.kernel_id else {"mode": "create"}
            line.call("use_notebook", {"notebook_name": "n", "notebook_path": "n.ipynb", **mode})
            self.kernel_id = self.kernel_id or _KERNEL_ID.findall(line.call("list_kernels", {}))[-1]
        return line


def main() -> int:
    """Measure all, print the table, keep it where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="see that it works: the figures say nothing")
    parser.add_argument("--folder", type=Path, help="where the others' environments are made, and kept")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    options = parser.parse_args()
    about(rounds := 5 if options.quick else 60)
    with tempfile.TemporaryDirectory(prefix="ksp-") as temporary:
        seen, floor = _measured(options.folder or Path(temporary), rounds)
    rows = [_row(name, each, floor) for name, each in seen.items()]
    heads = [
        "",
        "spawn to initialize",
        "first 1+1",
        "warm 1+1, p50",
        "p95",
        "÷ bare",
        "memory",
        "variable after SIGKILL",
    ]
    print(tabulate(rows, heads, disable_numparse=True))
    if options.json:
        options.json.write_text(json.dumps([dict(zip(heads, row, strict=True)) for row in rows], indent=1) + "\n")
    return 0


def _measured(folder: Path, rounds: int) -> tuple[dict[str, Seen], list[float]]:
    """Of each server, and the seconds of bare jupyter_client; all live at once, and are asked in an order of chance."""
    with ExitStack() as stack:
        stack.enter_context(supervisor())
        bare = stack.enter_context(executions.kernel("-m", "ipykernel_launcher"))
        ours = partial(Line, SHIM, os.environ, Path.cwd())
        ours().end()  # as the others: once before, which here starts the daemon
        servers = {"kernel-supervisor": Server(_OURS, ours)}
        for name, peer in PEERS.items():
            servers[name] = _started(name, peer, folder / name, stack)
        parts: dict[str, Callable[[], Any]] = {name: partial(each.run, "1+1") for name, each in servers.items()}
        parts["bare"] = partial(bare.execute_interactive, "1+1", output_hook=lambda _: None)
        floor: list[float] = []
        for _ in range(rounds):
            for name in random.sample([*parts], len(parts)):
                (floor if name == "bare" else servers[name].seen.warm).append(seconds(parts[name]))
        for each in servers.values():
            each.look_for_a_variable()
            each.line.end()
        return {name: each.seen for name, each in servers.items()}, floor


_OURS = Peer(packages=(), script="", tool="kernel_exec", argument="code")


def _started(name: str, peer: Peer, folder: Path, stack: ExitStack) -> Server:
    """A peer, installed and started once to have its files compiled; it runs in a directory of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
    scripts = folder / "env" / "bin"
    if not (scripts / peer.script).exists():
        print(f"installing {name} …", flush=True)
        venv.create(folder / "env", with_pip=True)
        subprocess.run([scripts / "python", "-m", "pip", "install", "--quiet", *peer.packages], check=True)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    if peer.in_jupyter:
        environment |= stack.enter_context(_jupyter(scripts, work))
    start = partial(Line, [str(scripts / peer.script)], environment, work)
    start().end()
    return Server(peer, start)


@contextmanager
def _jupyter(scripts: Path, work: Path) -> Iterator[dict[str, str]]:
    """JupyterLab on loopback, as a peer needs it; what says where it is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex()
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", f"--IdentityProvider.token={token}"]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    lab = subprocess.Popen([scripts / "jupyter", "lab", *options], cwd=work, **quiet)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}")
        yield {"JUPYTER_URL": f"http://127.0.0.1:{port}", "JUPYTER_TOKEN": token}
    finally:
        lab.send_signal(signal.SIGTERM)
        lab.wait(_PATIENCE_S)


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(url, timeout=_PATIENCE_S).close()
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _resident(pid: int) -> int:
    """Of the process that the client started, which is what each client has once."""
    return int(psutil.Process(pid).memory_info().rss)


def _row(name: str, seen: Seen, floor: list[float]) -> list[str]:
    warm = sorted(seen.warm)
    p50, p95 = statistics.median(warm), warm[round(0.95 * (len(warm) - 1))]
    times = [f"{value * 1e3:,.0f} ms" for value in (seen.opened, seen.first)]
    ratio = f"{p50 / statistics.median(floor):.2f}"
    return [
        name,
        *times,
        f"{p50 * 1e3:.1f} ms",
        f"{p95 * 1e3:.1f} ms",
        ratio,
        f"{seen.memory * 1e-6:.0f} MB",
        seen.variable,
    ]


if __name__ == "__main__":
    sys.exit(main())
