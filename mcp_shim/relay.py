"""The relay: lines from the client become frames to the daemon, frames become lines, across its deaths.

What it remembers is little: how the client opened the connection, and which requests are unanswered. When
the daemon it knew is gone it says hello to the next one, replays the opening (keeping the answers to itself)
and sends the unanswered requests again under their old numbers; the daemon attaches them to what it has.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import zmq

from kernel_supervisor.client import autostart
from kernel_supervisor.client.wire import Wire
from kernel_supervisor.envelope import BYE, HELLO, RPC, SETTLED, STOPPING, WELCOME, WHO
from kernel_supervisor.paths import Paths

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
RETRY_MS = 50
HELLO_AGAIN_S = 5.0
"""A daemon that is bound and silent may be starting, or stopped by a debugger; a fresh hello does no harm."""
_OPENING = ("initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe")


class Request:
    """A request of the client's that has no answer yet."""

    __slots__ = ("cancel", "id", "line", "method")

    def __init__(self, id: str | int, method: str, line: bytes) -> None:
        self.id, self.method, self.line = id, method, line
        self.cancel: bytes | None = None


class Relay:
    """One MCP client's connection."""

    def __init__(self, paths: Paths, hello: dict[str, Any]) -> None:
        self._paths, self._hello = paths, hello
        self._wire: Wire | None = None
        self._welcomed = False
        self._known: list[int] = []  # the incarnation that we were connected to last
        self._stopped = False  # on purpose: no daemon is started until the client asks for something
        self._hello_at = self._start_at = 0.0
        self._starts = 0  # attempts since a daemon was last seen
        self._calls = 0
        self._unanswered: dict[int, Request] = {}
        self._opening: dict[str, tuple[int | None, bytes]] = {}
        self._replayed: set[int] = set()
        self._waiting: list[bytes] = []  # notifications that came while no daemon was there
        self._partial = b""
        self._ended = False

    def run(self) -> None:
        """Relay until the client closes our standard input. Raises BrokenPipeError with its output."""
        while not self._ended:
            self._connect()
            poller = zmq.Poller()
            poller.register(0, zmq.POLLIN)
            if self._wire is not None:
                poller.register(self._wire.socket, zmq.POLLIN)
                poller.register(self._wire.monitor, zmq.POLLIN)
            ready = dict(poller.poll(None if self._welcomed or self._stopped else RETRY_MS))
            if self._wire is not None:
                self._take_frames()
            if 0 in ready:
                self._take_input()

    def leave(self) -> None:
        """Say goodbye without waiting: the daemon watches our pid too."""
        if self._wire is not None:
            self._wire.send(BYE, {})

    # The daemon's side

    def _connect(self) -> None:
        """Bring the connection one step further; never waits."""
        now = time.monotonic()
        if self._wire is None and not self._stopped:
            if autostart.listening(self._paths):
                self._wire = Wire(self._paths)
                self._starts = 0
                self._hello_at = 0.0
            elif now >= self._start_at:
                self._start_at = now + autostart.RESTART_S
                autostart.start(self._paths, by_service=not self._starts)
                self._starts += 1
        if self._wire is not None and not self._welcomed and now >= self._hello_at:
            self._hello_at = now + HELLO_AGAIN_S
            self._wire.send(HELLO, {**self._hello, "known": self._known})

    def _take_frames(self) -> None:
        """Everything the daemon sent before its connection ended, then the news that it did."""
        assert self._wire is not None
        lost = self._wire.lost()
        while (frame := self._wire.receive()) is not None:
            if frame.kind == RPC:
                self._answer(frame.header.get("answers"), frame.body)
            elif frame.kind == WELCOME and not self._welcomed:
                self._known = [frame.header.get("pid", 0), frame.header.get("start", 0)]
                self._welcome()
            elif frame.kind == SETTLED:
                self._unanswered.pop(frame.header.get("call", 0), None)
            elif frame.kind == WHO:
                self._welcomed, self._hello_at = False, 0.0
            elif frame.kind == STOPPING:
                self._stopped = True
        if lost:
            self._wire.close()
            self._wire, self._welcomed, self._start_at = None, False, 0.0

    def _welcome(self) -> None:
        """A daemon that knows nothing of us yet: the opening, then what is unanswered, then the rest."""
        assert self._wire is not None
        self._welcomed = True
        self._replayed.clear()
        opening = [call for call, _ in self._opening.values()]
        for call, line in self._opening.values():
            if call is not None and call not in self._unanswered:
                self._replayed.add(call)
            self._wire.send(RPC, {} if call is None else {"call": call}, line)
        for call, request in self._unanswered.items():
            if call not in opening:
                self._wire.send(RPC, {"call": call}, request.line)
            if request.cancel is not None:
                self._wire.send(RPC, {}, request.cancel)
        for line in self._waiting:
            self._wire.send(RPC, {}, line)
        self._waiting.clear()

    def _answer(self, call: int | None, body: bytes) -> None:
        if call is not None:
            if call in self._replayed:
                self._replayed.discard(call)
                return
            if self._unanswered.pop(call, None) is None:
                return  # answered before
        self._write(body)

    # The client's side

    def _take_input(self) -> None:
        chunk = os.read(0, 1 << 16)
        if not chunk:
            self._ended = True
            return
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            self._refuse(PARSE_ERROR, f"Parse error: this line is not JSON ({error})")
            return
        if not _is_message(message):
            self._refuse(
                INVALID_REQUEST,
                "Invalid Request: each line is one JSON-RPC 2.0 message (an object, no batch)",
            )
            return
        if "method" not in message:
            if self._welcomed and self._wire is not None:  # an answer to a daemon that is gone has no reader
                self._wire.send(RPC, {}, line)
        elif "id" in message:
            self._take_request(message, line)
        else:
            self._take_notification(message, line)

    def _take_request(self, message: dict[str, Any], line: bytes) -> None:
        self._calls += 1
        self._stopped = False
        method = message["method"]
        self._unanswered[self._calls] = Request(message["id"], method, line)
        if method in _OPENING:
            self._remember(method, message, line)
        elif method == "resources/unsubscribe":
            self._opening.pop(f"resources/subscribe {_uri(message)}", None)
        if self._welcomed and self._wire is not None:
            self._wire.send(RPC, {"call": self._calls}, line)

    def _take_notification(self, message: dict[str, Any], line: bytes) -> None:
        method = message["method"]
        if method in _OPENING:
            self._opening[method] = (None, line)
        elif method == "notifications/cancelled":
            self._mark_cancelled(message, line)
        if self._welcomed and self._wire is not None:
            self._wire.send(RPC, {}, line)
        elif method not in _OPENING and method != "notifications/cancelled":
            self._waiting.append(line)

    def _remember(self, method: str, message: dict[str, Any], line: bytes) -> None:
        name = f"{method} {_uri(message)}" if method == "resources/subscribe" else method
        self._opening[name] = (self._calls, line)

    def _mark_cancelled(self, message: dict[str, Any], line: bytes) -> None:
        params = message.get("params")
        wanted = params.get("requestId") if isinstance(params, dict) else None
        for request in self._unanswered.values():
            if type(request.id) is type(wanted) and request.id == wanted:  # 1 and "1" are different ids
                request.cancel = line

    def _refuse(self, code: int, text: str) -> None:
        answer = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}}
        self._write(json.dumps(answer).encode())

    def _write(self, body: bytes) -> None:
        view = memoryview(body + b"\n")
        while view:
            view = view[os.write(1, view) :]


def _is_message(message: Any) -> bool:
    """Whether it is a JSON-RPC 2.0 message as MCP has them: no batches, ids are strings or integers."""
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        return False
    if "id" in message and (not isinstance(message["id"], str | int) or isinstance(message["id"], bool)):
        return False
    if "method" in message:
        return isinstance(message["method"], str) and isinstance(message.get("params", {}), dict | list)
    return "id" in message and ("result" in message) != ("error" in message)


def _uri(message: dict[str, Any]) -> str:
    params = message.get("params")
    return str(params.get("uri", "")) if isinstance(params, dict) else ""
