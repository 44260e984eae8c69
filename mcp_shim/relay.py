"""The relay: lines from the client become frames to the daemon, frames become lines, across its deaths.

What it remembers is little: how the client opened the connection, and which requests are unanswered. When
the daemon it knew is gone it says hello to the next one, replays the opening (keeping the answers to itself)
and sends the unanswered requests again under their old numbers; the daemon attaches them to what it has.

A daemon is started for whoever waits for an answer. Where none can be, or it was stopped on purpose, what is unanswered
is answered with the reason; the client's next request tries again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

import zmq

from kernel_supervisor.client import autostart
from kernel_supervisor.client.opening import ASKED_FIRST, recall
from kernel_supervisor.client.wire import Wire
from kernel_supervisor.envelope import BYE, HELLO, RPC, SETTLED, STOPPING, WELCOME, WHO, parsed
from kernel_supervisor.paths import Paths, PlaceError

PARSE_ERROR, INVALID_REQUEST, UNAVAILABLE = -32700, -32600, -32000
RETRY_MS = 50
HELLO_AGAIN_S = 5.0
"""A daemon that is bound and silent may be starting, or stopped by a debugger; a fresh hello does no harm."""
_OPENING = ("initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe")
LOOK_S = 1.0
"""Between two looks for a daemon that others started, where nobody waits for one."""
_PROMPT_S = 0.25
"""For a daemon's answer to what clients ask first, where one is known from before: it may just be starting."""
_PATIENCE_S = 8.5
"""For an answer to what clients ask first: they give up on a server that says nothing for longer (Codex after 10 s)."""
_NEXT_S = 10.0
"""For another daemon where one was stopped on purpose: an upgrade stops it, too."""
_LAST_MS = 1000
"""How long a client's last words may take to be sent."""
_CHANGED = {method: f"notifications/{method}_changed" for method in ("tools/list", "prompts/list")}
_FILTERS = {"tools/list": "toolsListChanged", "prompts/list": "promptsListChanged"}
"""As a client asks for them that listens for news, in MCP's 2026-07-28 form."""
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_MAY_RUN = (
    "It is not known what became of this call: it was handed to a daemon that is gone, and may have been run, or may "
    "still be running. Do not repeat it; kernel_history tells once a daemon is back."
)
_STILL_STARTING = "kernel-supervisor's daemon is still starting; try again in a moment"
_STOPPED = "kernel-supervisor's daemon was stopped; the next call starts it again"
_SILENT = "kernel-supervisor's daemon runs and does not answer: it is busy, or was stopped; try again in a moment"


class Request:
    """A request of the client's that has no answer yet."""

    __slots__ = ("answer_by", "cancel", "id", "line", "method", "params", "recall_at", "sent")

    def __init__(self, message: dict[str, Any], line: bytes) -> None:
        self.id, self.method, self.params, self.line = message["id"], message["method"], message.get("params"), line
        self.cancel: bytes | None = None
        self.sent = False  # to some daemon, which may have done what it asks
        now = time.monotonic()
        self.recall_at, self.answer_by = now + _PROMPT_S, now + _PATIENCE_S  # where it is asked first


