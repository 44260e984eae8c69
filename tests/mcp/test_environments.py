"""Promise: a session can move between kernels: other environments', other sessions', people's notebooks'."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.support import Home

pytestmark = pytest.mark.anyio


@pytest.fixture
def environment(desk: Home) -> Path:
    """A virtual environment in the project that sees the packages of the one that runs the tests."""
    prefix = desk.project / ".venv"
    venv.create(prefix, with_pip=False, symlinks=True)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    folder = next(Path(entry) for entry in sys.path if entry.endswith(f"{version}/site-packages"))
    own = prefix / "lib" / version / "site-packages"
    (own / "shared.pth").write_text(f"{folder}\n")
    for part in folder.glob("ipykernel*"):  # so that it is seen to have one of its own
        (own / part.name).symlink_to(part)
    return prefix


@pytest.fixture
def runtime(desk: Home) -> str:
    """A Jupyter runtime folder of the test's own."""
    folder = desk.project / "runtime"
    folder.mkdir(mode=0o700)
    return str(folder)


@pytest.fixture
def notebooks_kernel(runtime: str) -> Iterator[BlockingKernelClient]:
    """A kernel that plain Jupyter started over TCP for somebody's notebook, with that somebody's client."""
    file = os.path.join(runtime, "kernel-0a1b2c3d.json")
    manager = KernelManager(kernel_name="python3", connection_file=file)
    manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    try:
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


async def test_another_environments_kernel_is_used_and_left_again_with_its_variables(
    desk: Home, environment: Path, era: str
) -> None:
    async with desk.client(era, "--python", sys.executable) as session:
        await session.run("x = 'of the default'")
        moved = await session.call("kernel_use_env", env_name=str(environment))
        assert not moved.is_error, moved.text
        there = await session.run("import sys; print(sys.prefix); 'x' in globals()")
        await session.run("x = 'of the other'")
        listed = await session.call("kernel_list_envs")
        detached = await session.call("kernel_detach")
        back = await session.run("x")
        returned = await session.call("kernel_use_env", env_name=str(environment))
        again = await session.run("x")
        default = await session.call("kernel_use_env", env_name="default")
        home = await session.run("x")
        history = await session.call("kernel_history")
    assert moved.facts["interpreter"].startswith(str(environment))
    assert there.text.splitlines()[1:] == [str(environment), "Out[1]: False"]
    current = [row["prefix"] for row in listed.facts["environments"] if row["current"]]
    assert current == [str(environment)]
    assert detached.facts["left"] == moved.facts["kernel_id"]
    assert back.text.splitlines()[-1] == "'of the default'"
    assert returned.facts["returned"]
    assert returned.facts["kernel_id"] == moved.facts["kernel_id"]
    assert again.text.splitlines()[-1] == "'of the other'"
    assert not default.is_error, default.text
    assert home.text.splitlines()[-1] == "'of the default'"
    assert len(desk.kernels()) == 2
    assert "note" in {entry["kind"] for entry in history.facts["entries"]}


async def test_ipykernel_is_installed_in_an_environment_if_asked_for(desk: Home) -> None:
    prefix = desk.project / ".venv"
    venv.create(prefix, with_pip=False, symlinks=True)
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with desk.client() as session:
        arguments = {"env_name": str(prefix), "install_ipykernel": True}
        used = await session.client.call_tool("kernel_use_env", arguments, progress_callback=hear)
        assert not used.is_error, used
        found = (await session.call("kernel_list_envs")).facts["environments"]
        (here,) = [each for each in found if each["prefix"] == str(prefix)]
        assert here["ipykernel"], here
        assert (await session.call("kernel_status")).facts["ipykernel"] == here["ipykernel"]
        seen = await session.run("import ipykernel; ipykernel.__file__")
        assert str(prefix) in seen.text
        again = await session.call("kernel_use_env", **arguments)
        assert again.facts["returned"]


async def test_the_projects_own_environment_is_the_default_and_the_first_result_says_so(
    desk: Home, environment: Path
) -> None:
    below = desk.project / "src"
    below.mkdir()
    async with desk.client("legacy", cwd=below, env={"VIRTUAL_ENV": sys.prefix}) as session:
        before = await session.call("kernel_status")
        first = await session.run("import sys; print(sys.prefix)")
        second = await session.run("1 + 1")
        after = await session.call("kernel_status")
    assert str(environment) in first.text.splitlines()[-1]
    for told in (before.text, first.text, after.text):
        assert f"it is the project's .venv ({desk.project})" in told
    assert "project's .venv" not in second.text


async def test_a_module_that_is_missing_is_told_of_with_where_it_is(desk: Home, environment: Path) -> None:
    other = desk.project / "other"
    venv.create(other, with_pip=False, symlinks=True)
    library = next((other / "lib").glob("python*/site-packages"))
    (library / "only_there.py").touch()
    async with desk.client("legacy", env={"VIRTUAL_ENV": str(other)}) as session:
        missing = await session.run("import only_there")
        in_it = await session.run("try:\n    import only_there\nexcept ImportError as error:\n    print(error)")
        inside = await session.run("import json.nothing")
    assert f"only_there is not in this kernel's environment ({environment}); it is in other ({other})" in missing.text
    assert "only_there` installs it here" in missing.text
    assert "kernel_use_env" not in in_it.text + inside.text


