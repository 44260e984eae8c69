"""Promise: what a session's variables hold outlives their kernel: saved, offered after a death, brought back, carried,
branched; what cannot be is named."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support import DEADLINE_S, Home, Session, until

pytestmark = pytest.mark.anyio

_MADE = """\
import collections, sqlite3
numbers = list(range(1000))
same = numbers
Point = collections.namedtuple("Point", "x y")
def double(value):
    return factor * value
factor = 2
con = sqlite3.connect(":memory:")"""
_GENERATOR = "gen = (each for each in numbers)"
_LOOKED = "print(sum(numbers), same is numbers, double(21), Point(1, 2), 'con' in globals())"
_AS_BEFORE = "499500 True 42 Point(x=1, y=2)"


async def _killed(home: Home, session: Session) -> None:
    """The kernel of a session is ended from outside, and that is known."""
    (kernel,) = home.kernels()
    kernel.kill()
    kernel.wait(DEADLINE_S)
    assert (await session.call("kernel_status")).facts["state"] == "dead"


async def test_variables_outlive_a_kernel_that_died(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_MADE)
        made = await session.run(_GENERATOR)
        saved = await session.call("kernel_checkpoint", name="clean data")
        assert not saved.is_error, saved.text
        assert '"clean data"' in saved.text
        assert "con (" in saved.text
        assert f"made by execution {made.facts['execution_id']}" in saved.text
        await _killed(desk, session)
        refused = await session.call("kernel_exec", code="numbers")
        assert refused.is_error
        assert 'kernel_restart(restore="last")' in refused.text, refused.text
        status = await session.call("kernel_status")
        assert "can be brought back" in status.text
        back = await session.call("kernel_restart", restore="last")
        assert not back.is_error, back.text
        assert {"con", "gen"} == set(back.facts["missing"])
        assert made.facts["execution_id"] in back.facts["rest"]
        assert "what is not back was made by executions " in back.text
        assert "replay=true) restarts once more, and then runs those, too" in back.text
        looked = await session.run(_LOOKED)
        assert f"{_AS_BEFORE} False" in looked.text
        await session.run("factor = 3")
        assert (await session.run("double(21)")).text.splitlines()[-1] == "63", "functions live in the namespace"
        history = await session.call("kernel_history")
        assert "Brought back from checkpoint clean data" in history.text


async def test_the_rest_is_run_again_where_that_is_asked_for(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_MADE)
        await session.run(_GENERATOR)
        await session.run("counted = 1\nprint('not again')")
        await session.call("kernel_checkpoint")
        await session.run("counted += 1")
        await _killed(desk, session)
        back = await session.call("kernel_restart", restore="last", replay=True)
        assert not back.is_error, back.text
        assert back.facts["replayed"] == 3, back.text
        looked = await session.run("print(next(gen), counted, con.execute('select 1').fetchone())")
        assert "0 2 (1,)" in looked.text
        again = [
            each for each in (await session.call("kernel_history")).facts["entries"] if "not again" in each["code"]
        ]
        assert len(again) == 1


async def test_a_session_of_its_own_branches_from_another_ones_state(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_MADE)
        own = (await session.call("kernel_checkpoint", name="start")).facts["checkpoint"]["session"]
        for name in ("one", "two"):
            branched = await session.call("kernel_restart", session=name, restore=f"{own}:start")
            assert not branched.is_error, branched.text
            await session.run(f"numbers.append('{name}')", session=name)
        seen = [(await session.run("numbers[-1]", session=name)).text.splitlines()[-1] for name in ("one", "two", "")]
        assert seen == ["'one'", "'two'", "999"]


async def test_variables_are_carried_to_another_environment(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run(_MADE)
        await session.run(_GENERATOR)
        moved = await session.call(
            "kernel_use_env", env_name=sys.executable, fresh=True, carry=["numbers", "double", "factor", "gen"]
        )
        assert not moved.is_error, moved.text
        assert "not carried: gen (" in moved.text
        looked = await session.run("print(sum(numbers), double(4), 'same' in globals(), 'gen' in globals())")
        assert "499500 8 False False" in looked.text
        unknown = await session.call("kernel_use_env", env_name="default", carry=["nunbers"])
        assert unknown.is_error
        assert "nunbers" in unknown.text
        assert (await session.run("double(5)")).text.splitlines()[-1] == "10", "nothing was changed"


@pytest.mark.parametrize("carry", [True, "*", "numbers,factor", ["numbers", "", "factor"], '["numbers", "factor"]'])
async def test_what_clients_send_in_place_of_a_list_is_understood(desk: Home, carry: object) -> None:
    async with desk.client() as session:
        await session.run("numbers, factor = [1], 2")
        moved = await session.call("kernel_use_env", env_name=sys.executable, fresh=True, carry=carry)
        assert set(moved.facts["back"]) == {"numbers", "factor"}, moved.text
        await session.call("kernel_checkpoint")
        for restore in (True, ["last"], '["last"]'):
            back = await session.call("kernel_restart", restore=restore)
            assert set(back.facts["back"]) == {"numbers", "factor"}, back.text
            assert "2 variables: numbers, factor" in back.text


async def test_a_checkpoint_waits_for_the_cell_that_runs(desk: Home, era: str) -> None:
    gate = desk.project / "gate"
    async with desk.client(era) as session:
        await session.run(
            f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nx = 1", wait=False
        )
        async with anyio.create_task_group() as group:

            async def save() -> None:
                saved = await session.call("kernel_checkpoint")
                assert not saved.is_error, saved.text
                assert saved.facts["checkpoint"]["variables"] >= 3
                assert gate.exists()

            group.start_soon(save)
            await session.run("y = 2", wait=False)
            gate.touch()
        back = await session.call("kernel_restart", restore="last")
        assert "x" in back.facts["back"]


async def test_what_was_queued_as_a_checkpoint_was_made_counts_as_not_saved(desk: Home, era: str) -> None:
    gate, told = desk.project / "gate", list[str]()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with desk.client(era) as session:
        code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nx = 1"
        runs = (await session.run(code, wait=False)).facts["execution_id"]
        queued = (await session.run("x += 1", wait=False)).facts["execution_id"]
        async with anyio.create_task_group() as group:

            async def save() -> None:
                await session.client.call_tool("kernel_checkpoint", {"name": "between"}, progress_callback=hear)

            group.start_soon(save)
            await until(lambda: f"waits for the end of execution {runs}" in told, "nothing queued begins")
            gate.touch()
        ended = await session.call("kernel_output", execution_id=queued, wait=60)
        assert ended.facts["status"] == "ok", ended.text
        back = await session.call("kernel_restart", restore="between", replay=True)
        assert back.facts["rest"] == [queued], back.text
        assert back.facts["replayed"] == 1
        assert (await session.run("x")).text.splitlines()[-1] == "2"


async def test_what_waits_for_another_kernel_has_nothing_of_this_one_run_again(desk: Home, era: str) -> None:
    gate = desk.project / "gate"
    async with desk.client(era) as session:
        await session.run(f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)", wait=False)
        behind = (await session.run("x = 1", wait=False)).facts["execution_id"]
        await session.call("kernel_use_env", env_name=sys.executable, fresh=True)
        await session.run("x = 1")
        await session.run("x += 1")
        await session.call("kernel_checkpoint", name="here")
        gate.touch()
        await session.call("kernel_output", execution_id=behind, wait=60)
        back = await session.call("kernel_restart", restore="here", replay=True)
        assert back.facts["rest"] == [], back.text
        assert (await session.run("x")).text.splitlines()[-1] == "2"


async def test_one_that_is_not_there_is_refused_with_those_that_are(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        none = await session.call("kernel_restart", restore="last")
        assert none.is_error
        assert "kernel_checkpoint" in none.text
        await session.run("x = 1")
        await session.call("kernel_checkpoint", name="first")
        other = await session.call("kernel_restart", restore="second")
        assert other.is_error
        assert '"first"' in other.text
        assert (await session.run("x")).text.splitlines()[-1] == "1", "nothing was restarted"
        bad = await session.call("kernel_checkpoint", name="a:b")
        assert bad.is_error


async def test_off_is_off_until_it_is_turned_on(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        off = await session.call("kernel_checkpoint", mode="off")
        assert not off.is_error
        refused = await session.call("kernel_checkpoint")
        assert refused.is_error
        assert 'mode="asked"' in refused.text
        assert not (await session.call("kernel_checkpoint", mode="asked")).is_error


@pytest.mark.parametrize("mode", ["asked", "auto", "off"])
async def test_a_mode_that_is_set_beside_a_dead_kernel_is_said_to_be_set(desk: Home, mode: str) -> None:
    async with desk.client() as session:
        await session.run("x = 41")
        await _killed(desk, session)
        done = await session.call("kernel_checkpoint", mode=mode)
    assert not done.is_error, done.text
    assert re.search(r"session desk-.*: from now on variables are ", done.text)
    assert ("Nothing was saved now: this session's kernel had died" in done.text) == (mode != "off")
    assert ("kernel_restart gives this session a fresh kernel" in done.text) == (mode != "off")


async def test_auto_saves_before_a_restart_and_says_what_can_be_brought_back(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        await session.call("kernel_checkpoint", mode="auto")
        await session.run("x = 2")
        restarted = await session.call("kernel_restart")
        assert 'kernel_restart(restore="last")' in restarted.text, restarted.text
        await session.call("kernel_restart", restore="last")
        assert (await session.run("x")).text.splitlines()[-1] == "2"


async def test_auto_saves_nothing_while_a_cell_runs_and_says_what_can_be_brought_back_instead(
    desk: Home, era: str
) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        assert (
            "from now on variables are saved by themselves, too"
            in (await session.call("kernel_checkpoint", mode="auto")).text
        )
        await session.run("x = 2\nimport time\nwhile True: time.sleep(0.1)", wait=False)
        restarted = await session.call("kernel_restart")
        assert "1 variable of" in restarted.text, restarted.text
        assert "what ran since then was not saved" in restarted.text
        await session.call("kernel_restart", restore="last")
        assert (await session.run("x")).text.splitlines()[-1] == "1"


async def test_an_empty_kernel_is_not_saved_by_itself(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        await session.call("kernel_checkpoint", mode="auto")
        await session.call("kernel_use_env", env_name=sys.executable, fresh=True)
        await session.run("1")
        await session.call("kernel_restart")
        saved = (await session.call("kernel_status")).facts["checkpoints"]
        assert [each["variables"] for each in saved] == [1]


async def test_a_spoiled_object_is_never_loaded(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x, y = [1] * 100, {'a': 1}")
        await session.call("kernel_checkpoint")
        objects = list((desk.path / "checkpoints/objects").iterdir())
        manifests = list((desk.path / "checkpoints/kept").glob("*/manifest.json"))
        newest = json.loads(max(manifests, key=lambda path: path.stat().st_mtime).read_text())
        unit = newest["units"][newest["names"]["x"]["unit"]]["stream"]
        spoiled = next(each for each in objects if each.name == unit)
        spoiled.chmod(0o600)
        spoiled.write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(desk.project / "run").encode())
        back = await session.call("kernel_restart", restore="last")
        assert set(back.facts["back"]) == {"y"}
        assert "x" in back.facts["missing"]
        assert not Path(desk.project / "run").exists()


async def test_one_that_cannot_be_used_costs_no_kernel(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        await session.call("kernel_checkpoint", name="spoiled")
        (manifest,) = (desk.path / "checkpoints/kept").glob(f"{await _newest(session)}/manifest.json")
        manifest.write_bytes(manifest.read_bytes() + b" ")
        await session.run("x = 2")
        refused = await session.call("kernel_restart", restore="spoiled")
        assert refused.is_error
        assert "is not as it was written" in refused.text
        assert (await session.run("x")).text.splitlines()[-1] == "2", "its kernel lives on"


async def _newest(session: Session) -> str:
    return str((await session.call("kernel_status")).facts["checkpoints"][0]["id"])


async def test_a_failed_restore_and_what_is_saved_after_it_cost_no_good_one(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.call("kernel_checkpoint", mode="auto")
        await session.run("x, y = [1] * 100, {'a': 1}")
        assert (await session.call("kernel_restart")).facts["kernel_id"]
        good = (await session.call("kernel_status")).facts["checkpoints"][0]
        manifest = desk.path / "checkpoints/kept" / good["id"] / "manifest.json"
        told = json.loads(manifest.read_text())
        unit = desk.path / "checkpoints/objects" / told["units"][told["names"]["x"]["unit"]]["stream"]
        whole = unit.read_bytes()
        unit.chmod(0o600)
        unit.write_bytes(whole[::-1])
        assert (await session.call("kernel_restart", restore="last")).facts["back"] == ["y"]
        await session.run("z = 3")
        await session.call("kernel_restart")
        there = [each["id"] for each in (await session.call("kernel_status")).facts["checkpoints"]]
        assert good["id"] in there
        assert len(there) == 2
        unit.write_bytes(whole)
        back = await session.call("kernel_restart", restore=good["id"])
        assert set(back.facts["back"]) == {"x", "y"}, back.text


async def test_saving_by_itself_is_offered_once(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        first, second = [(await session.call("kernel_checkpoint")).text for _ in range(2)]
        assert 'mode="auto"' in first
        assert 'mode="auto"' not in second


async def test_the_daemons_death_costs_no_checkpoint(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 1")
        await session.call("kernel_checkpoint", name="kept")
        desk.kill_daemon()
        back = await session.call("kernel_restart", restore="kept")
        assert back.facts["back"] == ["x"], back.text
        await until(lambda: len(desk.kernels()) == 1, "one kernel lives")


_SLOW = """\
import os, time
class Slow:
    def __setstate__(self, state):
        open({begun!r}, "w").close()
        while not os.path.exists({gate!r}):
            time.sleep(0.01)
        self.__dict__.update(state)
