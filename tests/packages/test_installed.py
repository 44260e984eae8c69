"""Promise: whoever installs it, with pip, pipx or uv, and without root's rights, gets what does the main job."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.packages.conftest import Built
from tests.packages.somebody import Somebody, somebody
from tests.support import Home, Session, until

pytestmark = pytest.mark.timeout(900)  # sixty packages are fetched and put in each environment
VARIETIES = [
    pytest.param(how, what, id=f"{how}-{what}") for how in ("pip", "pipx", "uv") for what in ("wheel", "sdist")
]


@pytest.fixture(scope="module")
def account() -> Iterator[Somebody]:
    """Who has pipx and uv, in an environment that nothing else is in."""
    with somebody() as account:
        account.does(account.python, "-m", "venv", "tools")
        account.does("tools/bin/python", "-m", "pip", "install", "--quiet", "pipx>=1.7", "uv>=0.9")
        yield account


@pytest.fixture
def person(account: Somebody) -> Iterator[Somebody]:
    """The same, in a home where nothing was installed; in the end no process of theirs is left."""
    with account.anew() as person:
        yield person
        here = _supervisor(person)
        left = [*here.daemons(), *here.kernels()]
        here.sweep()
        assert not left


def _supervisor(person: Somebody) -> Home:
    return Home(Path(person.env["KERNEL_SUPERVISOR_HOME"]), person.home)


def _install(person: Somebody, how: str, package: str) -> str:
    """Do it as the README says; the command that there is then."""
    tools = person.shared / "tools/bin"
    if how == "pip":
        person.does(person.python, "-m", "venv", "env")
        person.does("env/bin/python", "-m", "pip", "install", "--quiet", package)
        return str(person.home / "env/bin/kernel-supervisor")
    if how == "pipx":
        person.does(str(tools / "pipx"), "install", "--quiet", "--python", person.python, package)
    else:
        person.does(str(tools / "uv"), "tool", "install", "--quiet", "--python", person.python, package)
    return str(person.home / ".local/bin/kernel-supervisor")


def _registered(said: str) -> dict[str, Any]:
    """The command among what `register --print` says, as any MCP client takes it."""
    servers = re.search(r"^\{.*^\}", said, re.MULTILINE | re.DOTALL)
    assert servers, said
    return dict(json.loads(servers[0])["mcpServers"]["kernel-supervisor"])


async def _work(person: Somebody, registered: dict[str, Any]) -> str:
    """The last line of a cell's output, as an MCP client gets it that was given what `register` prints."""
    command, *arguments = person.command(registered["command"], *registered["args"])
    server = StdioServerParameters(command=command, args=arguments, env=person.env, cwd=person.home)
    async with Client(stdio_client(server), mode="legacy") as client:
        return (await Session(client).run("6*7")).text.splitlines()[-1]


@pytest.mark.anyio
@pytest.mark.parametrize(("how", "what"), VARIETIES)
async def test_main_job_is_done_for_whoever_installs_it(person: Somebody, built: Built, how: str, what: str) -> None:
    program = _install(person, how, person.gets(getattr(built, what)))
    assert await _work(person, _registered(person.does(program, "register", "--print"))) == "42"

    (kernel,) = json.loads(person.does(program, "list", "--json"))["kernels"]
    assert kernel["state"] == "idle"
    assert [kernel["pid"]] == [each.pid for each in _supervisor(person).kernels()]
    assert json.loads(person.does(program, "status", "--json"))["kernels"] == 1
    await until(lambda: json.loads(person.does(program, "status", "--json"))["standing_by"], "another kernel stands by")
    findings = json.loads(person.does(program, "doctor", "--json"))["findings"]
    assert {finding["state"] for finding in findings} <= {"good", "note"}, findings
    assert person.does(program, "stop", "--kernels") == "the daemon and its kernels are gone\n"
