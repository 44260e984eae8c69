"""Promise: a cell that takes long is left alone, waited for, queued behind or stopped, as its client wants."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support import DEADLINE_S, Home, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def _cell(desk: Home, name: str, then: str = "") -> str:
    """A cell that says that it began, and waits for its gate."""
    begun, gate = desk.project / f"{name}-begun", desk.project / f"{name}-gate"
    return (
        f"import os, time\nprint('{name} begins', flush=True)\nopen({str(begun)!r}, 'w').close()\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n{then}"
    )


async def _begun(desk: Home, name: str) -> Path:
    """Its gate, once it runs."""
    await until((desk.project / f"{name}-begun").exists, f"{name} runs")
    return desk.project / f"{name}-gate"


async def _entry(session: Session, number: int) -> dict[str, Any]:
    entries = (await session.call("kernel_history")).facts["entries"]
    return next(dict(each) for each in entries if each["execution_id"] == number)


async def _settled(session: Session, number: int) -> dict[str, Any]:
    with anyio.fail_after(DEADLINE_S):
        while True:
            entry = await _entry(session, number)
            if entry["status"] not in ("queued", "running"):
                return entry


async def test_a_long_cell_with_small_limits_is_read_bit_by_bit(desk: Home, era: str) -> None:
    noise = "for n in range(2000): print('line', n, 'x' * 20)\n"
    async with desk.client(era) as session:
        running = await session.run(_cell(desk, "long", noise + "'end'"), timeout=1, max_chars=500)
        number = running.facts["execution_id"]
        assert running.facts["status"] == "running"
        still = await session.call("kernel_output", execution_id=number, wait=0.1)
        (await _begun(desk, "long")).touch()
        ended = await session.call("kernel_output", execution_id=number, wait=DEADLINE_S, max_chars=500)
        middle = await session.call("kernel_output", execution_id=number, from_line=1000, max_chars=500)
    assert "long begins" in running.text
    assert still.facts["status"] == "running"
    assert ended.facts["status"] == "ok"
    assert ended.facts["truncated"]
    assert len(ended.text) <= 500
    assert ended.text.count("line ") < 40
    assert "line 998 " in middle.text


async def test_progress_is_told_while_a_call_waits(desk: Home, era: str) -> None:
    told: list[str] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with desk.client(era) as session:
        await session.run("1")
        call = asyncio.create_task(
            session.client.call_tool(
                "kernel_exec", {"code": _cell(desk, "slow"), "timeout": 120}, progress_callback=hear
            )
        )
        gate = await _begun(desk, "slow")
        await until(lambda: told, "progress")
        gate.touch()
        await call
    assert "runs for" in told[0]
    assert "slow begins" in told[0]


async def test_a_cancelled_call_interrupts_its_cell_and_no_other(desk: Home, era: str) -> None:
    async with desk.client(era) as session, desk.client(era) as other:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(session.run, _cell(desk, "cancelled"))
                await _begun(desk, "cancelled")
                number = (await other.call("kernel_history")).facts["entries"][-1]["execution_id"]
                behind = await other.run("'unharmed'", wait=False)
                scope.cancel()
        entry = await _settled(other, number)
        after = await other.call("kernel_output", execution_id=behind.facts["execution_id"], wait=DEADLINE_S)
        shown = await other.call("kernel_output", execution_id=number)
    assert entry["status"] == "interrupted"
    assert "KeyboardInterrupt" in shown.text
    assert "cancelled begins" in shown.text, "what it had printed stays readable"
    assert after.text.splitlines()[-1] == "'unharmed'"


async def test_a_cancelled_call_that_waits_in_the_queue_leaves_it(desk: Home, era: str) -> None:
    async with desk.client(era) as session, desk.client(era) as other:
        running = await other.run(_cell(desk, "first", "'whole'"), wait=False)
        gate = await _begun(desk, "first")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(session.run, "ran = True")
                queued = await _last(other, running.facts["execution_id"])
                scope.cancel()
        entry = await _settled(other, queued)
        gate.touch()
        ended = await other.call("kernel_output", execution_id=running.facts["execution_id"], wait=DEADLINE_S)
        after = await other.run("'ran' in globals()")
    assert entry["status"] == "aborted"
    assert ended.text.endswith("'whole'")
    assert after.text.splitlines()[-1] == "False"


async def test_a_cancelled_call_that_runs_a_notebook_stops_with_the_cell_that_runs(desk: Home, era: str) -> None:
    codes = ["x = 41", _cell(desk, "second"), "x = 'ran'"]
    empty: dict[str, Any] = {"metadata": {}, "outputs": []}
    cells = [{"cell_type": "code", "source": code, "execution_count": None, **empty} for code in codes]
    notebook = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": cells}
    (desk.project / "three.ipynb").write_text(json.dumps(notebook))
    async with desk.client(era) as session, desk.client(era) as other:
        await session.run("x = 0")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(partial(session.call, "kernel_load_notebook", path="three.ipynb", run=True))
                await _begun(desk, "second")
                number = (await other.call("kernel_history")).facts["entries"][-2]["execution_id"]
                scope.cancel()
        entry = await _settled(other, number)
        after = await other.run("x")
    assert entry["status"] == "interrupted"
    assert after.text.endswith("41")


async def _last(session: Session, besides: int) -> int:
    with anyio.fail_after(DEADLINE_S):
        while True:
            number = int((await session.call("kernel_history")).facts["entries"][-1]["execution_id"])
            if number != besides:
                return number


async def test_a_client_whose_own_time_is_up_leaves_the_cell_alone(desk: Home, era: str) -> None:
    async with desk.client(era) as session, desk.client(era) as other:
        await session.run("1")
        with pytest.raises(Exception, match=r"(?i)timed out"):
            await session.client.call_tool(
                "kernel_exec", {"code": _cell(desk, "patient", "'whole'")}, read_timeout_seconds=1.5
            )
        gate = await _begun(desk, "patient")
        number = (await other.call("kernel_history")).facts["entries"][-1]["execution_id"]
        assert (await _entry(other, number))["status"] == "running"
        gate.touch()
        ended = await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)
    assert ended.facts["status"] == "ok"
    assert ended.text.endswith("'whole'")


async def test_two_clients_share_a_session_in_the_order_of_their_calls(desk: Home, era: str) -> None:
    async with desk.client(era) as one, desk.client(era) as two:
        first = await one.run(_cell(desk, "first", "said = ['one']"), wait=False)
        gate = await _begun(desk, "first")
        second = await two.run("said.append('two')", wait=False)
        third = await one.run("said.append('one again')\nsaid", wait=False)
        numbers = [each.facts["execution_id"] for each in (first, second, third)]
        gate.touch()
        ended = await two.call("kernel_output", execution_id=numbers[2], wait=DEADLINE_S)
    assert f"behind execution {numbers[0]}" in second.text
    assert f"behind executions {numbers[0]}, {numbers[1]}" in third.text
    assert "another client works in session" in second.text
    assert ended.text.splitlines()[-1] == "['one', 'two', 'one again']"


async def test_a_sub_agent_works_apart_beside_a_long_cell_of_its_own_client(desk: Home, era: str) -> None:
    """One shim, two sessions: the second waits for nothing of the first."""
    async with desk.client(era) as session:
        running = await session.run("x = 41\n" + _cell(desk, "main"), wait=False)
        gate = await _begun(desk, "main")
        apart = await session.run("'x' in globals()", session=f"sub-agent-{era}")
        status = await session.call("kernel_status", session=f"sub-agent-{era}")
        stopped = await session.call("kernel_interrupt", session=f"sub-agent-{era}")
        still = await session.call("kernel_output", execution_id=running.facts["execution_id"])
        gate.touch()
        ended = await session.call("kernel_output", execution_id=running.facts["execution_id"], wait=DEADLINE_S)
    assert apart.text.splitlines()[-1] == "False"
    assert apart.facts["session"] == f"{desk.project.name}/sub-agent-{era}"
    assert status.facts["state"] == "idle"
    assert "nothing is running" in stopped.text
    assert still.facts["status"] == "running", "an interrupt of one session does not reach another"
    assert ended.facts["status"] == "ok"
