"""Promise: what an agent could not expect it is told once, with whatever result is about the session that it is of."""

from __future__ import annotations

import json
import re
from pathlib import Path

import anyio
import pytest

from tests.support import DEADLINE_S, Home, Result, Session, until, until_now

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def _notes(result: Result) -> list[str]:
    return [line.removeprefix("note: ") for line in result.text.splitlines() if line.startswith("note: ")]


async def _cancelled(session: Session, code: str, begun: Path, **arguments: str) -> None:
    """Make a call, and cancel it once its cell has begun."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await session.run(code, **arguments)

            group.start_soon(run)
            await until(begun.exists, "the cell runs")
            scope.cancel()


async def test_the_next_result_says_how_far_a_cancelled_call_had_come(desk: Home, era: str) -> None:
    begun = desk.project / "begun"
    code = f"import time\nx = 41\nopen({str(begun)!r}, 'w').close(); time.sleep(1000)\ny = 42"
    async with desk.client(era) as session:
        await session.run("1")
        await session.run("1", session="apart")
        await _cancelled(session, code, begun)
        apart = await session.call("kernel_list_vars", session="apart")
        failed = await session.call("kernel_inspect", var_name="y")
        history = await session.call("kernel_history")
        after = await session.run("x")
    (note,) = _notes(failed)
    number = history.facts["entries"][-1]["execution_id"]
    told = rf"execution {number} had begun and was interrupted after \d\S* \S+ at line 3; what it did until then stands"
    assert re.search(told, note), note
    assert f"kernel_output(execution_id={number})" in note
    assert failed.is_error
    assert history.facts["entries"][-1]["status"] == "interrupted"
    assert [_notes(each) for each in (apart, history, after)] == [[], [], []]
    assert after.text.splitlines()[-1] == "41"


async def test_a_cancelled_call_whose_cell_took_the_interrupt_is_not_said_to_be_interrupted(
    desk: Home, era: str
) -> None:
    begun = desk.project / "begun"
    code = f"import time\ntry:\n    open({str(begun)!r}, 'w').close(); time.sleep(1000)\nexcept BaseException: x = 41"
    async with desk.client(era) as session:
        await session.run("1")
        await _cancelled(session, code, begun)
        (note,) = _notes(await session.run("x"))
    assert "whose call was cancelled, had begun and ended all the same (ok)" in note


async def test_a_cancelled_call_that_waited_is_said_not_to_have_run(desk: Home, era: str) -> None:
    gate, begun = desk.project / "gate", desk.project / "begun"
    async with desk.client(era) as session, desk.client(era) as other:
        code = f"import os, time\nopen({str(begun)!r}, 'w').close()\n"
        await other.run(f"{code}while not os.path.exists({str(gate)!r}): time.sleep(0.01)", wait=False)
        await until(begun.exists, "the cell runs")
        await session.call("kernel_list_vars")
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:

                async def run() -> None:
                    await session.run("ran = True")

                group.start_soon(run)
                with anyio.fail_after(DEADLINE_S):
                    while len((await other.call("kernel_history")).facts["entries"]) < 2:
                        pass
                scope.cancel()
        with anyio.fail_after(DEADLINE_S):
            while (await other.call("kernel_history")).facts["entries"][-1]["status"] == "queued":
                pass
        gate.touch()
        (note,) = _notes(await session.run("'ran' in globals()"))
    assert note.endswith("whose call was cancelled, had not begun: it was not run")


async def test_a_restart_is_told_in_its_own_session_by_whatever_comes_first_and_once(desk: Home, era: str) -> None:
    async with desk.client(era) as session, desk.client(era) as other:
        for name in ("", "sub"):
            await session.run("x = 41", session=name)
            await other.run("1", session=name)
        await other.call("kernel_restart", session="sub")
        main = await session.call("kernel_list_vars")
        sub = await session.call("kernel_list_vars", session="sub")
        more = [
            await session.call("kernel_status", session="sub"),
            await session.call("kernel_history", session="sub"),
            await session.run("'x' in globals()", session="sub"),
        ]
        await other.call("kernel_restart")
        refused = await session.call("kernel_inspect", var_name="x")
        after = await session.run("1")
        own = await other.run("1")
    assert not any("restarted" in note for note in _notes(main))
    assert "41" in main.text
    (note,) = [each for each in _notes(sub) if "restarted" in each]
    assert "was restarted since your last call, by " in note
    assert note.endswith(
        "its variables are gone, the history is kept; "
        f'kernel_restart(replay=true, session="{desk.project.name}/sub") runs again the 2 cells that succeeded'
    )
    assert "no variables yet" in sub.text
    assert [_notes(each) for each in more] == [[], [], []]
    assert refused.is_error
    assert len([each for each in _notes(refused) if "restarted" in each]) == 1
    assert (_notes(after), _notes(own)) == ([], []), "who restarted it knows"


async def test_a_new_conversation_is_told_what_became_of_the_last_work(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        ran = await session.run("x = 41")
        number = ran.facts["execution_id"]
        ended = await session.call("kernel_shutdown", kernel_id=ran.facts["kernel_id"])
        again = await session.run("'x' in globals()")
        await session.call("kernel_shutdown", kernel_id=again.facts["kernel_id"])
    assert not _notes(ended)
    assert not any("gone" in note for note in _notes(again)), "who ended it knows"
    async with desk.client(era) as session:
        looked = await session.call("kernel_list_vars")
        later = [await session.call("kernel_status"), await session.run("1")]
    (note,) = _notes(looked)
    assert f"is gone since the last work here, execution {number + 1} of " in note
    assert "(the kernel was shut down by " in note
    assert "kernel_history shows what was run" in note
    assert not any("gone" in note for each in later for note in _notes(each))


async def test_advice_on_another_session_names_it_and_leaves_the_clients_own_alone(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        told = [await session.run("import os; os._exit(3)", session="advised")]
        told += [await session.call("kernel_output", execution_id=told[0].facts["execution_id"])]
        told += [await session.call("kernel_list_vars", session="advised")]
        own = await session.run("import os; os._exit(3)")
    named = f'kernel_restart(session="{desk.project.name}/advised")'
    assert [each.text.count(named) for each in told] == [1, 1, 1]
    assert "kernel_restart gives this session a fresh kernel" in own.text


async def test_a_death_says_how_to_go_on_until_somebody_has(desk: Home, era: str) -> None:
    gate = desk.project / "gate"
    way_on = (
        "Its variables are gone. kernel_restart gives this session a fresh kernel; "
        "kernel_restart(replay=true) runs again the 1 cell that succeeded."
    )
    async with desk.client(era) as session:
        await session.run("x = 41")
        wait = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)"
        dying = await session.run(f"import os, time\n{wait}\nos._exit(3)", wait=False)
        behind = await session.run("x", wait=False)
        numbers = [each.facts["execution_id"] for each in (dying, behind)]
        gate.touch()
        dead = [await session.call("kernel_output", execution_id=each, wait=60) for each in numbers]
        await session.call("kernel_restart")
        later = [await session.call("kernel_output", execution_id=each) for each in numbers]
    assert [each.facts["status"] for each in (*dead, *later)] == ["dead", "aborted"] * 2
    assert [each.text[-len(way_on) :] for each in dead] == [way_on, way_on]
    assert not any("kernel_restart" in each.text for each in later), later


async def test_a_call_that_meets_a_dead_kernel_says_that_it_was_not_run_and_every_way_back(
    desk: Home, era: str
) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        await session.call("kernel_checkpoint", name="good")
        await session.run("import os; os._exit(3)")
        asked = [await session.call("kernel_exec", code="x")]
        asked += [await session.call(each) for each in ("kernel_list_vars", "kernel_status")]
        back = await session.call("kernel_restart", restore="last")
    run, listed, status = (each.text for each in asked)
    assert re.match(r"Not run: this session's kernel had died at \d\d:\d\d:\d\d \(exit code 3\)", run), run
    assert listed.startswith("this session's kernel had died at "), listed
    assert f"session {desk.project.name}/: this session's kernel had died at " in status
    assert [each.is_error for each in asked] == [True, True, False]
    for text in (run, listed, status):
        ways = text.partition("Its variables are gone. ")[2]
        assert ways.startswith("kernel_restart gives this session a fresh kernel; kernel_restart(replay=true) runs"), (
            text
        )
        assert 'can be brought back: kernel_restart(restore="last")' in ways
        assert "kernel_history shows what was run." in ways
    assert not back.is_error


async def test_a_kernel_that_died_is_told_of_once_and_not_beside_a_result_that_says_so(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        await session.run("import os; os._exit(3)")
    async with desk.client(era) as one, desk.client(era) as two:
        seen = await one.call("kernel_history")
        refused = await one.call("kernel_exec", code="x")
        status = await two.call("kernel_status")
    (note,) = _notes(seen)
    assert "is gone since the last work here" in note
    assert "(the kernel died (exit code 3), " in note
    assert "kernel_restart(replay=true)" in note
    assert refused.is_error
    assert not _notes(refused)
    assert not any("gone" in each for each in _notes(status)), "it says so itself"


async def test_a_new_conversation_is_told_what_runs_and_a_result_that_says_so_says_it_once(
    desk: Home, era: str
) -> None:
    gate, begun = desk.project / "gate", desk.project / "begun"
    code = (
        f"open({str(begun)!r}, 'w').close()\nimport os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    )
    async with desk.client(era) as session:
        running = await session.run(code, wait=False)
        await until(begun.exists, "the cell runs")
        number = running.facts["execution_id"]
        async with desk.client(era) as one, desk.client(era) as two, desk.client(era) as three:
            looked, again = await one.call("kernel_list_vars"), await one.call("kernel_list_vars")
            status = await two.call("kernel_status")
            behind = await three.run("1", wait=False)
        gate.touch()
        ended = await session.call("kernel_output", execution_id=number, wait=DEADLINE_S)
    assert any(note.startswith(f"execution {number} runs here since ") for note in _notes(looked))
    for result in (running, again, status, behind, ended):
        assert not any("runs here" in note for note in _notes(result)), result.text


def test_calls_that_come_together_after_a_restart_stay_in_their_order(home: Home, era: str) -> None:
    with home.shim() as shim:
        shim.open(era)
        shim.run("order = []")
        for first in (0, 8, 16):
            home.kill_daemon()
            numbers = range(first, first + 8)
            for number in numbers:
                call = {"name": "kernel_exec", "arguments": {"code": f"order.append({number})"}, **shim.said}
                shim.send("tools/call", call, id=f"call-{number}")
            assert not [number for number in numbers if shim.answer(f"call-{number}")["result"]["isError"]]
        assert shim.run("order == list(range(24))")["text"].splitlines()[1] == "True"


def test_a_client_that_died_while_its_call_waited_for_the_kernel_is_no_company(home: Home, era: str) -> None:
    def clients() -> int:
        listed = json.loads(home.cli("status", "--json").stdout)["clients"]
        return len([each for each in listed if each["kind"] == "shim"])

    with home.shim() as shim:
        shim.open(era)
        shim.run("x = 41")
        [kernel] = home.kernels()
        kernel.suspend()
        home.kill_daemon()
        listing = {"name": "kernel_list_vars", "arguments": {}, **shim.said}
        shim.send("tools/call", listing, id="waits")
        shim.call("kernel_history", session=f"beside-{era}")  # behind the other, and waits for no kernel
        assert not shim.answered("waits")
        shim.process.kill()
        shim.process.wait()
    until_now(lambda: not clients(), "the client is gone")
    kernel.resume()
    with home.shim() as shim:
        shim.open(era)
        assert "another client" not in shim.run("x")["text"]
