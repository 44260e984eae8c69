"""The shim's contract, seen from the daemon's side of the socket: a real shim, a daemon that the test plays."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import psutil
import pytest
import zmq

from kernel_supervisor.client import opening
from kernel_supervisor.envelope import HELLO, RPC, SETTLED, STOPPING, WELCOME, WHO, Frame, pack, unpack
from kernel_supervisor.paths import Paths
from tests.support import Home

DEADLINE_MS = 30_000


class PlayedDaemon:
    """A ROUTER where the shim expects the daemon."""

    def __init__(self, home: Home) -> None:
        self.path = home.path / "run/daemon.sock"
        self.socket: Any = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(f"ipc://{self.path}")
        self.client = b""

    def take(self) -> Frame:
        """The next frame."""
        assert self.socket.poll(DEADLINE_MS), "the shim sent nothing"
        self.client, *parts = self.socket.recv_multipart()
        return unpack(parts)

    def send(self, kind: bytes, header: dict[str, Any], body: bytes = b"") -> None:
        self.socket.send_multipart([self.client, *pack(kind, header, body)])

    def welcome(self) -> dict[str, Any]:
        """Take the hello and answer it; the hello."""
        frame = self.take()
        assert frame.kind == HELLO
        self.send(WELCOME, {"protocol": 1, "version": "0", "pid": 1, "start": 1})
        return frame.header

    def call(self) -> tuple[int | None, dict[str, Any]]:
        """The next message, with its call number."""
        frame = self.take()
        assert frame.kind == RPC
        return frame.header.get("call"), json.loads(frame.body)

    def answer(self, call: int, id_: Any, result: Any = None) -> None:
        body = {"jsonrpc": "2.0", "id": id_, "result": result or {}}
        self.send(RPC, {"answers": call}, json.dumps(body).encode())

    def die(self, linger_ms: int = 0) -> None:
        self.socket.close(linger_ms)


class Shim:
    """A real shim with pipes."""

    def __init__(self, home: Home, *arguments: str) -> None:
        self.process = subprocess.Popen(
            home.shim_command(*arguments), env=home.env, cwd=home.project, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def write(self, *messages: Any) -> None:
        assert self.process.stdin is not None
        for message in messages:
            self.process.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the shim ended"
        return dict(json.loads(line))


def request(id_: Any, method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


def notification(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


@pytest.fixture
def lock(home: Home) -> Iterator[IO[str]]:
    """The daemon's lock, held by the test: a real daemon that the shim starts meanwhile ends at once."""
    (home.path / "run").mkdir(parents=True, mode=0o700)
    with (home.path / "run/daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock


@pytest.fixture
def daemon(home: Home, lock: IO[str]) -> Iterator[PlayedDaemon]:
    played = PlayedDaemon(home)
    yield played
    played.die()


@pytest.fixture
def shim(home: Home, daemon: PlayedDaemon) -> Iterator[Shim]:
    real = Shim(home)
    yield real
    real.process.kill()
    real.process.wait()
    for pipe in (real.process.stdin, real.process.stdout):
        assert pipe is not None
        pipe.close()


def test_the_hello_says_who_asks_and_what_user_code_shall_see(home: Home, daemon: PlayedDaemon, shim: Shim) -> None:
    hello = daemon.welcome()
    assert hello["kind"] == "shim"
    assert hello["pid"] == shim.process.pid
    assert Path(hello["cwd"]) == home.project
    assert hello["env"]["KERNEL_SUPERVISOR_HOME"] == str(home.path)
    present = os.umask(0o077)
    os.umask(present)
    assert hello["umask"] == present
    assert "RLIMIT_NOFILE" in hello["limits"]


def test_lines_pass_as_they_are_and_requests_are_numbered(daemon: PlayedDaemon, shim: Shim) -> None:
    daemon.welcome()
    line = b'{"jsonrpc":"2.0", "id":1,"method":"tools/list","params":{"a":"\\u00e9 \\ud83d\\ude00"}}'
    shim.write(line, request("1"), notification("notifications/progress", progressToken=1, progress=1))
    frame = daemon.take()
    assert (frame.header, frame.body) == ({"call": 1}, line)
    assert daemon.call()[0] == 2, "1 and '1' are different requests"
    assert daemon.call()[0] is None
    daemon.answer(2, "1", {"x": "late"})
    daemon.answer(1, 1)
    assert shim.read()["id"] == "1"
    assert shim.read()["id"] == 1


def test_what_is_unanswered_is_sent_to_the_next_daemon_and_the_opening_is_replayed(
    home: Home, daemon: PlayedDaemon, shim: Shim
) -> None:
    daemon.welcome()
    shim.write(request(0, "initialize"))
    call, _ = daemon.call()
    assert call is not None
    daemon.answer(call, 0, {"first": True})
    assert shim.read()["result"] == {"first": True}
    shim.write(notification("notifications/initialized"), request(1), request(2))
    assert [daemon.call()[0] for _ in range(3)] == [None, 2, 3]
    daemon.answer(2, 1)
    assert shim.read()["id"] == 1
    daemon.die()
    second = PlayedDaemon(home)
    second.welcome()
    replayed = [second.call() for _ in range(3)]
    assert [(number, message["method"]) for number, message in replayed] == [
        (1, "initialize"),
        (None, "notifications/initialized"),
        (3, "tools/call"),
    ], "what was answered is not sent again"
    second.answer(1, 0, {"second": True})
    second.answer(3, 2, {"done": True})
    assert shim.read() == {"jsonrpc": "2.0", "id": 2, "result": {"done": True}}, "the replayed answer is kept back"
    second.answer(3, 2, {"again": True})
    shim.write(request(3))
    number, _ = second.call()
    assert number == 4
    second.answer(4, 3)
    assert shim.read()["id"] == 3, "no request is answered twice"
    second.die()


def test_a_subscription_is_part_of_the_opening(home: Home, daemon: PlayedDaemon, shim: Shim) -> None:
    daemon.welcome()
    shim.write(request(1, "resources/subscribe", uri="kernel://a"), request(2, "resources/subscribe", uri="kernel://b"))
    for number in (1, 2):
        daemon.call()
        daemon.answer(number, number)
        shim.read()
    shim.write(request(3, "resources/unsubscribe", uri="kernel://a"))
    daemon.call()
    daemon.answer(3, 3)
    shim.read()
    daemon.die()
    second = PlayedDaemon(home)
    second.welcome()
    assert second.call()[1]["params"] == {"uri": "kernel://b"}
    second.die()


def test_a_cancel_that_no_daemon_heard_follows_its_request(home: Home, daemon: PlayedDaemon, shim: Shim) -> None:
    daemon.welcome()
    shim.write(request("7"), request(7))
    assert [daemon.call()[0] for _ in range(2)] == [1, 2]
    daemon.die()
    shim.write(notification("notifications/cancelled", requestId=7, reason="no"))
    second = PlayedDaemon(home)
    second.welcome()
    first, again, cancel = (second.call() for _ in range(3))
    assert (first[0], again[0]) == (1, 2)
    assert cancel[1]["params"]["requestId"] == 7
    second.send(SETTLED, {"call": 2})
    second.answer(1, "7")
    assert shim.read()["id"] == "7"
    second.die()
    third = PlayedDaemon(home)
    third.welcome()
    shim.write(request(8))
    assert third.call()[0] == 3, "what was settled is not sent again"
    third.die()


def test_a_daemon_that_does_not_know_the_client_gets_a_hello_and_everything_again(
    daemon: PlayedDaemon, shim: Shim
) -> None:
    daemon.welcome()
    shim.write(request(1))
    assert daemon.call()[0] == 1
    daemon.send(WHO, {})
    daemon.welcome()
    assert daemon.call()[0] == 1
    daemon.answer(1, 1)
    assert shim.read()["id"] == 1


def test_after_a_stop_on_purpose_no_daemon_is_started_before_the_client_asks(
    home: Home, daemon: PlayedDaemon, shim: Shim, lock: IO[str]
) -> None:
    daemon.welcome()
    shim.write(request(1))
    daemon.call()
    daemon.answer(1, 1)
    shim.read()
    daemon.send(STOPPING, {})
    daemon.die(linger_ms=5000)
    lock.close()
    shim.write(b"not json")
    assert shim.read()["error"]["code"] == -32700
    assert not home.daemons()
    shim.write(
        request(
            2, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "t", "version": "1"}
        )
    )
    assert shim.read()["id"] == 2, "a real daemon was started, and answered"


