"""Promise: a cell may ask; the user is asked where the client can ask, else the agent is told and answers."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest
from mcp_types import ElicitResult

from tests.asking import User, accepted
from tests.support import DEADLINE_S, Home, Result, Session, until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
CAUGHT = "try:\n    input('Name? ')\nexcept EOFError as error:\n    print('declined', type(error).__name__)"


async def _waiting(session: Session, code: str) -> Result:
    """A cell that waits for input, of a client that cannot ask."""
    result = await session.run(code, timeout=DEADLINE_S)
    assert result.facts["status"] == "waiting for input", result.text
    return result


async def test_the_user_is_asked_and_the_cell_goes_on_with_the_answer(desk: Home, era: str) -> None:
    user = User("Ada", "36")
    async with desk.client(era, elicitation_callback=user) as session:
        result = await session.run("name = input('Name? ')\nage = input('Age? ')\nprint(name, int(age) + 1)")
        history = await session.call("kernel_history")
    assert result.facts["status"] == "ok", result.text
    assert "Ada 37" in result.text
    assert [asked.message.rpartition(": ")[2] for asked in user.asked] == ["Name?", "Age?"]
    assert len(history.facts["entries"]) == 1, "asking ran nothing twice"


async def test_a_question_that_is_declined_ends_the_input_and_that_is_said(desk: Home, era: str) -> None:
    user = User(ElicitResult(action="decline"), ElicitResult(action="decline"))
    async with desk.client(era, elicitation_callback=user) as session:
        result = await session.run(CAUGHT)
        failed = await session.run("input('Name? ')")
        whole = await session.call("kernel_output", execution_id=failed.facts["execution_id"], full_traceback=True)
    assert "declined EOFError" in result.text
    assert result.facts["status"] == "ok"
    for each in (result, failed):
        said = f"declined to answer what execution {each.facts['execution_id']} asked: its input() raised EOFError"
        assert said in each.text
    assert failed.facts["error"]["ename"] == "EOFError"
    for each in (failed, whole):
        assert "ipykernel/kernelbase.py" in each.text
        assert "kernel_supervisor" not in each.text, "our frames are none of the user's business"
    assert "declined to answer" not in whole.text, "once"


async def test_a_question_that_a_client_cancels_stays_open_and_is_answered_by_reply(desk: Home, era: str) -> None:
    """So answer programs that have nobody to ask."""
    user = User(ElicitResult(action="cancel"), ElicitResult(action="cancel"))
    async with desk.client(era, elicitation_callback=user) as session:
        asked = await session.run("name = input('Name? ')\nage = input('Age? ')\nprint(name, age)", timeout=DEADLINE_S)
        number = asked.facts["execution_id"]
        again = await session.call("kernel_reply", text="Ada")
        done = await session.call("kernel_reply", text="36")
    assert (asked.facts["status"], asked.facts["question"]) == ("waiting for input", "Name? ")
    assert f"kernel_reply(execution_id={number}, text=…)" in asked.text
    assert len(user.asked) == 1, "asked once, not until it gives in"
    assert again.facts["question"] == "Age? "
    assert "Ada 36" in done.text


async def test_an_empty_answer_is_an_empty_line(desk: Home, era: str) -> None:
    async with desk.client(era, elicitation_callback=User(ElicitResult(action="accept", content={}))) as session:
        result = await session.run("repr(input())")
    assert result.text.splitlines()[-1] == repr("''")


async def test_many_questions_of_one_cell_are_all_answered(desk: Home, era: str) -> None:
    """More than an SDK's client follows in one call: the rest is for kernel_reply."""
    user = User(*"abcdefghijkl")
    async with desk.client(era, elicitation_callback=user) as session:
        result = await session.run("''.join(input(f'{n}? ') for n in range(12))")
        while result.facts["status"] == "waiting for input":
            result = await session.call("kernel_reply", text=user._answers.pop(0))
    assert result.text.splitlines()[-1] == "'abcdefghijkl'"


async def test_a_client_that_cannot_ask_is_told_and_replies(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        asked = await _waiting(session, "first = input('Name? ')\nsecond = input('Age? ')\nprint(first, second)")
        number = asked.facts["execution_id"]
        again = await session.call("kernel_reply", text="Ada")
        done = await session.call("kernel_reply", text="36", execution_id=number)
        late = await session.call("kernel_reply", text="37")
        over = await session.call("kernel_reply", text="37", execution_id=number)
    assert (asked.facts["question"], asked.facts["password"]) == ("Name? ", False)
    assert "The cell asks for a line of input: Name?" in asked.text
    assert f"kernel_reply(execution_id={number}, text=…)" in asked.text
    assert (again.facts["status"], again.facts["question"]) == ("waiting for input", "Age? ")
    assert done.facts["status"] == "ok"
    assert "Ada 36" in done.text
    assert late.is_error
    assert "nothing" in late.text
    assert over.is_error


async def test_an_answer_may_have_anything_in_it(desk: Home, era: str) -> None:
    text = "\x00 \x1b[31m \U0001f600 \u2028 two\nlines " + "long " * 20_000
    async with desk.client(era) as session:
        await _waiting(session, "got = input()")
        done = await session.call("kernel_reply", text=text)
        got = await session.run(f"got == {text!r}")
    assert done.facts["status"] == "ok"
    assert got.text.splitlines()[-1] == "True"


async def test_a_cell_that_nobody_waits_for_asks_too(desk: Home, era: str) -> None:
    user = User()
    async with desk.client(era, elicitation_callback=user) as session:
        queued = await session.run("input('Go? ')", wait=False)
        number = queued.facts["execution_id"]
        asked = await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)
        assert asked.facts["status"] == "waiting for input"
        done = await session.call("kernel_reply", text="yes")
    assert not user.asked, "who does not wait is not asked"
    assert done.text.splitlines()[-1] == "'yes'"


