"""Promise: a client finds its directory's variables again, whatever became of the last one; no other directory's."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import Home, shim_pid, until

pytestmark = pytest.mark.anyio


async def test_a_new_shim_finds_the_variables_of_one_that_was_killed(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        killed = shim_pid(desk)
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not os.path.exists(f"/proc/{killed}/exe"), "the shim is gone")
    async with desk.client(era) as session:
        assert shim_pid(desk, besides={killed}) != killed
        assert (await session.run("x + 1")).text.splitlines()[-1] == "42"
    assert len(desk.kernels()) == 1


async def test_a_client_in_another_directory_does_not_see_them(desk: Home, era: str) -> None:
    elsewhere = desk.project / "elsewhere"
    elsewhere.mkdir()
    async with desk.client(era) as session, desk.client(era, cwd=elsewhere) as other:
        await session.run("x = 41")
        result = await other.run("x")
    assert result.facts["status"] == "error"
    assert "NameError" in result.text


async def test_directories_of_the_same_name_have_sessions_of_their_own(desk: Home, era: str) -> None:
    one, two = desk.project / "one/analysis", desk.project / "two/analysis"
    one.mkdir(parents=True)
    two.mkdir(parents=True)
    async with desk.client(era, cwd=one) as session, desk.client(era, cwd=two) as other:
        first = await session.run("x = 41")
        second = await other.run("'x' in globals()")
    assert first.facts["session"] != second.facts["session"]
    assert second.text.splitlines()[-1] == "False"


async def test_a_directory_is_known_by_its_real_path(desk: Home, era: str) -> None:
    link = desk.project.parent / f"{desk.project.name}-link"
    link.symlink_to(desk.project)
    async with desk.client(era) as session, desk.client(era, cwd=link) as other:
        await session.run("x = 41")
        assert (await other.run("x")).text.splitlines()[-1] == "41"


async def test_the_project_that_claude_code_names_decides_not_the_working_directory(desk: Home, era: str) -> None:
    below = desk.project / "below"
    below.mkdir()
    named = {"CLAUDE_PROJECT_DIR": str(desk.project)}
    async with desk.client(era) as session, desk.client(era, cwd=below, env=named) as other:
        await session.run("x = 41")
        result = await other.run("import os; print(os.getcwd()); x")
    assert result.text.splitlines()[-2:] == [os.path.realpath(desk.project), "Out[2]: 41"]


@pytest.mark.parametrize("told", ["option", "variable"])
async def test_a_session_that_a_client_is_told_is_its_projects(desk: Home, era: str, told: str) -> None:
    elsewhere = desk.project / f"not-{desk.project.name}"
    elsewhere.mkdir()
    arguments = ("--session", "shared") if told == "option" else ()
    env = {"KERNEL_SUPERVISOR_SESSION": "ignored" if told == "option" else "shared"}
    async with desk.client(era, *arguments, env=env) as session:
        ran = await session.run("x = 41")
    async with desk.client(era, *arguments, env=env) as session:
        again = await session.run("x")
    async with desk.client(era, *arguments, env=env, cwd=elsewhere) as session:
        other = await session.run("'x' in globals()")
    spelled = ("--session", ran.facts["session"])
    async with desk.client(era, *spelled, cwd=elsewhere) as session:
        joined = await session.run("x")
    assert ran.facts["session"] == again.facts["session"] == f"{desk.project.name}/shared"
    assert other.facts["session"] == f"not-{desk.project.name}/shared"
    assert [each.text.splitlines()[-1] for each in (again, other, joined)] == ["41", "False", "41"]


async def test_a_session_that_a_call_names_is_apart_from_the_clients_own(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        await session.run("x = 41")
        apart = await session.run("'x' in globals()", session=f"apart-{era}")
        listed = await session.call("kernel_list_vars", session=f"apart-{era}")
        history = await session.call("kernel_history", session=f"apart-{era}")
        own = await session.run("x")
    assert apart.facts["session"] == f"{desk.project.name}/apart-{era}"
    assert apart.text.splitlines()[-1] == "False"
    assert listed.facts["variables"] == []
    assert [entry["code"] for entry in history.facts["entries"]] == ["'x' in globals()"]
    assert own.text.splitlines()[-1] == "41"


async def test_a_client_that_joins_another_living_one_is_told_so_once(desk: Home, era: str) -> None:
    async with desk.client(era) as session:
        alone = await session.run("x = 41")
        async with desk.client(era) as other:
            joined = await other.run("x")
            later = await other.run("x")
            apart = await other.run("1", session=f"unshared-{era}")
    async with desk.client(era) as session:
        back = await session.run("x")
    assert "another client" in joined.text
    assert "session=" in joined.text, "it says how to work apart"
    for result in (alone, later, apart, back):
        assert "another client" not in result.text