class Relay:
    """One MCP client's connection."""

    def __init__(self, paths: Paths, hello: dict[str, Any], signalled: int) -> None:
        """`signalled` is readable once a signal has come: one that comes just before a wait would not end it."""
        self._paths, self._hello, self._signalled = paths, hello, signalled
        self._wire: Wire | None = None
        self._welcomed = False
        self._known: list[int] = []  # the incarnation that we were connected to last
        self._starter = autostart.Starter(paths)
        self._resting = False  # no daemon is started until the client asks for something
        self._asked = False  # something, since a daemon was last there
        self._lost_at = 0.0
        self._hello_at = 0.0
        self._calls = 0
        self._unanswered: dict[int, Request] = {}
        self._urgent: set[int] = set()  # of these, those that are to be answered in time
        self._opening: dict[str, tuple[int | None, bytes]] = {}
        self._replayed: set[int] = set()
        self._given: dict[int, tuple[Request, dict[str, Any]]] = {}  # answered without a daemon, from what one answered
        self._differing: set[str] = set()  # of these, the lists of which a client that listens is still to be told
        self._stream: dict[str, Any] = {}  # on which it does, as the daemon acknowledged it
        self._waiting: list[bytes] = []  # notifications that came while no daemon was there
        self._partial: list[bytes] = []  # the pieces of a line that has no end yet
        self._ended = False

    def run(self) -> None:
        """Relay until the client closes our standard input. Raises BrokenPipeError with its output."""
        while not self._ended:
            self._connect()
            poller = zmq.Poller()
            poller.register(0, zmq.POLLIN)
            poller.register(self._signalled, zmq.POLLIN)
            if self._wire is not None:
                poller.register(self._wire.socket, zmq.POLLIN)
                poller.register(self._wire.monitor, zmq.POLLIN)
            ready = dict(poller.poll(self._patience_ms()))
            if self._wire is not None:
                self._take_frames()
            if 0 in ready:
                self._take_input()
            self._answer_in_time()

    def leave(self) -> None:
        """Say goodbye without waiting, but for what was cancelled just now: the daemon watches our pid too."""
        if self._wire is not None:
            self._wire.send(BYE, {})
            if any(request.cancel is not None for request in self._unanswered.values()):
                self._wire.finish(_LAST_MS)

    # The daemon's side

    def _connect(self) -> None:
        """Bring the connection one step further; never waits."""
        if self._wire is None:
            try:
                if self._starter.step(anew=self._asked) if self._waits() else autostart.listening(self._paths):
                    self._wire = Wire(self._paths)
                    self._hello_at = 0.0
            except (autostart.StartError, PlaceError) as error:
                self._give_up(str(error))
        now = time.monotonic()
        if self._wire is None and self._resting and self._unanswered and now >= self._lost_at + _NEXT_S:
            self._give_up(_STOPPED)
        if self._wire is not None and not self._welcomed and now >= self._hello_at:
            self._hello_at = now + HELLO_AGAIN_S
            self._wire.send(HELLO, {**self._hello, "known": self._known})

    def _waits(self) -> bool:
        """Whether the client waits for a daemon, or will want the one that its first questions were answered for.

        Where no service manager looks after it, one that is gone is started again in any case: cells may wait for it.
        """
        wanted = self._asked or bool(self._unanswered) or not autostart.has_service()
        return not self._resting and wanted

    def _give_up(self, why: str) -> None:
        """Let nobody wait for a daemon that does not come up. Late answers to what was sent are dropped.

        What only listens goes on with the next daemon: an end would make its client ask anew, and so start one.
        """
        self._resting, self._asked = True, False
        for call, request in list(self._unanswered.items()):
            if request.sent and request.method == "subscriptions/listen":
                continue
            may_run = request.sent and request.method == "tools/call"
            self._fail(call, request, f"{_MAY_RUN}\n{why}" if may_run else why)

    def _take_frames(self) -> None:
        """Everything the daemon sent before its connection ended, then the news that it did."""
        assert self._wire is not None
        lost = self._wire.lost()
        while (frame := self._wire.receive()) is not None:
            if frame.kind == RPC:
                self._answer(frame.header.get("answers"), frame.body)
            elif frame.kind == WELCOME and not self._welcomed:
                self._known = [frame.header.get("pid", 0), frame.header.get("start", 0)]
                self._starter.served()
                self._welcome()
            elif frame.kind == SETTLED:
                self._unanswered.pop(frame.header.get("call", 0), None)
            elif frame.kind == WHO:
                self._welcomed, self._hello_at = False, 0.0
            elif frame.kind == STOPPING:
                self._resting = True
        if lost:
            self._wire.close()
            self._wire, self._welcomed, self._lost_at = None, False, time.monotonic()

    def _welcome(self) -> None:
        """A daemon that knows nothing of us yet: the opening, then what is unanswered, then the rest."""
        assert self._wire is not None
        self._welcomed, self._asked = True, False
        self._replayed.clear()
        self._stream = {}
        opening = [call for call, _ in self._opening.values()]
        for call, line in self._opening.values():
            if call is not None and call not in self._unanswered:
                self._replayed.add(call)
            self._wire.send(RPC, {} if call is None else {"call": call}, line)
        for call, (request, _) in self._given.items():
            if call not in opening:
                self._replayed.add(call)
                self._wire.send(RPC, {"call": call}, request.line)
        for call, request in self._unanswered.items():
            header: dict[str, Any] = {"call": call, "again": True} if request.sent else {"call": call}
            request.sent = True
            if call not in opening:
                self._wire.send(RPC, header, request.line)
            if request.cancel is not None:
                self._wire.send(RPC, {}, request.cancel)
        for line in self._waiting:
            self._wire.send(RPC, {}, line)
        self._waiting.clear()

    def _answer(self, call: int | None, body: bytes) -> None:
        if call is not None:
            if call in self._replayed:
                self._replayed.discard(call)
                self._compare(call, body)
                return
            if self._unanswered.pop(call, None) is None:
                return  # answered before
        self._write(body)
        if call is None and (self._given or self._differing):
            self._hear(json.loads(body))

    def _compare(self, call: int, body: bytes) -> None:
        """Tell a client whose list came from an earlier daemon where this one has another."""
        request, given = self._given.pop(call, (None, None))
        if request is None or request.method not in _CHANGED or json.loads(body).get("result") == given:
            return
        if "initialize" in self._opening:
            self._write(json.dumps({"jsonrpc": "2.0", "method": _CHANGED[request.method]}).encode())
        else:
            self._differing.add(request.method)
            self._tell_listener()

    def _hear(self, message: dict[str, Any]) -> None:
        """Remember which stream a client opened for news, as a daemon acknowledged it: before that nothing is sent."""
        if message.get("method") == "notifications/subscriptions/acknowledged":
            self._stream = message["params"]
            self._tell_listener()

    def _tell_listener(self) -> None:
        wanted = {each for each in self._differing if self._stream.get("notifications", {}).get(_FILTERS[each])}
        self._differing -= wanted
        for method in sorted(wanted):
            meta = {_SUBSCRIPTION: self._stream["_meta"][_SUBSCRIPTION]}
            self._write(json.dumps({"jsonrpc": "2.0", "method": _CHANGED[method], "params": {"_meta": meta}}).encode())

    # The client's side

    def _take_input(self) -> None:
        try:
            chunk = os.read(0, 1 << 16)
        except BlockingIOError:  # somebody who shares our standard input was faster
            return
        if not chunk:
            self._ended = True
            return
        first, *others = chunk.split(b"\n")
        self._partial.append(first)
        if not others:
            return
        lines = [b"".join(self._partial), *others]
        self._partial = [lines.pop()]
        for line in lines:
            if line.strip():
                self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        try:
            message = parsed(line)
        except (ValueError, RecursionError) as error:
            self._refuse(PARSE_ERROR, f"Parse error: this line is not JSON ({error})")
            return
        if not _is_message(message):
            wanted = "each line is one JSON-RPC 2.0 message (an object, no batch)"
            self._refuse(INVALID_REQUEST, f"Invalid Request: {wanted}")
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
        self._resting, self._asked = False, not self._welcomed
        method = message["method"]
        request = self._unanswered[self._calls] = Request(message, line)
        self._differing.discard(method)
        if method in ASKED_FIRST:
            self._urgent.add(self._calls)
        if method in _OPENING:
            name = f"{method} {_uri(message)}" if method == "resources/subscribe" else method
            self._opening[name] = (self._calls, line)
        elif method == "resources/unsubscribe":
            self._opening.pop(f"resources/subscribe {_uri(message)}", None)
        if self._welcomed and self._wire is not None:
            request.sent = True
            self._wire.send(RPC, {"call": self._calls}, line)
        elif self._wire is None:
            self._answer_from_memory(self._calls, request)

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

    def _mark_cancelled(self, message: dict[str, Any], line: bytes) -> None:
        params = message.get("params")
        wanted = params.get("requestId") if isinstance(params, dict) else None
        for request in self._unanswered.values():
            if type(request.id) is type(wanted) and request.id == wanted:  # 1 and "1" are different ids
                request.cancel = line

    def _patience_ms(self) -> int | None:
        """How long the loop may wait for something to happen."""
        if self._waits() if self._wire is None else not self._welcomed:
            return RETRY_MS
        now = time.monotonic()
        self._urgent &= self._unanswered.keys()
        due = [self._unanswered[call].recall_at for call in self._urgent]
        due += [now + LOOK_S] if self._wire is None else []
        return max(0, round((min(due) - now) * 1000)) + 1 if due else None

    def _answer_in_time(self) -> None:
        """What a client asks before it shows a server at all, without the daemon where that takes too long."""
        now = time.monotonic()
        for call in sorted(self._urgent & self._unanswered.keys()):
            request = self._unanswered[call]
            if now >= request.recall_at:
                request.recall_at = request.answer_by
                if self._answer_from_memory(call, request):
                    continue
            if now >= request.answer_by:
                silent = _STOPPED if self._wire is None and self._resting else _STILL_STARTING
                self._fail(call, request, _SILENT if self._welcomed else silent)

    def _answer_from_memory(self, call: int, request: Request) -> bool:
        """Answer what every daemon of this version answers alike, if one did so before: clients ask that first."""
        _, handshake = self._opening.get("initialize", (None, b"{}"))
        result = recall(self._paths, request.method, request.params, json.loads(handshake).get("params"))
        if result is None:
            return False
        self._given[call] = (request, result)
        if request.sent:
            self._replayed.add(call)
        del self._unanswered[call]
        self._write(json.dumps({"jsonrpc": "2.0", "id": request.id, "result": result}).encode())
        return True

    def _fail(self, call: int, request: Request, text: str) -> None:
        """Answer a request with an error. Its number is not forgotten: an answer that comes later is dropped."""
        del self._unanswered[call]
        if request.method == "initialize":  # what clients show of a server that did not start
            with contextlib.suppress(OSError):  # nobody may read that
                os.write(2, f"kernel-supervisor-mcp: {text}\n".encode("utf-8", "replace"))
        self._refuse(UNAVAILABLE, text, request.id)

    def _refuse(self, code: int, text: str, id: str | int | None = None) -> None:
        answer = {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}
        self._write(json.dumps(answer).encode())

    def _write(self, body: bytes) -> None:
        view = memoryview(body + b"\n")
        while view:
            try:
                view = view[os.write(1, view) :]
            except BlockingIOError:  # whoever shares our standard output made it so
                poller = zmq.Poller()
                poller.register(self._signalled, zmq.POLLIN)
                poller.register(1, zmq.POLLOUT)
                poller.poll()


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
