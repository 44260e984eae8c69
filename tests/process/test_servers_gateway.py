"""Jupyter Kernel Gateway, and servers that speak the old subprotocol: their kernels work like those of others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.servers import JupyterServer, jupyter_server, tokens_found
from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def configure(home: Home, **servers: JupyterServer) -> None:
    home.path.mkdir()
    config = home.path / "servers.json"
    config.write_text(
        json.dumps({name: {"url": each.url, "token_variable": "A_TOKEN"} for name, each in servers.items()})
    )
    config.chmod(0o600)


async def works_like_ours(home: Home, server: JupyterServer, kernel_id: str) -> None:
    home.path.mkdir()
    config = home.path / "servers.json"
    config.write_text(json.dumps({"there": {"url": server.url, "token_variable": "A_TOKEN"}}))
    config.chmod(0o600)
    env = {"JUPYTER_RUNTIME_DIR": str(home.project), "A_TOKEN": server.token}
    async with home.client(env=env) as session:
        attached = await session.call("kernel_attach", kernel_id=f"there:{kernel_id}")
        assert not attached.is_error, attached.text
        plotted = await session.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()\nx = 41")
        assert len(plotted.images) == 1, plotted.text
        assert "x" in (await session.call("kernel_list_vars")).text
        begun = await session.call("kernel_exec", code="import time\nwhile True: time.sleep(0.05)", wait=False)
        busy = f"kernels/{kernel_id}"
        await until(lambda: server.api("GET", busy)["execution_state"] == "busy", "it runs")
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert "KeyboardInterrupt" in ended.text
        used = await session.call("kernel_use_env", env_name="there:python3")
        assert not used.is_error, used.text
        await session.run("y = 1")
        assert not (await session.call("kernel_restart")).is_error
        assert (await session.run("'y' in globals()")).text.endswith("False")
        assert not (await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])).is_error
    assert server.ask(kernel_id, "x") == "41"
    assert tokens_found(server.token, home.path, home.project) == []


@pytest.mark.parametrize("lists", [True, False])
async def test_kernel_gateway(home: Home, tmp_path: Path, lists: bool) -> None:
    option = f"--JupyterWebsocketPersonality.list_kernels={lists}"
    with jupyter_server(tmp_path / "gateway", option, kind="kernel_gateway") as server:
        await works_like_ours(home, server, server.kernel())


async def test_a_server_with_the_default_subprotocol(home: Home, tmp_path: Path) -> None:
    option = "--ZMQChannelsWebsocketConnection.kernel_ws_protocol="
    with jupyter_server(tmp_path / "server", option, "--ServerApp.base_url=/user/me/", base="/user/me/") as server:
        await works_like_ours(home, server, server.kernel())