def test_what_a_daemon_that_was_stopped_leaves_unanswered_is_answered_and_starts_none(
    home: Home, daemon: PlayedDaemon, shim: Shim, lock: IO[str]
) -> None:
    daemon.welcome()
    shim.write(request(1), request(2, "tools/list"))
    assert [daemon.call()[0] for _ in range(2)] == [1, 2]
    daemon.send(STOPPING, {})
    daemon.die(linger_ms=5000)
    lock.close()
    told = {answer["id"]: answer["error"]["message"] for answer in (shim.read(), shim.read())}
    assert all("was stopped; the next call starts it" in each for each in told.values()), told
    assert "Do not repeat it" in told[1]
    assert "Do not repeat it" not in told[2]
    assert not home.daemons()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'"text"', -32600),
        (b"{}", -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":7}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}', -32600),
    ],
)
def test_what_is_no_message_is_refused_and_the_shim_goes_on(
    daemon: PlayedDaemon, shim: Shim, line: bytes, code: int
) -> None:
    daemon.welcome()
    shim.write(line, b"   ", request(1))
    refusal = shim.read()
    assert (refusal["id"], refusal["error"]["code"]) == (None, code)
    number, _ = daemon.call()
    assert number == 1
    daemon.answer(1, 1)
    assert shim.read()["id"] == 1


