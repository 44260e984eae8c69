"""A client of the daemon for programs of ours: JSON-RPC in MCP's 2026-07-28 form, which needs no handshake."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from kernel_supervisor import __version__
from kernel_supervisor.client import aftermath, autostart
from kernel_supervisor.client.hello import hello
from kernel_supervisor.client.wire import Wire
from kernel_supervisor.envelope import BYE, HELLO, RPC, STOPPING, WELCOME, WHO
from kernel_supervisor.paths import Paths

_NOT_RUNNING = "no daemon is running; `kernel-supervisor start` starts one"
_OLDER = "the daemon is older than this command; `kernel-supervisor restart-daemon` replaces it"
_UNKNOWN_METHOD = -32601
_SEE_LOG = "`kernel-supervisor logs --daemon` shows what it does"
START_DEADLINE_S = 30.0
RESULT = "kernel-supervisor/result"
_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "kernel-supervisor-cli", "version": __version__},
    "io.modelcontextprotocol/clientCapabilities": {},
}
_GOODBYE_MS = 100


class NoDaemonError(ConnectionError):
    """No daemon answers, and none was to be started or none came up."""


class CallError(RuntimeError):
    """The daemon refused a call; the text says why."""


class Connection:
    """One connection that lives as long as the command that uses it; it outlives a daemon's restart."""

    def __init__(self, paths: Paths, *, ways: Mapping[str, str] | None = None, **who: Any) -> None:
        """`who` is as `hello` has it; `ways` are the words for the ways on that an answer tells of, else an agent's."""
        self._paths = paths
        self._hello = {**hello("cli", **who), "ways": ways}
        self._wire: Wire | None = None
        self._starter = autostart.Starter(paths)
        self._stopped = False  # on purpose, and not by us: whoever wants a daemon starts one
        self._calls = 0
        self.pid = 0
        """The daemon's, as its welcome said."""
        self.on_progress: Callable[[str], None] | None = None
        """Called with how it goes, where that is asked for."""

    def open(self, *, start: bool, anew: bool = True, deadline_s: float = START_DEADLINE_S) -> None:
        """Reach the daemon; start it if there is none and `start` says so. Raises NoDaemonError, PlaceError.

        Without `anew`, for what another daemon was asked already, a service that was stopped stays so.
        """
        end = time.monotonic() + deadline_s
        try:
            while time.monotonic() < end:
                if not start and not autostart.listening(self._paths):
                    raise NoDaemonError(not_running(self._paths))
                if (not start or self._starter.step(anew=anew)) and self._greet(end):
                    return
                time.sleep(autostart.RETRY_S)
        except autostart.StartError as error:
            raise NoDaemonError(str(error)) from None
        raise NoDaemonError(f"no daemon answers at {self._paths.socket} within {deadline_s:g} s; {_SEE_LOG}")

    def _greet(self, end: float) -> bool:
        """Whether a daemon answered our hello; not so where it was on its way out, or the time is up."""
        try:
            self._wire = Wire(self._paths)
        except zmq.ZMQError as error:  # no descriptor is left, most likely
            raise NoDaemonError(f"no connection to the daemon can be opened: {error} (ulimit -n)") from None
        self._wire.send(HELLO, self._hello)
        while self._wait(end):
            frame = self._wire.receive()
            if frame is not None and frame.kind == WELCOME:
                self.pid = int(frame.header["pid"])
                self._starter.served()
                return True
            if self._wire.lost():
                break
        self._leave()
        return False

    def request(
        self, method: str, params: dict[str, Any], *, deadline_s: float | None = None, again: bool = True
    ) -> dict[str, Any]:
        """The result of one request. Raises CallError, TimeoutError, NoDaemonError.

        A daemon that is replaced meanwhile is found again and the request is sent again, under its number;
        without `again` the daemon's end is what was asked for, and the result is empty.
        """
        self._calls += 1
        meta = {**_META, **({"progressToken": self._calls} if self.on_progress else {})}
        body = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": {**params, "_meta": meta}}
        line = json.dumps(body).encode()
        end = time.monotonic() + deadline_s if deadline_s is not None else None
        self._send(line)
        while True:
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"no answer to {method} within {deadline_s:g} s")
            self._wait(end)
            answer = self._take(line, again)
            if answer is not None:
                return answer

    def _send(self, line: bytes, *, again: bool = False) -> None:
        assert self._wire is not None, "open it first"
        self._wire.send(RPC, {"call": self._calls, "again": again}, line)

    def _wait(self, end: float | None) -> bool:
        """Wait for a frame, half a second at most; False when the time is up."""
        assert self._wire is not None
        left = 0.5 if end is None else min(0.5, end - time.monotonic())
        zmq.select([self._wire.socket, self._wire.monitor], [], [], max(0.0, left))
        return end is None or time.monotonic() < end

    def _take(self, line: bytes, again: bool) -> dict[str, Any] | None:
        assert self._wire is not None
        lost = self._wire.lost()
        while (frame := self._wire.receive()) is not None:
            if frame.kind == WHO:
                self._wire.send(HELLO, self._hello)
                self._send(line, again=True)
            elif frame.kind == STOPPING:
                self._stopped = True
            elif frame.kind == RPC:
                message = json.loads(frame.body)
                if message.get("id") == self._calls:
                    return _result(message)
                if message.get("method") == "notifications/progress" and self.on_progress is not None:
                    self.on_progress(message["params"].get("message") or "")
        if lost and not again:
            return {}
        if lost:
            self._open_again()
            self._send(line, again=True)
        return None

    def _open_again(self) -> None:
        """Connect to the next daemon. One that was stopped on purpose is started by others, if at all."""
        assert self._wire is not None
        self._wire.close()
        self._wire = None
        end = time.monotonic() + START_DEADLINE_S
        while self._stopped and not autostart.listening(self._paths):
            if time.monotonic() >= end:
                raise NoDaemonError("the daemon was stopped; what was running in its kernels runs on")
            time.sleep(autostart.RETRY_S)
        self.open(start=not self._stopped, anew=False)

    def call_tool(
        self, name: str, arguments: dict[str, Any], *, deadline_s: float | None = None
    ) -> tuple[str, dict[str, Any]]:
        """A tool's text and its machine-readable part. Raises CallError with what the tool refused."""
        result = self.request("tools/call", {"name": name, "arguments": arguments}, deadline_s=deadline_s)
        text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
        if result.get("isError"):
            raise CallError(text)
        return text, result["_meta"][RESULT]

    def close(self) -> None:
        """Say goodbye."""
        self._starter.close()
        self._leave()

    def _leave(self) -> None:
        if self._wire is not None:
            self._wire.send(BYE, {})
            self._wire.close(_GOODBYE_MS)
            self._wire = None


def _result(answer: dict[str, Any]) -> dict[str, Any]:
    """The result in an answer. Raises CallError for an error."""
    if error := answer.get("error"):
        raise CallError(_OLDER if error["code"] == _UNKNOWN_METHOD else error["message"])
    result: dict[str, Any] = answer["result"]
    return result


def ask(paths: Paths, method: str, params: dict[str, Any], *, deadline_s: float, start: bool) -> dict[str, Any]:
    """One request on a connection of its own. Raises NoDaemonError, CallError, TimeoutError."""
    with contextlib.closing(Connection(paths)) as connection:
        connection.open(start=start, deadline_s=deadline_s)
        return connection.request(method, params, deadline_s=deadline_s, again=False)


def not_running(paths: Paths) -> str:
    """That there is no daemon, and why the last one came to nothing, if it did."""
    return "\n".join(filter(None, (_NOT_RUNNING, aftermath.last_words(paths))))
