"""Kernels of servers that are reached by URL and token alone: attached, started, and a connection that is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import JupyterServer, jupyter_server, tokens_found, wire
from tests.support import Home, Result, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with jupyter_server(tmp_path_factory.mktemp("jupyter") / "server") as server:
        yield server


def elsewhere(home: Home, server: JupyterServer, port: int, **more: str) -> dict[str, str]:
    """The environment of a client that knows the server by URL and token, and none of its files."""
    runtime = home.project / "no-runtime"
    runtime.mkdir(exist_ok=True)
    servers = f"gpu=http://127.0.0.1:{port}/?token={server.token}"
    return {"JUPYTER_RUNTIME_DIR": str(runtime), "KERNEL_SUPERVISOR_SERVERS": servers, **more}


def cell(started: Path, go: Path) -> str:
    return f"""
import os, time
runs = globals().get("runs", 0) + 1
print("first", flush=True)
open({str(started)!r}, "w").close()
while not os.path.exists({str(go)!r}): time.sleep(0.05)
print("second", flush=True)
runs
"""


async def running(session: Session, started: Path, go: Path) -> asyncio.Task[Result]:
    """A call that waits for a cell, which runs."""
    call = asyncio.create_task(session.run(cell(started, go), timeout=120))
    await until(started.exists, "the cell runs")
    return call


async def test_attached_over_the_wire_it_works_like_ours(home: Home, server: JupyterServer) -> None:
    kernel_id = server.notebook("wired.ipynb")
    async with home.client(env=elsewhere(home, server, server.port)) as session:
        attached = await session.call("kernel_attach", kernel_id="gpu:wired.ipynb")
        assert not attached.is_error, attached.text
        assert attached.facts["connection_file"] == ""
        plotted = await session.run("x = 41\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
        assert len(plotted.images) == 1, plotted.text
        assert (await session.run("print('ä' * 500_000)")).facts["truncated"]
        assert "data rate exceeded" in (await session.run("print('ä' * 3_000_000)")).text  # as its server says
        assert "x" in (await session.call("kernel_list_vars")).text
        assert "41" in (await session.call("kernel_inspect", var_name="x")).text
        begun = await session.call("kernel_exec", code="import time\nwhile True: time.sleep(0.05)", wait=False)
        await until(lambda: server.api("GET", f"kernels/{kernel_id}")["execution_state"] == "busy", "it runs")
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert "KeyboardInterrupt" in ended.text
        saved = await session.call("kernel_save_notebook", path="wired")
        assert not saved.is_error, saved.text
        await session.call("kernel_detach")
    assert server.ask(kernel_id, "x") == "41"
    assert tokens_found(server.token, home.path, home.project) == []


async def test_a_cut_connection_is_taken_up_again_and_the_call_is_answered_once(
    home: Home, server: JupyterServer
) -> None:
    server.notebook("cut.ipynb")
    started, go = home.project / "started", home.project / "go"
    async with wire(server.port) as relay, home.client(env=elsewhere(home, server, relay.port)) as session:
        await session.call("kernel_attach", kernel_id="gpu:cut.ipynb")
        call = await running(session, started, go)
        relay.cut()
        await until_unreachable(session)
        go.touch()
        relay.mend()
        result = await call
        assert result.facts["status"] == "ok", result.text
        assert "second" in result.text
        assert "Out[1]: 1" in result.text
        assert "was broken from" in result.text
        assert (await session.run("runs")).text.endswith("1")


async def until_unreachable(session: Session) -> None:
    async def state() -> str:
        return str((await session.call("kernel_status")).facts["state"])

    while await state() != "unreachable":  # noqa: ASYNC110 - only a call tells
        await asyncio.sleep(0.05)


async def test_a_reply_that_went_down_with_the_connection_is_lost_and_nothing_runs_twice(
    home: Home, server: JupyterServer
) -> None:
    """Another client has the kernel open, so the server keeps nothing for us."""
    kernel_id = server.notebook("lost.ipynb")
    started, go = home.project / "started", home.project / "go"
    async with wire(server.port) as relay, home.client(env=elsewhere(home, server, relay.port)) as session:
        other = elsewhere(home, server, server.port, KERNEL_SUPERVISOR_HOME=str(home.path) + "2")
        second = Home(Path(str(home.path) + "2"), home.project)
        try:
            async with second.client(env=other) as beside:
                await beside.call("kernel_attach", kernel_id="gpu:lost.ipynb")
                await session.call("kernel_attach", kernel_id="gpu:lost.ipynb")
                call = await running(session, started, go)
                relay.cut()
                await until_unreachable(session)
                go.touch()
                assert await asyncio.to_thread(server.ask, kernel_id, "runs") == "1"
                relay.mend()
                result = await call
                assert result.facts["status"] == "lost", result.text
                assert "not run again" in result.text
                assert (await session.run("runs")).text.endswith("1")
        finally:
            second.sweep()


async def test_it_is_still_attached_after_the_daemon_was_killed_mid_cell(home: Home, server: JupyterServer) -> None:
    kernel_id = server.notebook("kept.ipynb")
    started, go = home.project / "started", home.project / "go"
    async with home.client(env=elsewhere(home, server, server.port)) as session:
        await session.call("kernel_attach", kernel_id="gpu:kept.ipynb")
        await session.run("x = 41")
        call = await running(session, started, go)
        with home.no_daemon():
            connections = f"kernels/{kernel_id}"  # from the last one's end on, the server keeps what the kernel sends
            await until(
                lambda: server.api("GET", connections)["connections"] == 0, "the server hears of the daemon's end"
            )
            go.touch()
            await until(lambda: not home.daemons(), "the daemon is gone")
        result = await call
        assert result.facts["status"] == "ok", result.text
        assert "second" in result.text
        assert (await session.run("x, runs")).text.endswith("(41, 1)")
    async with home.client(env=elsewhere(home, server, server.port)) as session:
        assert (await session.run("x")).text.endswith("41")
    assert tokens_found(server.token, home.path, home.project) == []


async def test_out_of_reach_when_the_daemon_starts_it_is_taken_up_once_it_is_back(
    home: Home, server: JupyterServer
) -> None:
    server.notebook("away.ipynb")
    started, go = home.project / "started", home.project / "go"
    async with wire(server.port) as relay, home.client(env=elsewhere(home, server, relay.port)) as session:
        await session.call("kernel_attach", kernel_id="gpu:away.ipynb")
        call = await running(session, started, go)
        relay.cut()
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        refused = await session.call("kernel_exec", code="1")
        assert refused.is_error
        assert "cannot be reached" in refused.text
        assert "kernel_detach leaves it" in refused.text
        relay.mend()
        go.touch()
        result = await call
        assert result.facts["status"] in ("ok", "lost"), result.text
        assert (await session.run("runs")).text.endswith("1")


async def test_started_there_restarted_and_ended(home: Home, server: JupyterServer) -> None:
    config = home.path / "servers.json"
    home.path.mkdir()
    config.write_text(json.dumps({"cluster": {"url": server.url, "token": server.token}}))
    config.chmod(0o600)
    runtime = {"JUPYTER_RUNTIME_DIR": str(home.project)}
    async with home.client(env=runtime) as session:
        listed = await session.call("kernel_list_envs")
        assert "cluster:python3" in [each["name"] for each in listed.facts["environments"]]
        wrong = await session.call("kernel_use_env", env_name="cluster:python9")
        assert wrong.is_error
        assert "python3" in wrong.text
        used = await session.call("kernel_use_env", env_name="cluster:python3")
        assert not used.is_error, used.text
        await session.run("x = 1")
        assert (await session.call("kernel_use_env", env_name="cluster:python3")).facts["returned"]
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        assert (await session.run("x")).text.endswith("1")
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("'x' in globals()")).text.endswith("False")
        there = {each["kernel"]["id"] for each in server.api("GET", "sessions") if "kernel-super" in each["path"]}
        assert len(there) == 1
        ended = await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])
        assert not ended.is_error, ended.text
        assert not there & {each["id"] for each in server.api("GET", "kernels")}
    assert tokens_found(server.token, home.path / "logs", home.path / "run") == []
    assert server.token not in (home.path / "daemon.log").read_text()


async def test_one_out_of_reach_is_not_said_to_be_gone(home: Home, server: JupyterServer) -> None:
    """The last one here: what it leaves on the server is ended with that."""
    async with wire(server.port) as relay, home.client(env=elsewhere(home, server, relay.port)) as session:
        used = await session.call("kernel_use_env", env_name="gpu:python3")
        assert not used.is_error, used.text
        relay.cut()
        stopped = await asyncio.to_thread(home.cli, "stop", "--kernels")
    assert stopped.returncode != 0
    assert "are gone" not in stopped.stdout
    assert f"out of its reach: kernel {used.facts['kernel_id']}" in stopped.stderr