async def test_a_default_kernel_that_borrows_its_ipykernel_says_so_once(desk: Home) -> None:
    prefix = desk.project / ".venv"
    venv.create(prefix, with_pip=False, symlinks=True)
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with desk.client("legacy", "--python", str(prefix / "bin/python")) as session:
        code = {"code": "import sys; print(sys.prefix)"}
        first = await session.client.call_tool("kernel_exec", code, progress_callback=hear)
        second = await session.run(code["code"])
    assert "starting the session's kernel" in told
    text = "".join(block.text for block in first.content if block.type == "text")
    assert "borrows one" in text
    for said in (text, second.text):
        assert str(prefix) in said
    assert "borrows one" not in second.text


async def test_a_restart_fetches_an_ipykernel_that_is_gone_from_the_cache_or_takes_the_environments_own(
    desk: Home,
) -> None:
    prefix = desk.project / ".venv"
    venv.create(prefix, with_pip=False, symlinks=True)
    async with desk.client() as session:
        used = await session.call("kernel_use_env", env_name=str(prefix))
        assert not used.is_error, used.text
        shutil.rmtree(desk.path / "cache")
        restarted = await session.call("kernel_restart")
        assert not restarted.is_error, restarted.text
        assert str(desk.path / "cache") in (await session.run("import ipykernel; ipykernel.__file__")).text
        uv = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(prefix / "bin/python")]
        subprocess.run([*uv, "ipykernel==7.3.0"], check=True)
        assert not (await session.call("kernel_restart")).is_error
        assert str(prefix) in (await session.run("import ipykernel; ipykernel.__file__")).text
        assert (await session.call("kernel_status")).facts["ipykernel"] == "7.3.0"


async def test_environments_are_listed_with_what_they_have(desk: Home, environment: Path, era: str) -> None:
    async with desk.client(era) as session:
        listed = await session.call("kernel_list_envs")
    rows = {row["prefix"]: row for row in listed.facts["environments"]}
    assert sys.prefix in rows
    assert rows[sys.prefix]["ipykernel"]
    assert rows[sys.prefix]["python_version"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}")
    assert sys.prefix in listed.text
    assert not desk.kernels()


async def test_a_kernel_of_another_session_is_listed_attached_and_left_running(desk: Home, era: str) -> None:
    elsewhere = desk.project / "elsewhere"
    elsewhere.mkdir()
    async with desk.client(era) as session, desk.client(era, cwd=elsewhere) as other:
        kernel_id = (await session.run("x = 41")).facts["kernel_id"]
        listed = await other.call("kernel_list_running")
        attached = await other.call("kernel_attach", kernel_id=kernel_id[:8])
        assert not attached.is_error, attached.text
        there = await other.run("x = x + 1; x")
        detached = await other.call("kernel_detach")
        apart = await other.run("'x' in globals()")
        kept = await session.run("x")
    (row,) = [row for row in listed.facts["kernels"] if row["kernel_id"] == kernel_id]
    assert (row["state"], row["current"]) == ("idle", False)
    assert kernel_id in listed.text
    assert there.facts["kernel_id"] == kernel_id
    assert there.text.splitlines()[-1] == "42"
    assert not detached.is_error, detached.text
    assert apart.text.splitlines()[-1] == "False"
    assert kept.text.splitlines()[-1] == "42"


@pytest.mark.parametrize("named", ["kernel id", "connection file"])
async def test_a_notebooks_kernel_is_found_attached_and_left_running(
    desk: Home, runtime: str, notebooks_kernel: BlockingKernelClient, era: str, named: str
) -> None:
    wanted = "0a1b" if named == "kernel id" else os.path.join(runtime, "kernel-0a1b2c3d.json")
    _run(notebooks_kernel, "x = 41")
    async with desk.client(era, env={"JUPYTER_RUNTIME_DIR": runtime}) as session:
        listed = await session.call("kernel_list_running")
        attached = await session.call("kernel_attach", kernel_id=wanted)
        assert not attached.is_error, attached.text
        ran = await session.run("print('from here')\nx = x + 1\nx")
        shown = await session.call("kernel_inspect", var_name="x")
        names = await session.call("kernel_list_vars")
        status = await session.call("kernel_status")
        restarted = await session.call("kernel_restart")
        ended = await session.call("kernel_shutdown", kernel_id=attached.facts["kernel_id"])
        detached = await session.call("kernel_detach")
        apart = await session.run("'x' in globals()")
    assert [row["kernel_id"] for row in listed.facts["others"]] == ["0a1b2c3d"]
    assert "0a1b2c3d" in listed.text
    assert "from here" in ran.text
    assert ran.text.splitlines()[-1].endswith("42")
    assert "42" in shown.text
    assert [row["name"] for row in names.facts["variables"]] == ["x"]
    assert status.facts["state"] == "idle"
    assert not status.facts["owned"]
    assert restarted.is_error, "it is somebody else's"
    assert ended.is_error, "it is somebody else's"
    assert not detached.is_error, detached.text
    assert apart.text.splitlines()[-1] == "False"
    assert _run(notebooks_kernel, "assert x == 42") == "ok", "it runs on, as the session left it"


def _run(client: BlockingKernelClient, code: str) -> str:
    return str(client.execute_interactive(code, timeout=60)["content"]["status"])
