"""Promise: what is not a JSON-RPC message is refused as JSON-RPC says, and the connection goes on."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import termios

import pytest

from tests.process.test_daemons_that_do_not_start import MODERN
from tests.support import DEADLINE_S, Home, until_now

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
NOT_JSON = {
    "words": b"hello",
    "half a message": b'{"jsonrpc": "2.0", "id": 1, "meth',
    "two messages": b'{"jsonrpc":"2.0","method":"a"} {"jsonrpc":"2.0","method":"b"}',
    "not UTF-8": b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}',
    "NUL": b"\x00",
    "deeper than anybody reads": b"[" * 200_000,
}
NOT_A_MESSAGE = {
    "array": b"[]",
    "batch": b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
    "number": b"42",
    "string": b'"hello"',
    "null": b"null",
    "empty object": b"{}",
    "no version": b'{"id": 1, "method": "ping"}',
    "old version": b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
    "method that is no string": b'{"jsonrpc": "2.0", "id": 1, "method": 5}',
    "params that are a string": b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": "all"}',
    "id null": b'{"jsonrpc": "2.0", "id": null, "method": "ping"}',
    "id true": b'{"jsonrpc": "2.0", "id": true, "method": "ping"}',
    "id that is a fraction": b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}',
    "id that is a list": b'{"jsonrpc": "2.0", "id": [1], "method": "ping"}',
    "neither method nor result": b'{"jsonrpc": "2.0", "id": 1}',
    "result and error": b'{"jsonrpc": "2.0", "id": 1, "result": {}, "error": {"code": 1, "message": "no"}}',
}


@pytest.mark.parametrize("opened", [False, True], ids=["before the opening", "after it"])
def test_lines_that_are_no_messages_are_refused_with_id_null_and_the_shim_goes_on(home: Home, opened: bool) -> None:
    with home.shim() as shim:
        if opened:
            shim.open()
        for cases, code in ((NOT_JSON, PARSE_ERROR), (NOT_A_MESSAGE, INVALID_REQUEST)):
            for name, line in cases.items():
                shim.write(line)
                answer = shim.message()
                assert answer is not None, name
                assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", None, code), name
                assert answer["error"]["message"], name
        if not opened:
            shim.open()
        assert shim.run("40 + 2")["text"].splitlines()[-1] == "42"


def test_empty_lines_and_windows_line_ends_are_passed_over(home: Home) -> None:
    with home.shim() as shim:
        shim.write(b"")
        shim.write(b"   \r")
        shim.open()
        shim.write(b'{"jsonrpc": "2.0", "id": "crlf", "method": "ping"}\r')
        assert shim.answer("crlf")["result"] == {}


def test_a_message_may_come_in_pieces_and_several_at_once(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        first, second = (
            json.dumps({"jsonrpc": "2.0", "id": name, "method": "ping"}).encode() for name in ("one", "two")
        )
        assert shim.process.stdin is not None
        shim.process.stdin.write(first[:10])
        shim.process.stdin.flush()
        shim.process.stdin.write(first[10:] + b"\n" + second + b"\n")
        shim.process.stdin.flush()
        assert {shim.answer("one")["id"], shim.answer("two")["id"]} == {"one", "two"}


def test_a_standard_output_that_does_not_wait_loses_nothing(home: Home) -> None:
    """Whoever shares it (a wrapper, a terminal) may have made it so; a client that reads late is waited for."""
    taken, given = os.pipe()
    size = fcntl.fcntl(given, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(given, False)
    asked = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "tools/list", "params": {"_meta": MODERN}}) for n in "ab"]
    shim = subprocess.Popen(home.shim_command(), cwd=home.project, env=home.env, stdin=subprocess.PIPE, stdout=given)
    os.close(given)
    with os.fdopen(taken, "rb") as answers:
        assert shim.stdin is not None
        shim.stdin.write("\n".join([*asked, ""]).encode())
        shim.stdin.flush()
        until_now(lambda: _waiting(taken) == size, "no more fits")
        assert {json.loads(answers.readline())["id"] for _ in asked} == {"a", "b"}
        shim.stdin.close()
    shim.wait(DEADLINE_S)


def _waiting(pipe: int) -> int:
    """How many bytes nobody has read yet."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_one_and_the_string_one_are_different_ids(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        gate = home.project / "gate"
        code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
        shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": code}}, id=7)
        shim.send("tools/call", {"name": "kernel_status", "arguments": {}}, id="7")
        answer = shim.answer("7")
        assert answer["id"] == "7"
        assert "session" in answer["result"]["_meta"]["kernel-supervisor/result"]
        gate.touch()
        assert shim.answer(7)["result"]["_meta"]["kernel-supervisor/result"]["status"] == "ok"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("no/such/method", {}),
        ("tools/call", {}),
        ("tools/call", {"name": 5}),
        ("tools/call", {"name": "kernel_exec", "arguments": ["x = 1"]}),
        ("tools/call", {"name": "kernel_exec", "arguments": "x = 1"}),
        ("tools/call", []),
        ("tools/call", {"name": "kernel_exec", "arguments": {"code": "'\ud800'"}}),
        ("supervisor/follow", {}),
    ],
)
def test_a_request_that_mcp_does_not_know_is_an_error_and_the_connection_goes_on(
    home: Home, method: str, params: object
) -> None:
    with home.shim() as shim:
        shim.open()
        message = {"jsonrpc": "2.0", "id": "wrong", "method": method, "params": params}
        shim.write(json.dumps(message).encode())
        answer = shim.answer("wrong")
        assert answer["error"]["code"] in (-32601, -32602, -32600), answer
        assert shim.run("40 + 2")["text"].splitlines()[-1] == "42"
        assert shim.call("kernel_history")["_meta"]["kernel-supervisor/result"]["entries"][0]["code"] == "40 + 2"


def test_a_large_message_goes_through_whole_in_both_directions(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("0")  # which tells of the kernel that it starts
        text = "é" * 2_000_000
        facts = shim.run(f"x = {text!r}\nprint(len(x))\nprint(x[:300_000])", max_chars=400_000)
        assert facts["text"].splitlines()[1] == "2000000"
        assert facts["text"].count("é") == 300_000
