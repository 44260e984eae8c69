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

from tests.ipykernels import built
from tests.support import Home, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

WEDGES = "7.0.1"
"""Two shell requests at a time can stop it from answering: https://github.com/ipython/ipykernel/issues/1529."""


OLD = {"5.5.6": "answers nothing while a cell runs", "6.0.3": "has no subshells", "6.31.0": "has no subshells"}


def with_ipykernel(version: str) -> Path:
    """An environment with that ipykernel: the one that others test with, where they do."""
    wanted = [f"ipykernel=={version}"]
    if version < "6.2":
        wanted += ["jupyter_client<8", "ipython<9", "setuptools<81", "ipython_genutils"]  # as they were then
    return built(sys.executable, *wanted)


@pytest.fixture(scope="module")
def prefix() -> Path:
    """An environment with the one that wedges."""
    return with_ipykernel(WEDGES)


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


@pytest.mark.parametrize("version", OLD)
async def test_older_ones_work_and_what_they_lack_is_said(home: Home, version: str) -> None:
    prefix = with_ipykernel(version)
    started = home.project / "started"
    async with home.client() as session:
        used = await session.call("kernel_use_env", env_name=str(prefix))
        assert not used.is_error, used.text
        assert (await session.run("import ipykernel; x = 41; ipykernel.__version__")).text.endswith(f"'{version}'")
        assert f"ipykernel {version}: it {OLD[version]}" in (await session.call("kernel_status")).text
        assert "41" in (await session.call("kernel_list_vars")).text
        code = f"import time\nopen({str(started)!r}, 'w').close()\nwhile True: time.sleep(0.05)"
        begun = await session.call("kernel_exec", code=code, wait=False)
        await until(started.exists, "the cell runs")
        assert (await session.call("kernel_interrupt")).facts["stopped"]
        ended = await session.call("kernel_output", execution_id=begun.facts["execution_id"], wait=60)
        assert ended.facts["status"] == "interrupted"
        assert "KeyboardInterrupt" in ended.text
        assert (await session.run("print('printed'); x + 1")).text.endswith("printed\nOut[3]: 42")


async def test_an_older_kernel_of_somebodys_is_worked_in_and_looked_into(home: Home) -> None:
    prefix = with_ipykernel("5.5.6")
    with somebodys(prefix, home.project / "runtime") as file:
        async with home.client(env={"JUPYTER_RUNTIME_DIR": str(file.parent)}) as session:
            attached = await session.call("kernel_attach", kernel_id="0a1b2c3d")
            assert "ipykernel 5.5.6: it answers nothing while a cell runs" in attached.text, attached.text
            assert (await session.run("x = 41; x + 1")).text.endswith("42")
            assert "41" in (await session.call("kernel_list_vars")).text


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
