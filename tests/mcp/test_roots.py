"""Promise: a client that is started in a place of its own and offers roots works in its first root, asked in time."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from mcp_types import ListRootsResult

from tests.support import RESULT, Home, Shim, until

pytestmark = pytest.mark.anyio


class Window:
    """A client's list of roots, and how often it was asked for."""

    def __init__(self, *uris: str | Path) -> None:
        self.uris = [each if isinstance(each, str) else each.as_uri() for each in uris]
        self.asked = 0

    async def __call__(self, context: Any) -> ListRootsResult:
        self.asked += 1
        return ListRootsResult.model_validate({"roots": [{"uri": uri} for uri in self.uris]})


@pytest.fixture
def aside(desk: Home) -> Path:
    """Where a client keeps itself, and starts its servers."""
    folder = desk.project.parent / f"aside-{desk.project.name}"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("place", ["/", "aside"])
async def test_a_client_in_a_place_of_its_own_works_in_its_first_root(
    desk: Home, aside: Path, era: str, place: str
) -> None:
    cwd = aside if place == "aside" else Path("/")
    window = Window("file://elsewhere/x", desk.project / "not there", desk.project)
    async with desk.client(era, cwd=cwd, list_roots_callback=window) as session:
        ran = await session.run("import os; x = 41; os.getcwd()")
        saved = await session.call("kernel_save_notebook", path="here")
        again = await session.run("x")
    assert ran.facts["session"] == again.facts["session"] == f"{desk.project.name}/"
    assert ran.text.splitlines()[-1] == repr(os.path.realpath(desk.project))
    assert saved.facts["path"] == os.path.realpath(desk.project / "here.ipynb"), "relative paths start there"
    assert window.asked == 1
    async with desk.client(era) as session:
        assert (await session.run("x")).text.splitlines()[-1] == "41", "the same session as of a client that is there"


async def test_one_question_decides_for_calls_that_come_together(desk: Home, aside: Path, era: str) -> None:
    window = Window(desk.project)
    found: list[str] = []
    async with desk.client(era, cwd=aside, list_roots_callback=window) as session, anyio.create_task_group() as calls:

        async def look() -> None:
            found.append((await session.call("kernel_status")).facts["session"])

        for _ in range(4):
            calls.start_soon(look)
    assert found == [f"{desk.project.name}/"] * 4


@pytest.mark.parametrize("reason", ["in a root", "project", "session", "variable", "no roots", "none of a directory"])
async def test_the_working_directory_counts_where_it_can(desk: Home, aside: Path, era: str, reason: str) -> None:
    """In one of the roots, told otherwise, or where there is nothing else."""
    below = aside / f"below-{desk.project.name}"
    below.mkdir()
    (aside / "file").touch()
    offered = {"in a root": [desk.project, aside], "no roots": [], "none of a directory": [aside / "file"]}
    window = Window(*offered.get(reason, [desk.project]))
    arguments = ("--session", "mine") if reason == "session" else ()
    env = {"project": {"CLAUDE_PROJECT_DIR": str(below)}, "variable": {"KERNEL_SUPERVISOR_SESSION": "mine"}}
    async with desk.client(era, *arguments, cwd=below, env=env.get(reason), list_roots_callback=window) as session:
        ran = await session.run("1")
    name = "mine" if reason in ("session", "variable") else ""
    assert ran.facts["session"] == f"{below.name}/{name}"
    assert (window.asked == 0) == (reason in ("project", "session", "variable"))


@pytest.mark.parametrize("name", ["a b", "ä#ß?", "100%", "%41", b"\xff\xfe"])
@pytest.mark.parametrize("form", ["file://", "file://localhost", "FILE://"])
def test_roots_are_read_as_clients_write_them(desk: Home, aside: Path, name: str | bytes, form: str) -> None:
    folder = os.fsencode(desk.project) + b"/" + (name if isinstance(name, bytes) else name.encode())
    os.mkdir(folder)
    roots = [{"uri": "https://example.org/"}, {"uri": "file://elsewhere/tmp"}, {"uri": 7}, {}, {"uri": "nonsense"}]
    with desk.shim(cwd=aside) as shim:
        _open(shim)
        shim.send("tools/call", {"name": "kernel_status", "arguments": {}}, id="status")
        _answer_roots(shim, [*roots, {"uri": form + quote(folder), "name": 5, "_meta": None, "more": {}}])
        facts = shim.answer("status")["result"]["_meta"][RESULT]
    assert os.fsencode(facts["directory"].replace("\ufffd", "?")) == folder.replace(b"\xff\xfe", b"??")


def _open(shim: Shim) -> None:
    info = {"name": "bare", "version": "1"}
    capabilities = {"roots": {"listChanged": True}}
    shim.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": info})
    shim.send("notifications/initialized")


