"""Promise: a question outlives the daemon that asked it; an answer is given once, to its question."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.asking import User
from tests.process.test_kernels_without_recorder import attach, theirs
from tests.support import DEADLINE_S, Home, until

__all__ = ["theirs"]
pytestmark = pytest.mark.timeout(240)


async def _successor(home: Home, killed: int) -> None:
    await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")


@pytest.mark.anyio
async def test_a_user_is_asked_again_by_the_next_daemon(home: Home) -> None:
    """Handshake era: the call is still open. The answer to the dead daemon's question goes nowhere."""
    user = User("for nobody", "Ada")
    user.patient.clear()
    async with home.client("legacy", elicitation_callback=user) as session:
        call = asyncio.create_task(session.run("runs = globals().get('runs', 0) + 1\ninput('Name? ')", timeout=120))
        await until(lambda: len(user.asked) == 1, "the user is asked")
        await _successor(home, home.kill_daemon())
        await until(lambda: len(user.asked) == 2, "the user is asked again")
        user.patient.set()
        result = await call
        assert result.text.splitlines()[-1] == "'Ada'"
        assert (await session.run("runs")).text.splitlines()[-1] == "1"


@pytest.mark.anyio
async def test_a_retry_reaches_the_same_execution_at_the_next_daemon(home: Home) -> None:
    """2026-07-28: the call is answered, the user thinks, and the daemon that asked is gone."""
    user = User("Ada", "36")
    user.patient.clear()
    async with home.client("2026-07-28", elicitation_callback=user) as session:
        cell = "runs = globals().get('runs', 0) + 1\n(input('Name? '), input('Age? '))"
        call = asyncio.create_task(session.run(cell, timeout=120))
        await until(lambda: len(user.asked) == 1, "the user is asked")
        await _successor(home, home.kill_daemon())
        user.patient.set()
        result = await call
        assert result.text.splitlines()[-1] == "('Ada', '36')"
        assert (await session.run("runs")).text.splitlines()[-1] == "1"
        assert len(user.asked) == 2


@pytest.mark.anyio
async def test_a_question_that_was_asked_while_no_daemon_lived_is_told_by_the_next(home: Home) -> None:
    gate = home.project / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n(input('Go? '), input('On? '))"
    async with home.client() as session:
        number = (await session.run(code, wait=False)).facts["execution_id"]
        await until(lambda: b"execute_input" in _logs(home), "the cell runs")
        home.kill_daemon()
        gate.touch()
        await until(lambda: b"input_request" in _logs(home), "it asks")
        asked = await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)
        assert asked.facts["status"] == "waiting for input", asked.text
        home.kill_daemon()
        again = await session.call("kernel_reply", text="yes")
        assert (again.facts["status"], again.facts["question"]) == ("waiting for input", "On? ")
        done = await session.call("kernel_reply", text="no", execution_id=number)
    assert done.text.splitlines()[-1] == "('yes', 'no')"


@pytest.mark.anyio
async def test_a_reply_that_is_sent_again_answers_one_question_once(home: Home) -> None:
    """The daemon dies at some moment of the reply; the shim sends it again. The next question waits for its own."""
    async with home.client() as session:
        await session.run("1")
        for delay_ms in (0, 15):
            asked = await session.run("(input('One? '), input('Two? '))", timeout=DEADLINE_S)
            assert asked.facts["question"] == "One? "
            call = asyncio.create_task(session.call("kernel_reply", text="first"))
            await asyncio.sleep(delay_ms / 1000)  # whichever line it is at
            home.kill_daemon()
            result = await call
            assert (result.facts["status"], result.facts["question"]) == ("waiting for input", "Two? "), result.text
            done = await session.call("kernel_reply", text="second")
            assert done.text.splitlines()[-1] == "('first', 'second')"


@pytest.mark.anyio
async def test_somebody_elses_kernel_asks_too(home: Home, theirs: Path) -> None:
    async with home.client() as session:
        await attach(session, theirs)
        asked = await session.run("(input('One? '), input('Two? '))", timeout=DEADLINE_S)
        assert asked.facts["question"] == "One? ", asked.text
        killed = home.kill_daemon()
        again = await session.call("kernel_reply", text="first")
        await _successor(home, killed)
        assert again.facts["question"] == "Two? ", again.text
        done = await session.call("kernel_reply", text="second")
    assert "('first', 'second')" in done.text


def _logs(home: Home) -> bytes:
    return b"".join(path.read_bytes() for path in home.path.glob("logs/*.messages"))
