"""Environments with ipykernels that lack something: they work, and what they lack is said, in people's kernels too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

WEDGES = "7.0.1"
"""Two shell requests at a time can stop it from answering: https://github.com/ipython/ipykernel/issues/1529."""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with that ipykernel."""
    place = tmp_path_factory.mktemp("old") / "wedging"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, str(place)], check=True)
    python = str(place / "bin/python")
    subprocess.run([*uv, "pip", "install", "-q", "--python", python, f"ipykernel=={WEDGES}"], check=True)
    return place


@contextmanager
def somebodys(prefix: Path, runtime: Path) -> Iterator[Path]:
    """The connection file of a kernel that plain Jupyter started in that environment."""
    runtime.mkdir(mode=0o700)
    manager = KernelManager(connection_file=str(runtime / "kernel-0a1b2c3d.json"))
    argv = [str(prefix / "bin/python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=argv)
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    client.stop_channels()
    try:
        yield runtime / "kernel-0a1b2c3d.json"
    finally:
        manager.shutdown_kernel(now=True)


async def test_a_kernel_of_ours_says_that_two_clients_can_wedge_it(home: Home, prefix: Path) -> None:
    async with home.client() as session:
        used = await session.call("kernel_use_env", env_name=str(prefix))
        assert not used.is_error, used.text
        assert (await session.run("import ipykernel; ipykernel.__version__")).text.endswith(f"'{WEDGES}'")
        status = await session.call("kernel_status")
        assert status.facts["ipykernel"] == WEDGES
        assert f"ipykernel {WEDGES}: two requests at the same time" in status.text
        assert "7.4 or later" in status.text


async def test_somebodys_kernel_says_it_when_it_is_attached_and_later(home: Home, prefix: Path) -> None:
    warning = f"ipykernel {WEDGES}: two requests at the same time"
    with somebodys(prefix, home.project / "runtime") as file:
        async with home.client(env={"JUPYTER_RUNTIME_DIR": str(file.parent)}) as session:
            attached = await session.call("kernel_attach", kernel_id="0a1b2c3d")
            assert warning in attached.text, attached.text
            for number in range(3):
                assert (await session.run(str(number))).text.endswith(str(number))
            assert warning in (await session.call("kernel_status")).text
            killed = home.kill_daemon()
            await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
            status = await session.call("kernel_status")
            assert status.facts["ipykernel"] == WEDGES
            assert warning in status.text
