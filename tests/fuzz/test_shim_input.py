"""Promise: whatever a client writes to its shim, each request is answered, and the shim and the daemon go on."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from tests.fuzz import odd
from tests.fuzz.survivor import OURS, Survivor

LINES = 120
METHODS = (
    *("ping", "initialize", "tools/list", "tools/call", "resources/list", "resources/read", "resources/subscribe"),
    *("resources/unsubscribe", "prompts/list", "prompts/get", "logging/setLevel", "completion/complete", "tasks/get"),
    *(
        "server/discover",
        "supervisor/status",
        "supervisor/which",
        "supervisor/follow",
        "no/such",
        "notifications/cancelled",
    ),
)
PARAMS: dict[str, Any] = {
    "name": "kernel_list_running",
    "arguments": {},
    "uri": "kernel://x",
    "taskId": "1-500",
    "requestId": 1,
    "executionId": 1,
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    },
}


def test_each_line_is_answered_or_passed_over(survivor: Survivor, seeds: Iterator[random.Random]) -> None:
    for chance in seeds:
        with survivor.home.shim() as shim:
            if chance.random() < 0.7:
                shim.open()
            for number in range(LINES):
                line = some_line(number, chance)
                shim.write(line)
                if expected := id_of(line):
                    answer = shim.answer(expected)
                    assert OURS not in json.dumps(answer), (line[:2000], answer)
            shim.send("ping", id="the last one")
            assert "jsonrpc" in shim.answer("the last one")
        survivor.check()


def some_line(number: int, chance: random.Random) -> bytes:
    params = PARAMS if chance.random() < 0.5 else {name: each for name, each in PARAMS.items() if name != "_meta"}
    message = {"jsonrpc": "2.0", "id": f"line {number}", "method": chance.choice(METHODS), "params": params}
    if chance.random() < 0.8:
        message = {**message, "params": odd.neighbour(message["params"], chance)}
    if chance.random() < 0.2:
        message = odd.neighbour(message, chance)
    line = odd.text(message)
    return (odd.damaged(line, chance) if chance.random() < 0.1 else line).replace(b"\n", b" ")


def id_of(line: bytes) -> str:
    """The id of what is a request for sure; empty where it is none, or may be passed over."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    plain = isinstance(message, dict) and message.keys() == {"jsonrpc", "id", "method", "params"}
    asks = plain and message["jsonrpc"] == "2.0" and message["method"] in METHODS and isinstance(message["id"], str)
    return message["id"] if asks and isinstance(message["params"], dict) else ""
