"""Promise: a session's name means one session of one project; spelled whole it means that one from everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import Home

pytestmark = pytest.mark.anyio


def _projects(desk: Home, *names: str) -> list[Path]:
    """Directories whose names nobody else at this daemon has."""
    folders = [desk.project / each.format(desk.project.name) for each in names]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


async def test_the_same_word_in_two_projects_is_two_sessions(desk: Home, era: str) -> None:
    one, two = _projects(desk, "one-{}", "two-{}")
    async with desk.client(era, cwd=one) as first, desk.client(era, cwd=two) as second:
        there = await first.run("import os; x = 41; os.getcwd()", session="explore")
        here = await second.run("import os; 'x' in globals(), os.getcwd()", session="explore")
        saved = await second.call("kernel_save_notebook", session="explore")
        history = await second.call("kernel_history", session="explore")
    assert there.facts["session"] == f"{one.name}/explore"
    assert here.facts["session"] == f"{two.name}/explore"
    assert here.facts["kernel_id"] != there.facts["kernel_id"]
    assert here.text.splitlines()[-1] == str((False, os.path.realpath(two)))
    assert saved.facts["path"] == os.path.realpath(two / "explore.ipynb")
    assert [each["execution_id"] for each in history.facts["entries"]] == [here.facts["execution_id"]]
    assert not list(one.iterdir())


async def test_what_a_result_calls_a_session_is_that_session_from_everywhere(desk: Home, era: str) -> None:
    one, two, twin = _projects(desk, "one-{}", "two-{}", "deeper/one-{}")
    names: dict[str, str] = {}
    async with desk.client(era, cwd=one) as session, desk.client(era, cwd=twin) as other:
        for who, client in (("one", session), ("twin", other)):
            for name in ("", "explore"):
                ran = await client.run(f"who = {who + name!r}", session=name)
                names[ran.facts["session"]] = who + name
        running = (await session.call("kernel_list_running")).facts["kernels"]
    assert len(names) == 4
    assert {f"{one.name}/", f"{one.name}/explore"} < set(names)
    assert set(names) <= {each["session"] for each in running}
    async with desk.client(era, cwd=two) as session:
        for name, who in names.items():
            ran = await session.run("who", session=name)
            status = await session.call("kernel_status", session=name)
            seen = await session.call("kernel_inspect", var_name="who", session=name)
            assert ran.text.splitlines()[-1] == repr(who)
            assert ran.facts["session"] == status.facts["session"] == name
            assert f"session {name} in " in status.text
            assert who in seen.text
        own = await session.run("'who' in globals()")
    assert own.text.splitlines()[-1] == "False"


async def test_a_word_that_is_another_projects_folder_is_not_its_session(desk: Home, era: str) -> None:
    one, two = _projects(desk, "model-{}", "two-{}")
    async with desk.client(era, cwd=one) as session, desk.client(era, cwd=two) as other:
        await session.run("x = 41")
        result = await other.run("'x' in globals()", session=one.name)
    assert result.facts["session"] == f"{two.name}/{one.name}"
    assert result.text.splitlines()[-1] == "False"


async def test_a_session_of_another_project_works_there(desk: Home, era: str) -> None:
    one, two = _projects(desk, "one-{}", "two-{}")
    async with desk.client(era, cwd=one) as session, desk.client(era, cwd=two) as other:
        await session.run("1")
        made = await other.run("import os; os.getcwd()", session=f"{one.name}/new")
        found = await session.run("1", session="new")
    assert made.text.splitlines()[-1] == repr(os.path.realpath(one))
    assert found.facts["kernel_id"] == made.facts["kernel_id"]


@pytest.mark.parametrize("wrong", ["a/b", "/tmp/x", "{}/a/b", "{}/a:b", "/"])
async def test_what_names_no_session_is_refused_with_what_to_do(desk: Home, era: str, wrong: str) -> None:
    async with desk.client(era) as session:
        await session.run("1")
        name = wrong.format(desk.project.name)
        refused = await session.call("kernel_exec", code="1", session=name)
        kernels = (await session.call("kernel_list_running")).facts["kernels"]
    assert refused.is_error
    assert repr(name) in refused.text
    assert "session" in refused.text
    assert [each["session"] for each in kernels] == [f"{desk.project.name}/"]


@pytest.mark.parametrize("folder", ["ä ß {}", "{}" + "y" * 150, "a:b{}", b"\xff\xfe{}", "({})"])
async def test_folders_with_odd_names_have_sessions(desk: Home, folder: Any) -> None:
    path = desk.project / os.fsdecode(folder if isinstance(folder, bytes) else folder.encode()).format("1")
    path.mkdir()
    async with desk.client(cwd=path) as session, desk.client() as other:
        name = (await session.run("x = 41", session="über +1")).facts["session"]
        assert name.endswith("/über +1")
        assert (await other.run("x", session=name)).text.splitlines()[-1] == "41"
        assert (await session.call("kernel_list_vars", session="über +1")).facts["variables"][0]["name"] == "x"


async def test_a_client_in_the_root_of_the_file_system_has_a_session(desk: Home) -> None:
    async with desk.client(cwd=Path("/")) as session, desk.client() as other:
        ran = await session.run("import os; x = 41; os.getcwd()")
        assert ran.facts["session"] == "root/"
        assert ran.text.splitlines()[-1] == "'/'"
        assert (await other.run("x", session="root/")).text.splitlines()[-1] == "41"
