"""Real parts for tests: a supervisor's home of its own, real shims, a real MCP client, and a look at what is left."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import venv
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

ERAS = ("legacy", "2026-07-28")
RESULT = "kernel-supervisor/result"
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Home:
    """One supervisor's home, with the processes that belong to it."""

    path: Path
    project: Path
    """The directory that clients work in, unless they are told another."""
    python: str = sys.executable
    """What runs the shim, and so the daemon."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of clients of this supervisor."""
        own = {"KERNEL_SUPERVISOR_HOME": str(self.path)}
        dropped = {"CLAUDE_PROJECT_DIR", "KERNEL_SUPERVISOR_SESSION", "PYTHONPATH", "PYTEST_CURRENT_TEST"}
        dropped |= {"VIRTUAL_ENV", "CONDA_PREFIX"}  # the default kernel is the tests' own environment
        return {**{name: value for name, value in os.environ.items() if name not in dropped}, **own}

    def daemon(self) -> psutil.Process | None:
        """The daemon that runs now, if one does."""
        try:
            process = psutil.Process(int((self.path / "run/daemon.lock").read_text()))
            return process if "kernel_supervisor.daemon" in process.cmdline() else None
        except (OSError, ValueError, psutil.Error):
            return None

    def daemons(self) -> list[psutil.Process]:
        """Every daemon process of this home, by its environment."""
        return [each for each in self._processes("kernel_supervisor.daemon") if self._is_here(each)]

    def kernels(self) -> list[psutil.Process]:
        """Every kernel process of this home, by its command line."""
        return self._processes(str(self.path / "run/kernels"))

    def _is_here(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return bool(process.environ().get("KERNEL_SUPERVISOR_HOME") == str(self.path))
        return False

    @staticmethod
    def _processes(part: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            if process.info["status"] != psutil.STATUS_ZOMBIE and part in " ".join(process.info["cmdline"] or ()):
                found.append(process)
        return found

    def kill_daemon(self, number: int = signal.SIGKILL) -> int:
        """Send a signal to the daemon; its pid."""
        daemon = self.daemon()
        assert daemon is not None, "no daemon runs"
        daemon.send_signal(number)
        return int(daemon.pid)

    @contextmanager
    def no_daemon(self) -> Iterator[None]:
        """The daemon is killed, and its one shim starts no other meanwhile."""
        shim = psutil.Process(shim_pid(self))
        shim.suspend()
        self.kill_daemon()
        try:
            yield
        finally:
            shim.resume()

    async def stop_with_all(self) -> None:
        """Stop the daemon with its kernels, after which nothing is left."""
        stopped = await asyncio.to_thread(self.cli, "stop", "--kernels")
        assert stopped.returncode == 0, stopped.stderr
        await until(lambda: not self.kernels() and not self.daemons(), "nothing is left")

    def sweep(self) -> None:
        """End what is left: only processes of this home."""
        end = time.monotonic() + DEADLINE_S
        while (left := [*self.daemons(), *self.kernels()]) and time.monotonic() < end:
            for process in left:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGCONT)
                    process.kill()
            time.sleep(0.02)

    def shim_command(self, *arguments: str) -> list[str]:
        """What an MCP client is configured with."""
        return [self.python, "-I", "-m", "mcp_shim", *arguments]

    def cli(self, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """The command line, run to its end in the project's directory."""
        where: dict[str, Any] = {"cwd": self.project, "env": self.env, "timeout": DEADLINE_S, **more}
        command = self.cli_command(*arguments)
        return subprocess.run(command, capture_output=True, text=True, check=False, **where)

    @staticmethod
    def cli_command(*arguments: str) -> list[str]:
        """What a person types."""
        return [sys.executable, "-m", "kernel_supervisor.cli.main", *arguments]

    @contextmanager
    def shim(self, *arguments: str, **more: Any) -> Iterator[Shim]:
        """A shim with nothing of an MCP library before it. It is killed in the end, if it still runs."""
        where: dict[str, Any] = {"cwd": self.project, "env": self.env, **more}
        shim = Shim(self.shim_command(*arguments), **where)
        try:
            yield shim
        finally:
            shim.close()

    @asynccontextmanager
    async def client(
        self,
        era: str = "legacy",
        *arguments: str,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> AsyncIterator[Session]:
        """The SDK's own client, over the shim."""
        command, *rest = self.shim_command(*arguments)
        parameters = StdioServerParameters(
            command=command, args=rest, env={**self.env, **(env or {})}, cwd=str(cwd or self.project)
        )
        async with Client(stdio_client(parameters), mode=era, **more) as client:
            yield Session(client)


@dataclass(frozen=True)
class Result:
    """A tool's result, taken apart."""

    text: str
    facts: dict[str, Any]
    is_error: bool
    images: list[Any]
    raw: Any


@dataclass(frozen=True)
class Session:
    """An SDK client with the calls that tests make."""

    client: Client

    async def call(self, name: str, /, **arguments: Any) -> Result:
        """Call a tool."""
        result = await self.client.call_tool(name, arguments)
        return Result(
            text="\n".join(block.text for block in result.content if block.type == "text"),
            facts=(result.meta or {}).get(RESULT, {}),
            is_error=bool(result.is_error),
            images=[block for block in result.content if block.type == "image"],
            raw=result,
        )

    async def run(self, code: str, **arguments: Any) -> Result:
        """kernel_exec, which must not be refused."""
        result = await self.call("kernel_exec", code=code, **arguments)
        assert not result.is_error, result.text
        return result


class Shim:
    """A shim as a bare process: messages in, messages out."""

    def __init__(self, command: list[str], **more: Any) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **more)
        self._requests = 0
        self.said: dict[str, Any] = {}
        """What each request says of its client, in the newer era."""
        self._answers: dict[Any, dict[str, Any]] = {}
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name=f"shim {self.process.pid}")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._messages.put(json.loads(line))
        self._messages.put(None)

    def write(self, line: bytes) -> None:
        """A line, whatever is in it."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: dict[str, Any] | None = None, **fields: Any) -> None:
        """A message: a notification, or with `id=` a request."""
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, **fields}).encode())

    def message(self, deadline_s: float = DEADLINE_S) -> dict[str, Any] | None:
        """The next message; None at the end of its output. Raises queue.Empty at the deadline."""
        return self._messages.get(timeout=deadline_s)

    def answer(self, number: Any) -> dict[str, Any]:
        """The answer to the request with that id; other answers are kept, what is none is passed over."""
        if number in self._answers:
            return self._answers.pop(number)
        while (message := self.message()) is not None:
            if "method" not in message and message["id"] == number:
                return message
            if "method" not in message:
                self._answers[message["id"]] = message
        raise AssertionError(f"the shim ended before it answered {number!r}")

    def answered(self, number: Any) -> bool:
        """Whether the answer to the request with that id is here."""
        while not self._messages.empty():
            message = self._messages.get()
            assert message is not None, f"the shim ended before it answered {number!r}"
            if "method" not in message:
                self._answers[message["id"]] = message
        return number in self._answers

    def request(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """A request's result."""
        self._requests += 1
        self.send(method, {**(params or {}), **self.said}, id=self._requests)
        answer = self.answer(self._requests)
        assert "result" in answer, answer
        return answer["result"]

    def open(self, era: str = "legacy") -> dict[str, Any]:
        """The handshake of 2025-11-25, or of the newer era, where each request says who asks; what the server says of
        itself."""
        info = {"name": "bare", "version": "1"}
        if era != "legacy":
            said = {"protocolVersion": era, "clientInfo": info, "clientCapabilities": {}}
            self.said = {"_meta": {f"io.modelcontextprotocol/{name}": value for name, value in said.items()}}
            return dict(self.request("server/discover"))
        opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        result = self.request("initialize", opening)
        self.send("notifications/initialized")
        return dict(result)

    def call(self, name: str, **arguments: Any) -> Any:
        """A tool's result."""
        return self.request("tools/call", {"name": name, "arguments": arguments})

    def run(self, code: str, **arguments: Any) -> dict[str, Any]:
        """The machine-readable part of a kernel_exec, with its text as `text`."""
        result = self.call("kernel_exec", code=code, **arguments)
        assert not result["isError"], result
        return {**result["_meta"][RESULT], "text": result["content"][0]["text"]}

    def close(self) -> None:
        """End it as a client that closes its input does; kill it where that does not help."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()


def interpreter_with(folder: Path, **modules: str) -> str:
    """An interpreter of its own that has all that this one has, and before it `modules`, by name."""
    venv.create(folder, symlinks=True, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "all.pth").write_text("".join(f"import site; site.addsitedir({each!r})\n" for each in _site_packages()))
    for name, code in modules.items():
        (site / f"{name}.py").write_text(code)
    return str(folder / "bin/python")


def _site_packages() -> set[str]:
    return {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}


@contextmanager
def fresh_home() -> Iterator[Home]:
    """A supervisor's home that nobody else uses, on a path short enough for sockets; nothing is left of it."""
    root = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    project = root / "project"
    project.mkdir()
    place = Home(root / "home", project)
    try:
        yield place
    finally:
        until_now(lambda: _swept(place), "nothing is left")
        shutil.rmtree(root, ignore_errors=True)


def _swept(place: Home) -> bool:
    """Each time anew: a shim that was killed may just have started a daemon, which is seen only once it has begun."""
    place.sweep()
    return not (place.daemons() or place.kernels())


def shim_pid(home: Home, *, besides: set[int] = frozenset()) -> int:  # type: ignore[assignment]  # a frozenset will do
    """The pid of the one shim that works on this home, once its process runs what it was started for."""
    end = time.monotonic() + DEADLINE_S
    while not (pids := _shims(home) - besides) and time.monotonic() < end:
        time.sleep(0.01)
    assert len(pids) == 1, pids
    return int(pids.pop())


def _shims(home: Home) -> set[int]:
    return {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if "mcp_shim" in (process.info["cmdline"] or ()) and home._is_here(process)
    }


async def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Look until `condition` holds; its value. Fails with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within {deadline_s:g} s: {what}")


def until_now(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """`until`, for tests without a loop."""
    return asyncio.run(until(condition, what, deadline_s))


def numbers(text: str, word: str) -> Iterator[int]:
    """The numbers behind `word` at the beginning of lines, in order."""
    for line in text.splitlines():
        if line.startswith(word + " "):
            yield int(line.split()[1])
