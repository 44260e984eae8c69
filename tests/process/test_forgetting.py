"""Promise: a session is forgotten when it is asked for, whole and alone; nothing else is ever deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import Home, until_now

pytestmark = pytest.mark.timeout(180)


def _kept(home: Home) -> dict[str, dict[str, Any]]:
    return {
        each["name"].removeprefix("project/"): each
        for each in json.loads(home.cli("sessions", "--json").stdout)["sessions"]
    }


def _logs(home: Home) -> set[Path]:
    return set((home.path / "logs").iterdir())


def test_a_session_goes_with_its_files_once_no_kernel_lives_in_it(home: Home) -> None:
    home.cli("exec", "--session", "old", "print('x' * 10_000)")
    home.cli("exec", "--session", "kept", "1 + 1")
    home.cli("save", "--session", "old", "old.ipynb")
    refused = home.cli("forget", "-y", "old")
    assert (refused.returncode, "kernel-supervisor kill" in refused.stderr) == (1, True), refused.stderr
    home.cli("kill", "old")
    before = _kept(home)
    assert before["old"]["entries"] == 1
    assert before["old"]["size_bytes"] > 10_000
    assert before["kept"]["at_work"]
    files = _logs(home)
    done = home.cli("forget", "-y", "old")
    assert (done.returncode, done.stdout.startswith("session project/old is forgotten (")) == (0, True), done
    assert list(_kept(home)) == ["kept"]
    left = _logs(home)
    gone = {path.name.split(".")[0] for path in files - left}
    assert len(gone) == 1, "its kernel's files are gone"
    assert gone.isdisjoint(path.name.split(".")[0] for path in left), "all of them"
    assert left, "the other's are not"
    assert "print" not in home.cli("history", "--session", "old").stdout
    assert (home.project / "old.ipynb").exists()
    assert home.cli("exec", "--session", "kept", "2 + 2").stdout.split()[-1] == "4"
    assert home.cli("exec", "--session", "old", "3 + 3").stdout.split()[-1] == "6", "its name can be used again"


def test_what_a_flood_showed_last_goes_with_its_session(home: Home) -> None:
    limited = {**home.env, "KERNEL_SUPERVISOR_RECORD_LIMIT": "100000"}
    home.cli("exec", "--session", "flood", "for n in range(300): display('x' * 1000)", env=limited)
    home.cli("kill", "flood")
    assert len([path for path in _logs(home) if ".messages-" in path.name]) == 2
    assert home.cli("forget", "-y", "flood").returncode == 0
    assert not [path for path in _logs(home) if ".messages" in path.name]


@pytest.mark.anyio
async def test_what_another_session_ran_in_its_kernel_stays(home: Home) -> None:
    async with home.client() as session:
        await session.call("kernel_exec", code="x = 1", session="first")
        kernel = (await session.call("kernel_status", session="first")).facts["kernel_id"]
        attached = await session.call("kernel_attach", kernel_id=kernel, session="second")
        assert not attached.is_error, attached.text
        ran = await session.call("kernel_exec", code="print('of the second')", session="second")
        await session.call("kernel_shutdown", kernel_id=kernel)
    assert home.cli("forget", "-y", "first").returncode == 0
    assert list(_kept(home)) == ["second"]
    assert "of the second" in home.cli("output", str(ran.facts["execution_id"])).stdout


def test_old_ones_are_forgotten_together_and_those_in_use_stay(home: Home) -> None:
    for name in ("one", "two", "three"):
        home.cli("exec", "--session", name, "1")
    home.cli("kill", "one", "two")
    assert "no session is as old" in home.cli("forget", "-y", "--older-than", "1").stdout
    done = home.cli("forget", "-y", "--older-than", "0")
    assert sorted(line.split()[1] for line in done.stdout.splitlines()) == ["project/one", "project/two"]
    assert list(_kept(home)) == ["three"]


def test_a_name_that_is_not_there_gets_near_ones(home: Home) -> None:
    home.cli("exec", "--session", "analysis", "1")
    missed = home.cli("forget", "-y", "analisys")
    assert missed.returncode == 1
    assert "there is no session 'analisys'; did you mean `analysis`?" in missed.stderr
    assert home.cli("forget").returncode == 2


def test_what_a_daemon_had_begun_to_forget_is_finished_by_the_next(home: Home) -> None:
    home.cli("exec", "1")
    home.kill_daemon()
    half = home.path / "logs" / "0123.messages.forgotten"
    half.write_text("half forgotten")
    others = _logs(home) - {half}
    home.cli("start")
    until_now(lambda: not half.exists(), "it is removed")
    assert _logs(home) == others
