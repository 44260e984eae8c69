"""Folders whose names are bytes that are no UTF-8: worked in like others, listed, and never in anybody's way."""

from __future__ import annotations

import os
import sys
import venv
from pathlib import Path

import pytest

from tests.support import ERAS, Home, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 alone"),
]


def odd(folder: Path) -> Path:
    """A folder in it that no text can name."""
    path = os.fsencode(folder) + b"/odd \xff"
    os.mkdir(path)
    return Path(os.fsdecode(path))


@pytest.mark.parametrize("era", ERAS)
async def test_a_session_lives_in_such_a_folder_and_outlives_the_daemon(home: Home, era: str) -> None:
    project = odd(home.project)
    async with home.client(era, cwd=project) as session:
        assert (await session.run("import os; x = 41; os.getcwdb()[-2:]")).text.endswith(r"b' \xff'")
        assert "odd \ufffd" in (await session.call("kernel_status")).text
        assert not (await session.call("kernel_save_notebook", path="n")).is_error
        killed = home.kill_daemon()
        await until(lambda: (daemon := home.daemon()) and daemon.pid != killed, "another daemon")
        assert (await session.run("x")).text.endswith("41")
        history = await session.call("kernel_history")
        assert [entry["status"] for entry in history.facts["entries"]] == ["ok", "ok"]
    assert home.cli("exec", "x + 1", cwd=project).stdout == "42\n"
    assert "odd" in home.cli("list", cwd=project).stdout
    assert (project / "n.ipynb").is_file()


async def test_an_environment_of_such_a_name_is_listed_and_the_others_are_used(home: Home) -> None:
    folder = home.project / "home/.virtualenvs"
    venv.create(folder / "even", with_pip=False)
    venv.create(folder / "other", with_pip=False)
    os.rename(folder / "other", os.fsencode(folder) + b"/odd \xff")
    async with home.client(env={"HOME": str(home.project / "home")}) as session:
        listed = await session.call("kernel_list_envs")
        names = [each["name"] for each in listed.facts["environments"]]
        assert {"even", "odd \ufffd"} <= set(names)
        assert not (await session.call("kernel_use_env", env_name="even")).is_error
