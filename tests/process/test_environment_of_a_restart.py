"""Promise: a kernel that is restarted has the variables of the client that asks, and loses none that this one lacks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import RESULT, Home, Shim, until_now

SECRET, NEWER = "an-old-secret-4711", "a-newer-secret-4712"
SHOW = "import os, json; print('env', json.dumps(dict(os.environ)))"


@pytest.fixture
def desk(standing_home: Home, request: pytest.FixtureRequest) -> Iterator[Home]:
    """A directory, and so a session, of the test's own. Its kernels are ended after it."""
    project = standing_home.project / request.node.name[:60]
    project.mkdir()
    yield Home(standing_home.path, project)
    for kernel in standing_home.kernels():
        kernel.kill()
        kernel.wait(10)


def rich(home: Home, **more: str) -> dict[str, str]:
    """The environment of a client that has everything."""
    path = f"/opt/of-the-first/bin:{os.environ['PATH']}"
    return {**home.env, "API_KEY": SECRET, "ONLY_THERE": "stays", "PATH": path, **more}


def bare(home: Home, **more: str) -> dict[str, str]:
    """The environment of a client that passes next to nothing on."""
    return {"KERNEL_SUPERVISOR_HOME": str(home.path), "HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", **more}


def environment(shim: Shim) -> dict[str, str]:
    (line,) = [line for line in shim.run(SHOW, max_chars=100_000)["text"].splitlines() if line.startswith("env ")]
    return dict(json.loads(line.removeprefix("env ")))


def restarted(shim: Shim) -> str:
    result = shim.call("kernel_restart")
    assert not result["isError"], result
    return str(result["content"][0]["text"])


def assert_nothing_is_lost(before: dict[str, str], after: dict[str, str]) -> None:
    lost = before.keys() - after.keys()
    assert not lost, lost
    assert set(before["PATH"].split(":")) <= set(after["PATH"].split(":"))
    assert after["PATH"].split(":")[0] == before["PATH"].split(":")[0], "the kernel's own environment comes first"
    assert after.get("VIRTUAL_ENV") == before.get("VIRTUAL_ENV")


def test_the_asking_clients_values_win_and_the_others_stay(desk: Home) -> None:
    with desk.shim(env=rich(desk, ADDED_LATER="")) as shim:
        shim.open()
        before = environment(shim)
        assert before["API_KEY"] == SECRET
    with desk.shim(env=rich(desk, API_KEY=NEWER, BRAND_NEW="1", VIRTUAL_ENV="/opt/another")) as shim:
        shim.open()
        assert environment(shim)["API_KEY"] == SECRET, "a kernel that runs keeps what it has"
        restarted(shim)
        after = environment(shim)
        assert after["API_KEY"] == NEWER
        assert after["BRAND_NEW"] == "1"
        assert after["ONLY_THERE"] == "stays"
        assert_nothing_is_lost(before, after)


@pytest.mark.parametrize("by", ["tool", "cli"])
def test_a_bare_client_strips_nothing(desk: Home, by: str) -> None:
    with desk.shim(env=rich(desk, LC_CTYPE="C.UTF8")) as shim:
        shim.open()
        before = environment(shim)
    with desk.shim(env=bare(desk, API_KEY=NEWER)) as shim:
        shim.open()
        if by == "tool":
            restarted(shim)
        else:
            kernel_id = shim.call("kernel_status")["_meta"][RESULT]["kernel_id"]
            ended = desk.cli("restart", kernel_id, env=bare(desk, API_KEY=NEWER))
            assert ended.returncode == 0, ended
        after = environment(shim)
        assert after["API_KEY"] == NEWER
        assert after["ONLY_THERE"] == "stays"
        assert_nothing_is_lost(before, after)
        assert after["LC_CTYPE"] == before["LC_CTYPE"], "what Python sets for want of a locale is nobody's"


