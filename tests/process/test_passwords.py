"""Promise: what a cell was told in answer to its question is kept nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.asking import User
from tests.support import ERAS, Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
SECRET = "correct-horse-battery-staple"


@pytest.mark.parametrize("era", ERAS)
async def test_passwords_are_recorded_nowhere(home: Home, era: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_SUPERVISOR_LOG", "DEBUG")
    cell = "import getpass\nlen(getpass.getpass('Password? '))"
    user = User(SECRET)
    async with home.client(era, elicitation_callback=user) as session, home.client(era) as other:
        asked = await session.run(cell, timeout=120)
        assert "password" in user.asked[0].message
        told = await other.run(cell, timeout=120)
        assert told.facts["password"] is True
        replied = await other.call("kernel_reply", text=SECRET)
        await other.run("input('Again? ')", timeout=120)
        refused = await other.call("kernel_reply", text=SECRET, no_such_argument=SECRET)
        killed = home.kill_daemon()
        await other.call("kernel_reply", text=SECRET[::-1])
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        await other.call("kernel_save_notebook", path="all.ipynb", save_html=True)
    assert asked.text.splitlines()[-1] == replied.text.splitlines()[-1] == str(len(SECRET))
    assert refused.is_error
    recorded = b"".join(path.read_bytes() for path in home.path.glob("logs/*.messages"))
    assert b"Password? " in recorded, "the question itself is on record"
    assert any(path.name == "all.ipynb" for path in _kept(home))
    assert any(path.name.startswith("records.sqlite") for path in _kept(home))
    assert _places(home) == []


def test_not_even_from_a_client_that_speaks_badly(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_SUPERVISOR_LOG", "DEBUG")
    capabilities: dict[str, dict[str, str]] = {"elicitation": {}}
    info = {"name": "bare", "version": "1"}
    with home.shim() as shim:
        opening = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info}
        shim.request("initialize", opening)
        shim.send("notifications/initialized")
        call = {"name": "kernel_exec", "arguments": {"code": "input()", "timeout": 60}}
        shim.send("tools/call", call, id="asks")
        while (message := shim.message()) and message.get("method") != "elicitation/create":
            pass
        assert message is not None
        wrong = {"jsonrpc": "2.0", "id": message["id"], "result": {"action": SECRET, "content": SECRET}}
        shim.write(json.dumps(wrong).encode())
        told = shim.answer("asks")["result"]["_meta"]["kernel-supervisor/result"]
        assert told["status"] == "waiting for input"
        shim.write(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": [SECRET]}).encode())
        shim.answer(7)
        call = {"name": "kernel_reply", "arguments": {"text": [SECRET], SECRET: SECRET}}
        shim.send("tools/call", call, id=8)
        assert shim.answer(8)["result"]["isError"]
        call = {"name": "kernel_exec", "arguments": SECRET, "inputResponses": SECRET}
        shim.send("tools/call", call, id=9)
        assert "error" in shim.answer(9)
        assert shim.call("kernel_reply", text="")["_meta"]["kernel-supervisor/result"]["status"] == "ok"
    assert _kept(home)
    assert _places(home) == []


def _kept(home: Home) -> list[Path]:
    return [path for path in home.path.parent.rglob("*") if path.is_file()]


def _places(home: Home) -> list[Path]:
    return [path for path in _kept(home) if SECRET.encode() in path.read_bytes()]
