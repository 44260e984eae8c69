"""Jupyter Enterprise Gateway, which lists neither kernels nor sessions: kernels are started there, kept and ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import jupyter_server, tokens_found
from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with the gateway: it wants jupyter_client < 7, and so an environment of its own."""
    place = tmp_path_factory.mktemp("gateway") / "environment"
    python = str(place / "bin" / "python")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
    wanted = ["jupyter_enterprise_gateway", "ipykernel", "setuptools<81"]
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, *wanted], check=True)
    return python


async def test_a_kernel_there_is_ours_from_start_to_end(home: Home, tmp_path: Path, gateway: str) -> None:
    everybody = "--EnterpriseGatewayApp.unauthorized_users=[]"  # root may be who tests
    with jupyter_server(tmp_path / "eg", everybody, kind="enterprise_gateway", python=gateway) as server:
        servers = f"eg={server.url}?token={server.token}"
        env = {"JUPYTER_RUNTIME_DIR": str(home.project), "KERNEL_SUPERVISOR_SERVERS": servers}
        async with home.client(env=env) as session:
            assert "does not list its kernels" in (await session.call("kernel_list_running")).text
            used = await session.call("kernel_use_env", env_name="eg:python3")
            assert not used.is_error, used.text
            await session.run("import os, sys\nx = 41")
            assert (await session.run("sys.prefix")).text.endswith(repr(str(Path(gateway).parents[1])))
            assert "x" in (await session.call("kernel_list_vars")).text
            started = home.project / "started"
            code = f"open({str(started)!r}, 'w').close()\nwhile True: pass"
            number = (await session.call("kernel_exec", code=code, wait=False)).facts["execution_id"]
            await until(started.exists, "the cell runs")
            killed = home.kill_daemon()
            await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
            assert (await session.call("kernel_output", execution_id=number)).facts["status"] == "running"
            interrupted = await session.call("kernel_interrupt")
            assert interrupted.facts["stopped"], interrupted.text
            assert "KeyboardInterrupt" in (await session.call("kernel_output", execution_id=number)).text
            assert (await session.run("x")).text.endswith("41")
            assert not (await session.call("kernel_restart")).is_error
            assert (await session.run("'x' in globals()")).text.endswith("False")
            ended = await session.call("kernel_shutdown", kernel_id=used.facts["kernel_id"])
            assert not ended.is_error, ended.text
        assert tokens_found(server.token, home.path, home.project) == []
