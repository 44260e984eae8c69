"""Promise: a kernel starts with the first execution, is restarted, interrupted and ended only on request."""

from __future__ import annotations

import os
import sys
import textwrap
from functools import partial

import anyio
import pytest

from tests.support import DEADLINE_S, Home, Result, Session, until

pytestmark = pytest.mark.anyio


async def test_only_the_first_execution_starts_a_kernel(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.client.list_tools()
        for name in ("kernel_status", "kernel_list_vars", "kernel_history", "kernel_list_running", "kernel_list_envs"):
            result = await session.call(name)
            assert not result.is_error, result.text
            assert not desk.kernels(), f"{name} started a kernel"
        for name, arguments in (("kernel_status", {}), ("kernel_list_vars", {}), ("kernel_inspect", {"var_name": "x"})):
            result = await session.call(name, **arguments)
            assert "no kernel yet" in result.text
            assert "kernel_exec" in result.text, "it says what starts one"
        assert "Nothing was run" in (await session.call("kernel_history")).text
        assert not desk.kernels()
        await session.run("1")
        assert len(desk.kernels()) == 1


async def test_status_says_which_kernel_where_and_how_it_is(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("1")
        await session.run("2")
        status = await session.call("kernel_status")
    (kernel,) = desk.kernels()
    facts = status.facts
    assert facts["pid"] == kernel.pid
    assert facts["interpreter"] == sys.executable
    assert facts["kernel_directory"] == os.path.realpath(desk.project)
    assert (facts["state"], facts["execution_count"], facts["name"]) == ("idle", 2, "default")
    assert 0 <= facts["uptime_s"] < 120
    assert facts["memory_bytes"] > 1_000_000
    for shown in (facts["kernel_id"], sys.executable, facts["session"], "idle", "execution count 2", "MB", "up "):
        assert shown in status.text


async def test_restart_clears_variables_and_counts_while_history_goes_on(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        (before,) = desk.kernels()
        restarted = await session.call("kernel_restart")
        assert not restarted.is_error, restarted.text
        (after,) = desk.kernels()
        fresh = await session.run("'x' in globals(), [line for line in In if line][:-1], Out")
        history = await session.call("kernel_history")
        saved = await session.call("kernel_save_notebook", path="all.ipynb")
    assert after != before
    assert not before.is_running()
    assert fresh.facts["execution_count"] == 1
    assert fresh.text.splitlines()[-1] == "(False, [], {})"
    entries = history.facts["entries"]
    assert [entry["kind"] for entry in entries] == ["code", "note", "code"]
    assert entries[0]["code"] == "x = 41"
    assert "restarted" in entries[1]["code"]
    assert saved.facts["cells"] == 3


async def test_restart_interrupts_what_runs_and_says_so(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        running = await session.run("import time\ntime.sleep(1000)", wait=False)
        restarted = await session.call("kernel_restart")
        read = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=60)
        after = await session.run("'time' in globals()")
    assert not restarted.is_error, restarted.text
    assert f"Execution {running.facts['execution_id']} was running, and ended with it." in restarted.text
    assert read.facts["status"] not in ("ok", "running", "queued")
    assert "restart" in read.text
    assert after.text.splitlines()[-1] == "False"


_ENDS_AS_ITS_KERNEL_IS_ASKED_TO = """\
import time
kernel = get_ipython().kernel
while getattr(kernel, "_shutdown_message", None) is None:
    time.sleep(0.01)"""


async def test_restart_says_nothing_of_a_cell_that_came_to_its_own_end(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        running = await session.run(_ENDS_AS_ITS_KERNEL_IS_ASKED_TO, wait=False)
        restarted = await session.call("kernel_restart")
        read = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=60)
    assert not restarted.is_error, restarted.text
    assert read.facts["status"] == "ok", read.text
    assert "was running" not in restarted.text


async def test_interrupt_stops_the_cell_and_keeps_the_variables(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        running = await session.run("import time\nx = 41\nprint('begun', flush=True)\ntime.sleep(1000)", timeout=0.5)
        interrupted = await session.call("kernel_interrupt")
        ended = await session.call("kernel_output", execution_id=running.facts["execution_id"])
        idle = await session.call("kernel_interrupt")
        after = await session.run("x")
    assert interrupted.facts["stopped"]
    assert interrupted.facts["execution_id"] == running.facts["execution_id"]
    assert ended.facts["status"] == "interrupted"
    assert "begun" in ended.text
    assert "KeyboardInterrupt" in ended.text
    assert not idle.is_error
    assert "nothing is running" in idle.text
    assert after.text.splitlines()[-1] == "41"


async def test_an_interrupt_aimed_at_a_queued_execution_leaves_the_running_one_alone(desk: Home, era: str) -> None:
    gate = desk.project / "gate"
    async with desk.client(era) as session:
        cell = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n'whole'"
        running = await session.run(cell, wait=False)
        queued = await session.run("ran = True", wait=False)
        assert queued.facts["status"] == "queued"
        stopped = await session.call("kernel_interrupt", execution_id=queued.facts["execution_id"])
        gate.touch()
        ended = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=60)
        after = await session.run("'ran' in globals()")
    assert stopped.facts["stopped"]
    assert ended.facts["status"] == "ok"
    assert after.text.splitlines()[-1] == "False"


async def test_a_kernel_that_was_ended_is_replaced_by_the_next_execution(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        kernel_id = (await session.run("x = 41")).facts["kernel_id"]
        ended = await session.call("kernel_shutdown", kernel_id=kernel_id[:6])
        assert not ended.is_error, ended.text
        assert not desk.kernels()
        again = await session.call("kernel_shutdown", kernel_id=kernel_id)
        after = await session.run("'x' in globals()")
    assert not again.is_error, "to end what is gone is no error"
    assert after.facts["kernel_id"] != kernel_id
    assert after.text.splitlines()[-1] == "False"


async def test_a_kernel_that_is_being_ended_is_not_gone_on_with(desk: Home, era: str) -> None:
    ending, end = desk.project / "ending", desk.project / "end"
    stays = f"""
        import atexit, pathlib, time
        @atexit.register
        def stay():
            pathlib.Path({str(ending)!r}).touch()
            while not pathlib.Path({str(end)!r}).exists():
                time.sleep(0.01)
    """
    async with desk.client(era) as session, desk.client(era) as other, anyio.create_task_group() as group:
        kernel = (await session.run(textwrap.dedent(stays))).facts["kernel_id"]
        group.start_soon(partial(other.call, "kernel_shutdown", kernel_id=kernel))
        await until(ending.exists, "the kernel is being ended")
        attached = await session.call("kernel_attach", kernel_id=kernel, session=f"beside-{era}")
        used = await session.call("kernel_use_env", env_name="default")
        end.touch()
    async with desk.client(era) as session:
        ran = await session.run("x = 41")
    assert attached.is_error, attached.text
    assert f"kernel {kernel} is about to be gone" in attached.text
    assert used.facts["kernel_id"] == ran.facts["kernel_id"] != kernel


async def test_a_dead_kernel_is_explained_and_replaced_only_on_request(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        (kernel,) = desk.kernels()
        kernel.kill()
        status = await _status_once_dead(session)
        refused = await session.call("kernel_exec", code="x")
        assert not desk.kernels(), "nothing was started in its place"
        restarted = await session.call("kernel_restart")
        after = await session.run("'x' in globals()")
    assert "SIGKILL" in status.text, "what is said to be dead is explained"
    assert refused.is_error
    assert "SIGKILL" in refused.text
    assert "kernel_restart" in refused.text
    assert not restarted.is_error, restarted.text
    assert after.text.splitlines()[-1] == "False"


async def _status_once_dead(session: Session) -> Result:
    """The first status that does not take the kernel for alive."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            status = await session.call("kernel_status")
            if status.facts["state"] == "dead":
                return status


async def test_a_restart_at_the_very_moment_of_a_kernels_death_gives_a_kernel_that_stays(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        for _ in range(5):
            await session.run("x = 41")
            (kernel,) = desk.kernels()
            kernel.kill()
            restarted = await session.call("kernel_restart")
            assert not restarted.is_error, restarted.text
            after = await session.run("'x' in globals()")
            assert after.text.splitlines()[-1] == "False"
            status = await session.call("kernel_status")
            assert status.facts["state"] == "idle", status.text
            assert os.path.exists(status.facts["connection_file"])


@pytest.mark.parametrize("call", ["kernel_list_vars", "kernel_inspect", "kernel_exec"])
async def test_a_call_at_the_very_moment_of_a_kernels_death_is_told_of_it(desk: Home, era: str, call: str) -> None:
    arguments = {"kernel_inspect": {"var_name": "x"}, "kernel_exec": {"code": "x"}}.get(call, {})
    async with desk.client(era) as session:
        await session.run("x = 41")
        (kernel,) = desk.kernels()
        kernel.kill()
        result = await session.call(call, **arguments)
    assert "SIGKILL" in result.text