async def test_every_tool_says_that_a_cell_waits_for_input(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        number = (await _waiting(session, "x = 41\ninput('Go? ')")).facts["execution_id"]
        status = await session.call("kernel_status")
        running = await session.call("kernel_list_running")
        history = await session.call("kernel_history")
        queued = await session.run("x + 1", wait=False)
        looked = await session.call("kernel_inspect", var_name="x")
        listed = await session.call("kernel_list_vars", filter="x")
        done = await session.call("kernel_reply", text="yes")
        after = await session.call("kernel_output", execution_id=queued.facts["execution_id"], wait=DEADLINE_S)
    assert status.facts["state"] == "waiting for input"
    assert f"kernel_reply(execution_id={number}" in status.text
    (kernel,) = [each for each in running.facts["kernels"] if each["current"]]
    assert kernel["state"] == "waiting for input"
    assert "waiting for input" in running.text
    assert history.facts["entries"][-1]["status"] == "waiting for input"
    assert queued.facts["status"] == "queued"
    assert f"Execution {number}, before it, asks for a line of input: Go?" in queued.text
    assert f"kernel_reply(execution_id={number}" in queued.text
    assert "41" in looked.text
    assert [row["value"] for row in listed.facts["variables"] if row["name"] == "x"] == ["41"]
    assert done.facts["status"] == "ok"
    assert after.text.splitlines()[-1] == "42"


async def test_an_interrupt_reaches_a_cell_that_waits(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        number = (await _waiting(session, "kept = 41\ninput('Go? ')")).facts["execution_id"]
        stopped = await session.call("kernel_interrupt", execution_id=number)
        shown = await session.call("kernel_output", execution_id=number)
        after = await session.run("kept")
    assert stopped.facts["stopped"]
    assert "KeyboardInterrupt" in shown.text
    assert after.text.splitlines()[-1] == "41"


async def test_a_question_that_was_interrupted_is_asked_no_more(desk: Home, era: str) -> None:
    """The cell catches the interrupt and goes on: it is not said to wait for input then."""
    gate = desk.project / "gate"
    code = (
        "import os, time\ntry:\n    input('Go? ')\nexcept KeyboardInterrupt:\n    print('caught', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n'whole'"
    )
    async with desk.client(era) as session:
        number = (await _waiting(session, code)).facts["execution_id"]
        await session.call("kernel_interrupt", execution_id=number)
        gate.touch()
        ended = await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)
    assert ended.facts["status"] != "waiting for input", ended.text


async def test_a_call_whose_time_is_up_while_it_asks_says_so_and_the_question_stays(desk: Home) -> None:
    user = User("too late")
    user.patient.clear()
    async with desk.client("legacy", elicitation_callback=user) as session:
        result = await session.run("input('Go? ')", timeout=2)
        assert result.facts["status"] == "waiting for input"
        await until(lambda: user.cancelled, "the client is told that its user need not answer any more")
        done = await session.call("kernel_reply", text="yes")
    assert len(user.asked) == 1
    assert done.text.splitlines()[-1] == "'yes'"


async def test_who_answers_first_is_heard_and_the_other_is_let_go(desk: Home) -> None:
    user = User("too late")
    user.patient.clear()
    async with desk.client("legacy", elicitation_callback=user) as session, desk.client("legacy") as other:
        call = asyncio.create_task(session.run("input('Go? ')", timeout=DEADLINE_S))
        await until(lambda: user.asked, "the user is asked")
        await other.call("kernel_reply", text="mine")
        result = await call
        await until(lambda: user.cancelled, "the other one is told")
    assert result.text.splitlines()[-1] == "'mine'"


async def test_a_cancelled_call_interrupts_the_cell_that_asks(desk: Home) -> None:
    user = User("never")
    user.patient.clear()
    async with desk.client("legacy", elicitation_callback=user) as session, desk.client("legacy") as other:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(session.run, "input('Go? ')")
                await until(lambda: user.asked, "the user is asked")
                scope.cancel()
        entry = await _settled(other)
    assert entry["status"] == "interrupted"


async def _settled(session: Session) -> dict[str, Any]:
    with anyio.fail_after(DEADLINE_S):
        while True:
            entry = (await session.call("kernel_history")).facts["entries"][-1]
            if entry["status"] not in ("running", "waiting for input"):
                return dict(entry)


async def test_a_retry_that_is_not_one_runs_nothing(desk: Home) -> None:
    async with desk.client("2026-07-28") as session:
        asked = await _waiting(session, "ran = globals().get('ran', 0) + 1\ninput('Go? ')")
        number = asked.facts["execution_id"]
        for state in ("", "nonsense", "9999/x/1", f"{number}/x/1", "1/2/3/4", "-1/a/1", "9" * 500):
            called = session.client.session.call_tool(
                "kernel_exec",
                {"code": "ran = 'another'"},
                request_state=state,
                input_responses={"answer": accepted("x")},
            )
            assert (await called).is_error, state
        await session.call("kernel_reply", text="")
        after = await session.run("ran")
    assert after.text.splitlines()[-1] == "1"


async def test_a_replay_stops_at_a_cell_that_asks(desk: Home, era: str) -> None:
    async with desk.client(era, elicitation_callback=User("Ada")) as session:
        await session.run("x = 41")
        await session.run("name = input('Name? ')")
        await session.run("y = 42")
        replayed = await session.call("kernel_restart", replay=True)
        assert "waits for input" in replayed.text
        done = await session.call("kernel_reply", text="Bob")
        after = await session.run("name, 'y' in globals()")
    assert done.facts["status"] == "ok"
    assert after.text.splitlines()[-1] == "('Bob', False)"
