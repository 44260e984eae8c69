"""Promise: whatever comes to the daemon's socket concerns whoever sent it, and nobody else."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.client.hello import hello
from kernel_supervisor.envelope import BYE, HELLO, RPC, WELCOME, EnvelopeError, Frame, pack, unpack
from tests.fuzz import odd
from tests.fuzz.survivor import Survivor

DEADLINE_MS = 60_000
FRAMES = 150
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each))


@given(st.lists(st.binary() | JSON.map(lambda value: json.dumps(value).encode()), max_size=4))
def test_parts_are_a_frame_or_an_envelope_error(parts: list[bytes]) -> None:
    try:
        unpack(parts)
    except EnvelopeError:
        return
    assert len(parts) == 3


@given(st.sampled_from(["call", "answers", "pid", "start", "known", "client_id", "env"]), JSON)
def test_fields_of_a_frame_are_of_their_type(name: str, value: Any) -> None:
    try:
        frame = unpack(pack(RPC, {name: value}))
    except (EnvelopeError, UnicodeEncodeError):
        return
    found, wanted = frame.header[name], {"known": list, "client_id": str, "env": dict}.get(name, int)
    assert found is None or type(found) is wanted


@contextmanager
def raw(survivor: Survivor) -> Iterator[Any]:
    """A socket to the daemon, with nothing of ours before it."""
    dealer: Any = zmq.Context.instance().socket(zmq.DEALER)
    with dealer:
        dealer.setsockopt(zmq.LINGER, 5_000)
        dealer.connect(f"ipc://{survivor.home.path}/run/daemon.sock")
        yield dealer


def greeting(survivor: Survivor, **fields: Any) -> dict[str, Any]:
    return {**hello("cli", cwd=str(survivor.home.project)), **fields}


def received(dealer: Any) -> Frame:
    assert dealer.poll(DEADLINE_MS), "the daemon said nothing"
    return unpack(dealer.recv_multipart())


def ping(dealer: Any, survivor: Survivor) -> None:
    """The daemon serves whoever says hello on this very socket, once what came there before is forgotten: it may have
    been said in the name of a process that is no more."""
    token = os.urandom(8).hex()
    dealer.send_multipart(pack(BYE, {}))
    dealer.send_multipart(pack(HELLO, greeting(survivor)))
    body = {"jsonrpc": "2.0", "id": token, "method": "ping"}
    dealer.send_multipart(pack(RPC, {"call": 2**40}, json.dumps(body).encode()))
    while True:
        frame = received(dealer)
        if frame.kind == RPC and json.loads(frame.body).get("id") == token:
            return


def test_every_field_of_a_hello_may_be_of_every_type(survivor: Survivor) -> None:
    with raw(survivor) as dealer:
        for name in (*greeting(survivor), "known", "ways", "more"):
            for value in odd.VALUES:
                dealer.send_multipart([HELLO, odd.text(greeting(survivor, **{name: value})), b""])
        ping(dealer, survivor)
    survivor.check()


@pytest.mark.parametrize("name", ["call", "answers", "known", "more"])
def test_every_field_of_a_call_may_be_of_every_type(survivor: Survivor, name: str) -> None:
    with raw(survivor) as dealer:
        for value in odd.VALUES:
            dealer.send_multipart(pack(HELLO, greeting(survivor)))
            dealer.send_multipart([RPC, odd.text({name: value}), b'{"jsonrpc":"2.0","id":1,"method":"ping"}'])
        ping(dealer, survivor)
    survivor.check()


@pytest.mark.parametrize("name", ["cwd", "project", "session", "HOME"])
def test_a_path_that_never_ends_holds_up_nobody(survivor: Survivor, name: str) -> None:
    long = "/tmp/../" * 500_000
    with raw(survivor) as dealer:
        dealer.send_multipart(
            pack(HELLO, greeting(survivor, **({"env": {name: long}} if name == "HOME" else {name: long})))
        )
        ping(dealer, survivor)
    survivor.check()


def test_a_request_without_a_number_is_answered(survivor: Survivor) -> None:
    with raw(survivor) as dealer:
        dealer.send_multipart(pack(HELLO, greeting(survivor)))
        assert received(dealer).kind == WELCOME
        dealer.send_multipart(pack(RPC, {}, b'{"jsonrpc":"2.0","id":"mine","method":"ping"}'))
        assert json.loads(received(dealer).body)["id"] == "mine"
    survivor.check()


def test_an_answer_may_have_any_id(survivor: Survivor) -> None:
    with raw(survivor) as dealer:
        dealer.send_multipart(pack(HELLO, greeting(survivor)))
        welcome = received(dealer)
        assert welcome.kind == WELCOME
        ours = f"{welcome.header['pid']}.{welcome.header['start']}"
        outcomes: list[dict[str, Any]] = [{"result": {}}, {"error": {"code": 1, "message": ""}}, {"result": None}]
        numbers = ("9" * 5_000, "", "-1", "1.5", "²", "١", "0x1", " 1")
        for id_ in (*(f"{ours}/{number}" for number in numbers), ours, *odd.VALUES):
            for outcome in outcomes:
                dealer.send_multipart(pack(RPC, {}, odd.text({"jsonrpc": "2.0", "id": id_, **outcome})))
        ping(dealer, survivor)
    survivor.check()


def test_frames_of_any_kind_end_nobody(survivor: Survivor, seeds: Iterator[random.Random]) -> None:
    for chance in seeds:
        with raw(survivor) as dealer:
            for _ in range(FRAMES):
                dealer.send_multipart(frame(survivor, chance))
            ping(dealer, survivor)
        survivor.check()


def frame(survivor: Survivor, chance: random.Random) -> list[bytes]:
    kind = chance.choice((HELLO, HELLO, RPC, RPC, RPC, b"bye", b"welcome", b"who", b"", b"\xff", b"x" * 9_999))
    good: dict[str, Any] = greeting(survivor) if kind == HELLO else {"call": chance.randrange(9)}
    header = good if chance.random() < 0.4 else odd.neighbour(good, chance)
    method = chance.choice(("ping", "initialize", "tools/list", "tools/call", "notifications/cancelled", "tasks/get"))
    message = {"jsonrpc": "2.0", "id": chance.randrange(9), "method": method, "params": {"name": "kernel_list_running"}}
    body = odd.text(message if chance.random() < 0.3 else odd.neighbour(message, chance))
    parts = [kind, odd.text(header), odd.damaged(body, chance) if chance.random() < 0.3 else body]
    if chance.random() < 0.1:
        parts[1] = odd.damaged(parts[1], chance)
    if chance.random() < 0.05:
        parts = chance.choice((parts[:1], parts[:2], [*parts, b""], [b"", *parts], [kind, odd.DEEP.encode(), b""]))
    return parts