def test_a_line_costs_what_its_length_costs(daemon: PlayedDaemon, shim: Shim) -> None:
    """Not what its length costs times the pieces that it comes in."""
    daemon.welcome()
    process = psutil.Process(shim.process.pid)

    def cost(line: bytes, times: int) -> float:
        before = sum(process.cpu_times()[:2])
        for _ in range(times):
            shim.write(line)
            assert shim.read()["error"]["code"] == -32700
        return float(sum(process.cpu_times()[:2]) - before)

    assert cost(b"x" * (512 << 16), 1) < 15 * cost(b"x" * (1 << 16), 512)


_MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
_HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "kept"}}
_STREAM = "io.modelcontextprotocol/subscriptionId"


def _keep(home: Home, version: str, **kept: Any) -> None:
    """What an earlier daemon answered, kept."""
    for name, result in kept.items():
        opening.keep(Paths(str(home.path), str(home.path / "run")), f"{name.replace('_', '-')}-{version}", result)


def test_while_a_daemon_is_only_just_there_the_opening_is_answered_from_what_is_kept(
    home: Home, daemon: PlayedDaemon, shim: Shim
) -> None:
    _keep(home, "2025-11-25", initialize=_HANDSHAKE, tools_list={"tools": []}, prompts_list={"prompts": []})
    daemon.welcome()
    shim.write(request(1, "initialize", protocolVersion="2025-11-25"), request(2, "tools/list"))
    assert [shim.read()["result"] for _ in range(2)] == [_HANDSHAKE, {"tools": []}], "the daemon has not said a word"
    shim.write(request(3, "prompts/list"))
    assert shim.read()["result"] == {"prompts": []}
    assert [daemon.call()[0] for _ in range(3)] == [1, 2, 3]
    daemon.answer(1, 1, _HANDSHAKE)
    daemon.answer(2, 2, {"tools": [{"name": "new"}]})
    daemon.answer(3, 3, {"prompts": []})
    assert shim.read() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    shim.write(request(4, "tools/list"))
    assert daemon.call()[0] == 4
    daemon.answer(4, 4, {"tools": [{"name": "new"}]})
    assert shim.read()["result"] == {"tools": [{"name": "new"}]}, "what was answered in its place is not answered twice"


@pytest.mark.parametrize("first", ["the list", "the acknowledgement"])
def test_a_client_that_listens_for_news_is_told_of_other_tools_on_its_stream(
    home: Home, daemon: PlayedDaemon, shim: Shim, first: str
) -> None:
    _keep(home, "2026-07-28", tools_list={"tools": []})
    daemon.welcome()
    shim.write(request(1, "tools/list", _meta=_MODERN))
    assert shim.read()["result"] == {"tools": []}
    shim.write(request("ear", "subscriptions/listen", notifications={"toolsListChanged": True}, _meta=_MODERN))
    assert [daemon.call()[0] for _ in range(2)] == [1, 2]
    acknowledged = notification(
        "notifications/subscriptions/acknowledged", notifications={"toolsListChanged": True}, _meta={_STREAM: "ear"}
    )
    if first == "the list":
        daemon.answer(1, 1, {"tools": [{"name": "new"}]})
    daemon.send(RPC, {}, json.dumps(acknowledged).encode())
    if first == "the acknowledgement":
        daemon.answer(1, 1, {"tools": [{"name": "new"}]})
    assert shim.read() == acknowledged
    assert shim.read() == notification("notifications/tools/list_changed", _meta={_STREAM: "ear"})
