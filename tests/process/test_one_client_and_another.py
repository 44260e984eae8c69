"""Promise: whatever one client floods the daemon with, or has shown, another one is served meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from kernel_supervisor.client.hello import hello
from kernel_supervisor.envelope import HELLO, RPC, pack
from tests.support import RESULT, Home, Shim, fresh_home

pytestmark = pytest.mark.timeout(300)
NOTIFICATIONS, DEADLINE_MS = 15_000, 120_000
CELLS, READINGS = 1_000, 150
PLAIN = """\
print('x' * 1_000 * 1_000)
for number in range(50):
    print(('z' * 79 + '\\n') * 500)
"""
FORMS = {
    "one line": "import sys\nsys.stderr.write('x' * 3_000_000)",
    "one name": "import sys\nsys.stderr.write('/interactiveshell.py:1' * 140_000)",
}
SLOW_PATTERN = "a.*a.*a.*a.*a.*b"


@pytest.fixture(scope="module")
def place() -> Iterator[Home]:
    with fresh_home() as home:
        yield home


@pytest.fixture(scope="module")
def one(place: Home) -> Iterator[Shim]:
    with place.shim() as shim:
        shim.open()
        shim.run("ready = True")
        yield shim


@pytest.fixture(scope="module")
def another(place: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shim]:
    with place.shim(cwd=tmp_path_factory.mktemp("elsewhere")) as shim:
        shim.open()
        shim.run("ready = True")
        yield shim


def served_meanwhile(another: Shim, answered: Callable[[], bool]) -> int:
    """How many cells of another client are run and answered before one's request is."""
    served, end = 0, time.monotonic() + DEADLINE_MS / 1000
    while not answered():
        assert time.monotonic() < end
        assert another.run("6 * 7")["text"].endswith("42")
        served += 1
    return served


def ask(shim: Shim, number: str, name: str, **arguments: Any) -> None:
    shim.send("tools/call", {"name": name, "arguments": arguments}, id=number)


def test_a_flood_of_notifications_leaves_others_their_turn(place: Home, another: Shim) -> None:
    flood: Any = zmq.Context.instance().socket(zmq.DEALER)
    with flood:
        flood.setsockopt(zmq.SNDHWM, 0)
        flood.connect(f"ipc://{place.path}/run/daemon.sock")
        flood.send_multipart(pack(HELLO, hello("cli", cwd=str(place.project))))
        flood.send_multipart(pack(RPC, {"call": 1}, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
        for _ in range(2):
            assert flood.poll(DEADLINE_MS)
            flood.recv_multipart()
        for number in range(NOTIFICATIONS):
            params = {"progressToken": 1, "progress": number}
            message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
            flood.send_multipart(pack(RPC, {}, json.dumps(message).encode()))
        flood.send_multipart(pack(RPC, {"call": 2}, b'{"jsonrpc":"2.0","id":2,"method":"ping"}'))
        assert served_meanwhile(another, lambda: bool(flood.poll(0))) >= 5


def test_a_flood_of_documents_leaves_others_their_turn(place: Home, one: Shim, another: Shim) -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": str(number), "id": f"c{number}"} for number in range(CELLS)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (place.project / "many.ipynb").write_text(json.dumps(notebook))
    assert not one.call("kernel_load_notebook", path="many.ipynb", session="many")["isError"]
    for number in range(READINGS):
        one.send("resources/read", {"uri": "kernel://project%2Fmany/notebook"}, id=f"read-{number}")
    assert served_meanwhile(another, lambda: one.answered(f"read-{READINGS - 1}")) >= READINGS // 10


@pytest.mark.parametrize("form", FORMS)
def test_reading_costs_what_the_length_of_a_text_costs(one: Shim, form: str) -> None:
    plain, odd = one.run(PLAIN), one.run(FORMS[form], timeout=200)
    usual, found = (min(reading(one, each["execution_id"]) for _ in range(3)) for each in (plain, odd))
    assert found < 8 * usual


def reading(shim: Shim, number: int) -> float:
    before = time.monotonic()
    assert shim.call("kernel_output", execution_id=number, wait=200)["_meta"][RESULT]["status"] == "ok"
    return time.monotonic() - before


def test_a_pattern_that_takes_for_ever_is_given_up_and_holds_up_nobody(one: Shim, another: Shim) -> None:
    shown = one.run("print('a' * 900)")
    ask(one, "search", "kernel_output", execution_id=shown["execution_id"], grep=SLOW_PATTERN)
    assert served_meanwhile(another, lambda: one.answered("search")) >= 5
    told = one.answer("search")["result"]
    assert f"kernel_output(execution_id={shown['execution_id']}, wait=60) takes longer" in told["content"][0]["text"]
    assert told["_meta"][RESULT]["truncated"]
    assert "no output" not in told["content"][0]["text"]


def test_what_one_client_gave_up_waiting_for_leaves_another_its_turn(one: Shim, another: Shim) -> None:
    number = one.run("print('x' * 7_900_000)")["execution_id"]
    for _ in range(2):  # each time two threads more, were the first ones not counted as long as they work
        for name in "ab":
            ask(one, name, "kernel_output", execution_id=number, grep="x*y")
        served = served_meanwhile(another, lambda: one.answered("a") and one.answered("b"))
        for name in "ab":
            assert "takes longer" in one.answer(name)["result"]["content"][0]["text"]
    assert served >= 2
