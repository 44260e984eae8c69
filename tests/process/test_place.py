"""Promise: whoever removes a running daemon's socket, lock or folder gets neither a second daemon nor a lost client."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import Home, until_now

pytestmark = pytest.mark.timeout(180)


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink()


def _remove_folder(run: Path) -> None:
    """At one stroke: what is removed piece by piece is made again meanwhile."""
    doomed = run.with_name("doomed")
    run.rename(doomed)
    shutil.rmtree(doomed)


def _replace(path: Path) -> None:
    path.unlink()
    path.write_text("something else")


def _replace_at_once(path: Path, make: Callable[[Path], object]) -> None:
    """So that the daemon cannot have made its own again before."""
    make(path.with_name("aside"))
    path.with_name("aside").replace(path)


def _replace_by_itself(path: Path, link: str = "") -> None:
    """By another name of the same file, or a link to it."""
    other = path.with_name("other")
    other.hardlink_to(path)
    if link:
        _replace_at_once(path, lambda aside: aside.symlink_to(link))
    else:
        path.unlink()
        other.replace(path)


REMOVALS: dict[str, Callable[[Path], object]] = {
    "socket": lambda run: _remove(run / "daemon.sock"),
    "lock": lambda run: _remove(run / "daemon.lock"),
    "socket and lock": lambda run: _remove(run / "daemon.lock", run / "daemon.sock"),
    "socket replaced": lambda run: _replace(run / "daemon.sock"),
    "lock replaced": lambda run: _replace(run / "daemon.lock"),
    "all files": lambda run: _remove(*(path for path in run.iterdir() if not path.is_dir())),
    "the folder": _remove_folder,
    "the folder moved away": lambda run: run.rename(run.with_name("away")),
    "the records": lambda run: _remove(*run.glob("records*")),
    "socket behind a link": lambda run: _replace_by_itself(run / "daemon.sock", "other"),
    "socket by another name": lambda run: _replace_by_itself(run / "daemon.sock"),
    "link to nowhere": lambda run: _replace_at_once(run / "daemon.sock", lambda path: path.symlink_to("no/where")),
    "pipe for the socket": lambda run: _replace_at_once(run / "daemon.sock", os.mkfifo),
    "pipe for the lock": lambda run: _replace_at_once(run / "daemon.lock", os.mkfifo),
    "lock truncated": lambda run: os.truncate(run / "daemon.lock", 0),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
def test_what_is_removed_under_a_daemon_is_made_again(home: Home, remove: Callable[[Path], object]) -> None:
    run = home.path / "run"
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        daemon = home.daemon()
        remove(run)
        assert shim.run("x += 1; x")["text"].endswith("42")
        other = home.cli("exec", "x += 1; print(x)")
        assert other.stdout.splitlines()[-1:] == ["43"], other.stderr
        assert "the daemon runs" in home.cli("status").stdout
        assert [each.pid for each in home.daemons()] == [daemon.pid]  # type: ignore[union-attr]  # there was one
        until_now(lambda: (run / "records.sqlite").exists() and (run / "daemon.lock").exists(), "all is there again")
        assert home.cli("restart-daemon").returncode == 0
        assert "x = 41" in home.cli("history").stdout
    assert home.cli("stop", "--kernels").returncode == 0
    for kernel in home.kernels():  # whose sockets were removed: nobody can reach it any more
        kernel.kill()


def test_many_clients_that_come_when_everything_is_gone_find_the_one_daemon(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 0")
        for round_ in range(5):
            _remove_folder(home.path / "run")
            command = home.cli_command("exec", "x += 1")
            others = [subprocess.Popen(command, cwd=home.project, env=home.env) for _ in range(4)]
            assert [other.wait(60) for other in others] == [0] * 4
            assert shim.run("x")["text"].endswith(str(4 * (round_ + 1)))
            assert len(home.daemons()) == 1
    for process in (*home.daemons(), *home.kernels()):
        os.kill(process.pid, 9)


IN_THE_WAY: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "folder for the socket": ("run/daemon.sock", Path.mkdir, Path.rmdir),
    "folder for the lock": ("run/daemon.lock", Path.mkdir, Path.rmdir),
    "link for the lock": ("run/daemon.lock", lambda path: path.symlink_to("/dev/null"), Path.unlink),
    "file for the folder": ("run", Path.touch, Path.unlink),
    "link for the folder": ("run", lambda path: path.symlink_to(path.parent.parent / "elsewhere"), Path.unlink),
}


@pytest.mark.parametrize("form", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_stood_in_the_way_for_a_while_is_overcome_and_what_is_removed_later_too(
    home: Home, form: tuple[str, Callable[[Path], object], Callable[[Path], object]]
) -> None:
    name, put, take = form
    path, log = home.path / name, home.path / "daemon.log"
    assert home.cli("exec", "x = 41").returncode == 0
    daemon = home.daemon()
    assert daemon is not None
    daemon.suspend()  # or it makes again what is missed, before anything stands in the way
    path.rename(home.path.parent / "elsewhere")
    put(path)
    daemon.resume()
    until_now(lambda: "cannot be had, and is tried again" in log.read_text(), "it is missed")
    daemon.suspend()  # or it makes its own before the one that was moved is back
    take(path)
    if name == "run":
        (home.path.parent / "elsewhere").rename(path)
    daemon.resume()
    for number in (42, 43):
        assert home.cli("exec", "x += 1; print(x)").stdout.splitlines()[-1:] == [str(number)]
        until_now(lambda: (home.path / "run/daemon.lock").exists(), "it has its place")
        (home.path / "run/daemon.sock").unlink()
    assert home.cli("exec", "x += 1; print(x)").stdout.splitlines()[-1:] == ["44"]
    assert [each.pid for each in home.daemons()] == [daemon.pid]


@pytest.mark.parametrize("depth", [0, 1], ids=["the home", "the folder that it is in"])
def test_a_home_that_is_moved_away_is_made_again_before_a_second_daemon_comes(home: Home, depth: int) -> None:
    home = replace(home, path=home.path / "deep")
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        daemon = home.daemon()
        moved = [home.path, *home.path.parents][depth]
        moved.rename(moved.with_name("away"))
        until_now((home.path / "run/daemon.sock").exists, "it is missed, not only looked for now and then", 20)
        assert home.cli("exec", "assert x == 41").returncode == 0
        assert "x = 41" in str(shim.call("kernel_history"))
        assert [each.pid for each in home.daemons()] == [daemon.pid]  # type: ignore[union-attr]  # there was one
    home.sweep()


@pytest.mark.parametrize("part", ["", "run"], ids=["the home", "its folder for sockets"])
def test_what_is_moved_and_put_back_is_as_it_was(home: Home, part: str) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        daemon = home.daemon()
        assert daemon is not None
        for number in (42, 43, 44):
            daemon.suspend()  # or it makes another before this one is back
            folder = home.path / part
            folder.rename(folder.with_name("away"))
            folder.with_name("away").rename(folder)
            daemon.resume()
            assert shim.run("x += 1; x")["text"].endswith(str(number))
            assert home.cli("exec", f"assert x == {number}").returncode == 0
            assert [each.pid for each in home.daemons()] == [daemon.pid]
        assert "x = 41" in home.cli("history").stdout


def test_a_home_whose_name_cannot_be_had_is_named_with_the_reason(home: Home) -> None:
    odd = os.fsdecode(os.fsencode(home.path) + b"/\xff")
    done = home.cli("exec", "1", env={**home.env, "KERNEL_SUPERVISOR_HOME": odd})
    assert (done.returncode, "not UTF-8" in done.stderr) == (1, True), done