def test_what_an_adopted_kernel_had_is_read_back_from_its_process(home: Home) -> None:
    with home.shim(env=rich(home)) as shim:
        shim.open()
        before = environment(shim)
    home.kill_daemon()
    with home.shim(env=bare(home)) as shim:
        shim.open()
        shim.run("1")
        restarted(shim)
        assert_nothing_is_lost(before, environment(shim))
        (kernel,) = home.kernels()
        kernel.kill()
        until_now(lambda: shim.call("kernel_exec", code="1")["isError"], "the kernel's death is known")
        assert "not known any more" not in restarted(shim)
        assert_nothing_is_lost(before, environment(shim))  # this daemon remembers
    home.kill_daemon()
    (kernel,) = home.kernels()
    kernel.kill()
    with home.shim(env=bare(home)) as shim:
        shim.open()
        assert "what it had before is not known any more" in restarted(shim)
        assert "ONLY_THERE" not in environment(shim)


def test_no_variable_is_written_to_the_disk(desk: Home) -> None:
    with desk.shim(env=rich(desk, API_KEY="never-on-a-disk-4713")) as shim:
        shim.open()
        shim.run("1")
        restarted(shim)
        shim.run("1")
        files = [path for path in desk.path.rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if b"never-on-a-disk-4713" in path.read_bytes()] == []


USUAL = {"SSH_TTY": "/dev/pts/1", "TERM": "one", "TERM_PROGRAM": "one", "CLAUDE_X": "1", "CODEX_X": "1"}
USUAL |= {"DBUS_SESSION_BUS_ADDRESS": "1", "XDG_SESSION_ID": "1", "WINDOWID": "1", "SHLVL": "7", "OLDPWD": "/one"}
USUAL |= {"PWD": "/one", "_": "/one", "VIRTUAL_ENV": "/one", "CONDA_PREFIX": "/one", "CONDA_DEFAULT_ENV": "one"}


def test_a_client_that_joins_is_told_once_which_variables_differ(desk: Home) -> None:
    many = {f"DIFFERS_{letter}": "one" for letter in "ABCDEFG"}
    with desk.shim(env={**rich(desk), **USUAL, **many}) as first:
        first.open()
        assert "other values" not in first.run("1")["text"]
        theirs = dict.fromkeys((*USUAL, *many), "two")
        with desk.shim(env={**rich(desk, API_KEY=NEWER, ONLY_HERE="1"), **theirs}) as second:
            second.open()
            told = second.run("2")["text"]
            assert "API_KEY, DIFFERS_A, DIFFERS_B, DIFFERS_C, DIFFERS_D and 3 more;" in told
            assert SECRET not in told
            assert NEWER not in told
            assert "other values" not in second.run("3")["text"], "it is said once"
            assert "other values" not in first.run("4")["text"]
            restarted(second)
            assert "other values" not in second.run("5")["text"]


def test_a_client_whose_environment_is_the_same_but_for_the_usual_is_told_nothing(desk: Home) -> None:
    with desk.shim(env={**rich(desk), **USUAL}) as first:
        first.open()
        first.run("1")
        theirs: dict[str, Any] = dict.fromkeys(USUAL, "two")
        with desk.shim(env={**rich(desk, ONLY_HERE="1"), **theirs}) as second:
            second.open()
            assert "other values" not in second.run("2")["text"]
        with desk.shim(env=bare(desk)) as third:
            third.open()
            assert "other values" not in third.run("3")["text"]


def test_a_variables_name_is_told_on_one_short_line_whatever_is_in_it(desk: Home) -> None:
    names = ("A\nnote: another line", "B\udcff", "C" * 3000)
    with desk.shim(env={**rich(desk), **dict.fromkeys(names, "one")}) as first:
        first.open()
        first.run("1")
    with desk.shim(env={**rich(desk), **dict.fromkeys(names, "two")}) as second:
        second.open()
        told = second.run("2")["text"]
        assert f"A?note: another line, B?, {'C' * 80};" in told