slow = Slow()
slow.value = 7"""


async def test_a_daemons_death_while_variables_come_back_changes_nothing_of_what_is_said(
    desk: Home, era: str, tmp_path: Path
) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    gate.touch()  # it is tried as it is saved
    async with desk.client(era) as session:
        await session.run(_SLOW.format(begun=str(begun), gate=str(gate)))
        made = await session.run("gen = (each for each in 'abc')")
        await session.call("kernel_checkpoint", name="slow")
        gate.unlink()
        begun.unlink(missing_ok=True)
        back: list[Any] = []

        async def restore() -> None:
            back.append(await session.call("kernel_restart", restore="slow"))

        async with anyio.create_task_group() as group:
            group.start_soon(restore)
            await until(begun.exists, "it comes back")
            desk.kill_daemon()
            await until(lambda: desk.daemon() is not None, "the next daemon")
            gate.touch()
        assert not back[0].is_error, back[0].text
        assert sorted(back[0].facts["back"]) == ["Slow", "os", "slow", "time"], back[0].text
        assert list(back[0].facts["missing"]) == ["gen"]
        assert back[0].facts["rest"] == [made.facts["execution_id"]]
        assert "7" in (await session.run("slow.value")).text


async def test_a_daemons_death_while_variables_are_carried_costs_none(desk: Home, tmp_path: Path) -> None:
    begun, gate = tmp_path / "begun", tmp_path / "gate"
    gate.touch()
    async with desk.client() as session:
        await session.run(_SLOW.format(begun=str(begun), gate=str(gate)))
        await session.run("gen = (each for each in 'abc')")
        (old,) = desk.kernels()
        moved: list[Any] = []

        async def carry() -> None:
            moved.append(await session.call("kernel_use_env", env_name=sys.executable, fresh=True, carry="*"))

        async def reaches_the_new_kernel() -> None:
            await until(lambda: len(desk.kernels()) == 2, "the new kernel")
            gate.unlink()
            begun.unlink(missing_ok=True)
            await until(begun.exists, "they come to it")

        async with anyio.create_task_group() as group:
            group.start_soon(carry)
            await reaches_the_new_kernel()
            desk.kill_daemon()
            await until(lambda: desk.daemon() is not None, "the next daemon")
            gate.touch()
        assert old.is_running()
        assert not moved[0].is_error, moved[0].text
        assert "slow" in moved[0].facts["back"], moved[0].text
        assert list(moved[0].facts["missing"]) == ["gen"]
        assert "7" in (await session.run("slow.value")).text
