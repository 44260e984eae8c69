"""Kernels of a Jupyter server on this machine: listed with their notebooks, attached, left as they were."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import JupyterServer, jupyter_server
from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with jupyter_server(tmp_path_factory.mktemp("jupyter") / "server") as server:
        yield server


@pytest.fixture
def env(server: JupyterServer) -> dict[str, str]:
    return {"JUPYTER_RUNTIME_DIR": str(server.runtime)}


async def test_a_notebooks_kernel_is_listed_once_with_its_notebook(
    home: Home, server: JupyterServer, env: dict[str, str]
) -> None:
    kernel_id = server.notebook("listed.ipynb")
    async with home.client(env=env) as session:
        listed = await session.call("kernel_list_running")
        assert listed.facts["troubles"] == []
        (row,) = [each for each in listed.facts["others"] if each["kernel_id"] == kernel_id]
        assert row["notebook"] == str(server.folder / "root" / "listed.ipynb")
        assert row["connection_file"] == str(server.runtime / f"kernel-{kernel_id}.json")
        assert row["server"] == server.url
        assert listed.text.count(kernel_id) == 1
        await session.call("kernel_attach", kernel_id=kernel_id[:9])
        after = (await session.call("kernel_list_running")).facts
        assert kernel_id not in [each["kernel_id"] for each in after["others"]]
        (row,) = after["kernels"]
        assert (row["current"], row["owned"]) == (True, False)
        assert row["notebook"].endswith("listed.ipynb")


async def test_it_is_attached_by_whatever_names_it(home: Home, server: JupyterServer, env: dict[str, str]) -> None:
    root = server.folder / "root"
    local = server.url.replace("127.0.0.1", "localhost")
    ways: dict[str, Callable[[str], str]] = {
        "path": lambda kernel_id: str(root / "path.ipynb"),
        "relative name": lambda kernel_id: "relative name.ipynb",
        "a page": lambda kernel_id: f"{local}lab/tree/a%20page.ipynb?token={server.token}",
        "api": lambda kernel_id: f"{server.url}api/kernels/{kernel_id}",
        "file": lambda kernel_id: str(server.runtime / f"kernel-{kernel_id}.json"),
        "prefix": lambda kernel_id: kernel_id[:12],
    }
    async with home.client(env=env) as session:
        for way, name in ways.items():
            kernel_id = server.notebook(f"{way}.ipynb")
            attached = await session.call("kernel_attach", kernel_id=name(kernel_id))
            assert not attached.is_error, attached.text
            assert attached.facts["connection_file"].endswith(f"{kernel_id}.json"), way
        unknown = await session.call("kernel_attach", kernel_id="no-such-notebook.ipynb")
        assert unknown.is_error
        assert "kernel_list_running" in unknown.text


async def test_their_kernel_works_like_ours_and_lives_on(
    home: Home, server: JupyterServer, env: dict[str, str]
) -> None:
    kernel_id = server.notebook("work.ipynb")
    assert server.ask(kernel_id, "globals().setdefault('x', 40)") == "40"
    async with home.client(env=env) as session:
        await session.run("ours = 1")
        await session.call("kernel_attach", kernel_id="work.ipynb")
        assert (await session.run("x += 2; x")).text.endswith("42")
        plotted = await session.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
        assert len(plotted.images) == 1, plotted.text
        assert "x" in (await session.call("kernel_list_vars")).text
        sleeping = await session.call("kernel_exec", code="import time\nwhile True: time.sleep(0.05)", wait=False)
        await until(lambda: server.api("GET", f"kernels/{kernel_id}")["execution_state"] == "busy", "it runs")
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=sleeping.facts["execution_id"], wait=60)
        assert "KeyboardInterrupt" in ended.text
        refused = await session.call("kernel_shutdown", kernel_id=plotted.facts["kernel_id"])
        assert refused.is_error
        assert "force=true" in refused.text
        assert (await session.call("kernel_restart")).is_error
        await session.call("kernel_detach")
        assert (await session.run("ours")).text.endswith("1")
        home.cli("stop", "--kernels")
    assert server.ask(kernel_id, "x") == "42"


async def test_its_end_by_others_ends_the_cell_and_is_told(
    home: Home, server: JupyterServer, env: dict[str, str]
) -> None:
    kernel_id = server.notebook("ended.ipynb")
    async with home.client(env=env) as session:
        await session.call("kernel_attach", kernel_id="ended.ipynb")
        begun = await session.call("kernel_exec", code="import time\ntime.sleep(600)", wait=False)
        await until(lambda: server.api("GET", f"kernels/{kernel_id}")["execution_state"] == "busy", "it runs")
        server.api("DELETE", f"kernels/{kernel_id}")
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert ended.facts["status"] == "dead", ended.text
        assert "has no kernel" in ended.text
        assert "kernel_detach returns to the session's default kernel" in ended.text
        refused = await session.call("kernel_exec", code="1")
        assert refused.is_error
        assert "kernel_detach returns to the session's default kernel" in refused.text
        restarted = await session.call("kernel_restart", force=True)
        assert restarted.is_error
        assert "is gone: kernel_detach leaves it" in restarted.text
        assert "which is gone" in (await session.call("kernel_detach")).text
        assert (await session.run("1")).text.endswith("1")


async def test_its_restart_by_others_ends_the_cell_and_is_told(
    home: Home, server: JupyterServer, env: dict[str, str]
) -> None:
    kernel_id = server.notebook("again.ipynb")
    async with home.client(env=env) as session:
        await session.call("kernel_attach", kernel_id="again.ipynb")
        begun = await session.call("kernel_exec", code="x = 1\nimport time\ntime.sleep(600)", wait=False)
        await until(lambda: server.api("GET", f"kernels/{kernel_id}")["execution_state"] == "busy", "it runs")
        server.api("POST", f"kernels/{kernel_id}/restart", {})
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert ended.facts["status"] == "dead", ended.text
        assert "restarted" in ended.text
        assert (await session.run("'x' in globals()")).text.endswith("False")


async def test_force_ends_it_and_its_server_does_not_bring_it_back(
    home: Home, server: JupyterServer, env: dict[str, str]
) -> None:
    kernel_id = server.notebook("over.ipynb")
    async with home.client(env=env) as session:
        attached = await session.call("kernel_attach", kernel_id="over.ipynb")
        ended = await session.call("kernel_shutdown", kernel_id=attached.facts["kernel_id"], force=True)
        assert not ended.is_error, ended.text
        assert kernel_id not in [each["id"] for each in server.api("GET", "kernels")]


async def test_a_server_that_was_killed_is_left_out(home: Home, tmp_path: Path) -> None:
    gone = tmp_path / "jpserver-1.json"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
        # its pid was given to another process since
        gone.write_text(json.dumps({"url": url, "token": "t", "pid": os.getpid(), "root_dir": str(tmp_path)}))
        async with home.client(env={"JUPYTER_RUNTIME_DIR": str(tmp_path)}) as session:
            listed = await session.call("kernel_list_running")
    assert listed.facts["others"] == []
    assert listed.facts["troubles"] == []
