"""Promise: a name at a terminal means this project's session, else the only one of it, and never one by chance."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import Home


@pytest.fixture
def home(standing_home: Home) -> Iterator[Home]:
    """A home with nothing in it."""
    yield standing_home
    standing_home.cli("kill", "--all")
    standing_home.cli("forget", "-y", "--older-than", "0")


_numbers = itertools.count()


@pytest.fixture
def two(home: Home, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two projects and a third place, with names that no other test's have."""
    one, other, third = (tmp_path / f"{name}{next(_numbers)}" for name in ("one", "two", "third"))
    for folder in (one, other, third):
        folder.mkdir()
    return one, other, third


def _done(home: Home, *arguments: str, cwd: Path) -> str:
    done = home.cli(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def _refused(home: Home, *arguments: str, cwd: Path) -> str:
    done = home.cli(*arguments, cwd=cwd)
    assert done.returncode == 1, done.stdout
    return str(done.stderr)


def _living(home: Home, cwd: Path) -> set[str]:
    kernels: list[dict[str, Any]] = json.loads(_done(home, "list", "--json", cwd=cwd))["kernels"]
    return {each["session"] for each in kernels}


def test_kill_means_this_projects_then_the_only_one_and_else_lists_them(
    home: Home, two: tuple[Path, Path, Path]
) -> None:
    one, other, third = two
    for each in (one, other):
        _done(home, "exec", "--session", "explore", "x = 41", cwd=each)
    said = _refused(home, "kill", "explore", cwd=third)
    assert f'"{one.name}/explore", "{other.name}/explore"' in said
    assert _living(home, third) == {f"{one.name}/explore", f"{other.name}/explore"}
    _done(home, "kill", "explore", cwd=one)
    assert _living(home, third) == {f"{other.name}/explore"}
    assert f"no kernel lives in session {one.name}/explore" in _refused(home, "kill", "explore", cwd=one)
    assert f'"{one.name}/explore", "{other.name}/explore"' in _refused(home, "kill", "explore", cwd=third), (
        "one is kept still"
    )
    _done(home, "forget", "-y", "explore", cwd=one)
    _done(home, "kill", "explore", cwd=third)
    assert _living(home, third) == set()


def test_restart_interrupt_and_forget_find_sessions_in_the_same_way(home: Home, two: tuple[Path, Path, Path]) -> None:
    one, other, third = two
    for each in (one, other):
        _done(home, "exec", "--session", "explore", "x = 41", cwd=each)
    for verb in ("restart", "interrupt", "forget"):
        assert f'"{one.name}/explore", "{other.name}/explore"' in _refused(home, verb, "explore", cwd=third), verb
        assert "'a/b'" in _refused(home, verb, "a/b", cwd=third), verb
    _done(home, "restart", f"{other.name}/explore", cwd=third)
    _done(home, "interrupt", "explore", cwd=one)
    assert _done(home, "exec", "--session", "explore", "x", cwd=one).splitlines()[-1] == "41"
    assert "NameError" in home.cli("exec", "--session", "explore", "x", cwd=other).stderr
    _done(home, "kill", "explore", cwd=other)
    assert f"session {other.name}/explore is forgotten" in _done(home, "forget", "-y", "explore", cwd=other)
    _done(home, "restart", "explore", cwd=third)
    assert "NameError" in home.cli("exec", "--session", "explore", "x", cwd=one).stderr, "the only one that is left"


def test_a_projects_own_session_is_found_by_its_folder(home: Home, two: tuple[Path, Path, Path]) -> None:
    one, _, third = two
    _done(home, "exec", "1", cwd=one)
    assert _done(home, "exec", "--session", f"{one.name}/", "2", cwd=third).splitlines()[-1] == "2"
    _done(home, "kill", one.name, cwd=third)
    assert _living(home, third) == set()
    assert f"session {one.name}/ is forgotten" in _done(home, "forget", "-y", f"{one.name}/", cwd=third)


def test_a_name_that_is_no_session_is_never_the_beginning_of_a_kernels_id(
    home: Home, two: tuple[Path, Path, Path]
) -> None:
    one, _, third = two
    _done(home, "exec", "1", cwd=one)
    (kernel,) = json.loads(_done(home, "list", "--json", cwd=one))["kernels"]
    name = kernel["kernel_id"][:3]
    _done(home, "exec", "--session", name, "1", cwd=one)
    _done(home, "kill", name, cwd=one)
    _refused(home, "kill", name, cwd=one)
    assert _living(home, third) == {f"{one.name}/"}


@pytest.mark.parametrize("command", [("exec", "x"), ("history",), ("save", "here"), ("envs",), ("detach",)])
def test_in_a_subdirectory_the_nearest_project_above_is_meant_and_that_is_said(
    home: Home, two: tuple[Path, Path, Path], command: tuple[str, ...]
) -> None:
    one, _, _ = two
    below = one / "src/deep"
    below.mkdir(parents=True)
    quiet = home.cli("exec", "x = 41", cwd=one)
    assert quiet.stderr == ""
    done = home.cli(*command, cwd=below)
    assert done.returncode == 0, done.stderr
    assert f"in session {one.name}/ of {one}" in done.stderr
    if command[0] == "exec":
        assert done.stdout.splitlines()[-1] == "41"
    if command[0] == "save":
        assert (below / "here.ipynb").exists(), "relative paths start where the person is"
    if command[0] in ("exec", "history", "envs"):
        assert home.cli(command[0], "--json", *command[1:], cwd=below).stderr == ""
    assert home.cli("exec", "--session", f"{one.name}/", "1", cwd=below).stderr == "", "it was spelled whole"


def test_what_is_ended_in_a_subdirectory_is_the_nearest_projects_above_and_that_is_said(
    home: Home, two: tuple[Path, Path, Path]
) -> None:
    one, _, _ = two
    below = one / "src"
    below.mkdir()
    _done(home, "exec", "--session", "explore", "1", cwd=one)
    told = f"kernel-supervisor: in session {one.name}/explore of {one}\n"
    for command in ("interrupt", "restart", "kill"):
        done = home.cli(command, "explore", cwd=below)
        assert (done.returncode, done.stderr) == (0, told), command
    assert home.cli("interrupt", "explore", cwd=one).stderr == ""
    assert home.cli("interrupt", f"{one.name}/explore", cwd=below).stderr == "", "it was spelled whole"


def test_no_kernelspec_takes_the_place_of_another_sessions(home: Home, two: tuple[Path, Path, Path]) -> None:
    """Their names differ in what Jupyter does not allow alone."""
    one, _, _ = two
    folders = {one / "a": "b-c", one / "a-b": "c", one / "A-B": "C"}
    env = {**home.env, "JUPYTER_DATA_DIR": str(one / "data")}
    for _ in range(2):
        for folder, word in folders.items():
            folder.mkdir(exist_ok=True)
            done = home.cli("kernelspec", "install", "--session", word, cwd=folder, env=env)
            assert done.returncode == 0, done.stderr
    specs = [json.loads(path.read_text()) for path in (one / "data/kernels").glob("*/kernel.json")]
    found = sorted(each["metadata"]["kernel_provisioner"]["config"]["session"] for each in specs)
    assert found == ["A-B/C", "a-b/c", "a/b-c"]


def test_the_nearest_project_is_meant_not_the_highest(home: Home, two: tuple[Path, Path, Path]) -> None:
    one, _, _ = two
    inner = one / f"in-{one.name}"
    below = inner / "src"
    below.mkdir(parents=True)
    _done(home, "exec", "where = 'outer'", cwd=one)
    env = {**home.env, "CLAUDE_PROJECT_DIR": str(inner)}
    assert home.cli("exec", "where = 'inner'", cwd=one, env=env).stderr == "", (
        "a project that is named is taken as it is"
    )
    assert _done(home, "exec", "where", cwd=below).splitlines()[-1] == "'inner'"
    assert f"in session {inner.name}/explore" in home.cli("exec", "--session", "explore", "1", cwd=below).stderr
    _done(home, "kill", "explore", cwd=below)
    assert _living(home, one) == {f"{one.name}/", f"{inner.name}/"}


@pytest.mark.parametrize("own", [True, False])
def test_the_home_directory_is_above_everything_and_no_project_of_what_is_below(
    home: Home, two: tuple[Path, Path, Path], own: bool
) -> None:
    one, _, _ = two
    below = one / "src"
    below.mkdir()
    env = {**home.env, "HOME": str(one)}
    assert home.cli("exec", "x = 41", cwd=one, env=env).returncode == 0
    done = home.cli("exec", "'x' in globals()", cwd=one if own else below, env=env)
    assert (done.stdout.splitlines()[-1], done.stderr) == (str(own), "")


def test_a_client_in_a_subdirectory_is_taken_as_it_is(home: Home, two: tuple[Path, Path, Path]) -> None:
    one, _, _ = two
    below = one / f"in-{one.name}"
    below.mkdir()
    _done(home, "exec", "x = 41", cwd=one)
    with home.shim(cwd=below) as shim:
        shim.open()
        assert shim.run("'x' in globals()")["session"] == f"{below.name}/"


def test_every_command_refuses_what_names_no_session(home: Home, two: tuple[Path, Path, Path]) -> None:
    one, _, _ = two
    _done(home, "exec", "1", cwd=one)
    for command in (("exec", "1"), ("history",), ("save",), ("envs",), ("use", "default"), ("detach",)):
        said = _refused(home, *command, "--session", "a/b", cwd=one)
        assert "'a/b' names no session" in said, command
        assert "Traceback" not in said
    assert _living(home, one) == {f"{one.name}/"}