def _asked(shim: Shim) -> Any:
    """The id of the question for roots, which is the next request of the server's."""
    while (message := shim.message()) is not None:
        if message.get("method") == "roots/list":
            return message["id"]
    raise AssertionError("the shim ended")


def _answer_roots(shim: Shim, roots: list[Any]) -> None:
    _answer(shim, _asked(shim), result={"roots": roots})


def _answer(shim: Shim, number: Any, **what: Any) -> None:
    shim.write(json.dumps({"jsonrpc": "2.0", "id": number, **what}).encode())


def test_a_client_that_never_answers_is_not_waited_for_long(desk: Home, aside: Path) -> None:
    with desk.shim(cwd=aside) as shim:
        _open(shim)
        first = shim.run("x = 41")
        assert first["session"] == f"{aside.name}/"
        assert shim.run("x")["text"].endswith("41")


def test_an_error_for_an_answer_is_none(desk: Home, aside: Path) -> None:
    with desk.shim(cwd=aside) as shim:
        _open(shim)
        shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": "1"}}, id="exec")
        _answer(shim, _asked(shim), error={"code": -32601, "message": "Method not found"})
        assert shim.answer("exec")["result"]["_meta"][RESULT]["session"] == f"{aside.name}/"


def test_roots_that_change_move_no_session_that_has_a_kernel_and_that_is_said(desk: Home, aside: Path) -> None:
    one, two = (desk.project / f"{each}-{desk.project.name}" for each in ("one", "two"))
    one.mkdir()
    two.mkdir()
    with desk.shim(cwd=aside) as shim:
        _open(shim)
        shim.send("tools/call", {"name": "kernel_list_vars", "arguments": {}}, id="look")
        _answer_roots(shim, [{"uri": aside.parent.as_uri() + "/gone"}, {"uri": one.as_uri()}])
        shim.answer("look")
        shim.send("notifications/roots/list_changed")
        shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": "x = 41"}}, id="exec")
        _answer_roots(shim, [{"uri": two.as_uri()}])
        moved = shim.answer("exec")["result"]
        assert moved["_meta"][RESULT]["session"] == f"{two.name}/", "there was no kernel yet"
        shim.send("notifications/roots/list_changed")
        shim.send("tools/call", {"name": "kernel_list_vars", "arguments": {}}, id="look again")
        _answer_roots(shim, [{"uri": one.as_uri()}])
        said = shim.answer("look again")["result"]["content"][0]["text"]
        assert str(one) in said
        assert f'session="{one.name}/"' in said
        assert "x" in said
        later = shim.run("x")
        assert later["session"] == f"{two.name}/"
        assert str(one) not in later["text"], "once"
        assert shim.run("'x' in globals()", session=f"{one.name}/")["text"].endswith("False")


async def test_the_next_daemon_goes_on_where_the_last_one_was(home: Home, era: str) -> None:
    aside = home.path.parent / "aside"
    aside.mkdir()
    gate = home.project / "gate"
    window = Window(home.project)
    async with home.client(era, cwd=aside, list_roots_callback=window) as session:
        await session.run("runs = []")
        outcome: dict[str, Any] = {}
        waits = "import os, time\nruns.append(1)\nwhile not os.path.exists('gate'): time.sleep(0.01)\nlen(runs)"
        async with anyio.create_task_group() as calls:

            async def run() -> None:
                outcome["ran"] = await session.run(waits)

            calls.start_soon(run)
            await until(lambda: _busy(home), "the cell runs")
            killed = home.kill_daemon(signal.SIGKILL)
            await until(lambda: (found := home.daemon()) is not None and found.pid != killed, "the next daemon")
            gate.touch()
        again = await session.run("len(runs)")
    assert outcome["ran"].facts["session"] == again.facts["session"] == "project/"
    assert outcome["ran"].text.splitlines()[-1] == again.text.splitlines()[-1] == "1", "it ran once"
    assert window.asked == 1
    assert list(_sessions(home)) == ["project/"], "and nothing was begun elsewhere"


def _busy(home: Home) -> bool:
    return '"busy"' in home.cli("list", "--json").stdout


def _sessions(home: Home) -> list[str]:
    return [each["name"] for each in json.loads(home.cli("sessions", "--json").stdout)["sessions"]]


async def test_the_next_client_of_the_same_window_finds_the_session(home: Home, era: str) -> None:
    async with home.client(era, cwd=Path("/"), list_roots_callback=Window(home.project)) as session:
        await session.run("x = 41")
    home.kill_daemon()
    await until(lambda: not home.daemons(), "the daemon is gone")
    async with home.client(era, cwd=Path("/"), list_roots_callback=Window(home.project)) as session:
        assert (await session.run("x")).text.splitlines()[-1] == "41"
