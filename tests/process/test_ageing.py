"""Promise: where sockets have to be in a folder that others clean, they stay there; records are never in it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support import DEADLINE_S, Home, until_now

pytestmark = pytest.mark.timeout(180)
_MACHINE = "mount -t tmpfs -o mode=1777 tmpfs /var/tmp && echo there && exec cat"
TMPFILES = shutil.which("systemd-tmpfiles")


@pytest.fixture
def far(home: Home) -> Iterator[Home]:
    """A home on a path that is too long for sockets."""
    far = replace(home, path=home.path.parent / ("far" * 40))
    yield far
    for each in (*far.daemons(), *_kernels(far)):
        each.kill()
    with suppress(AssertionError):
        shutil.rmtree(_place(far), ignore_errors=True)


def _place(home: Home) -> Path:
    """Where its sockets are."""
    code = "from kernel_supervisor.paths import find; print(find().run)"
    told = subprocess.run([sys.executable, "-c", code], env=home.env, capture_output=True, text=True, check=True)
    return Path(told.stdout.strip())


def _kernels(home: Home) -> list[object]:
    return Home._processes(str(_place(home)))


def _can_be_cleaned(folder: Path) -> bool:
    """As systemd-tmpfiles finds it out."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def test_daemon_and_kernels_hold_the_folder_of_their_sockets_each_on_its_own(far: Home) -> None:
    place = _place(far)
    far.cli("exec", "x = 41")
    assert not _can_be_cleaned(place)
    (daemon,) = far.daemons()
    daemon.kill()
    daemon.wait(DEADLINE_S)
    assert not _can_be_cleaned(place), "a kernel holds it"
    assert far.cli("exec", "print(x + 1)").stdout.splitlines()[-1] == "42"
    assert far.cli("kill", "--all").returncode == 0
    assert not _can_be_cleaned(place), "the daemon holds it"
    assert far.cli("stop").returncode == 0
    until_now(lambda: _can_be_cleaned(place), "nobody holds it")


def test_records_are_where_nobody_cleans_and_those_of_before_are_taken_there(far: Home) -> None:
    place = _place(far)
    far.cli("exec", "print('kept')")
    assert far.cli("stop").returncode == 0
    assert not list(place.glob("records*"))
    for path in list(far.path.glob("records.sqlite*")):  # as a version before this one left them
        shutil.move(path, place / path.name)
    assert far.cli("start").returncode == 0
    assert "print('kept')" in far.cli("history").stdout
    assert not list(place.glob("records*"))
    with closing(sqlite3.connect(far.path / "records.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM executions").fetchone() == (1,)


def test_ending_it_all_leaves_nothing_in_the_shared_folder(far: Home) -> None:
    place = _place(far)
    far.cli("exec", "1")
    assert place.exists()
    assert far.cli("stop", "--kernels").returncode == 0
    until_now(lambda: not list(place.parent.glob(f"{place.name}*")), "it is gone")
    assert "1" in far.cli("exec", "1").stdout
    assert far.cli("stop", "--kernels").returncode == 0


@dataclass(frozen=True)
class Machine:
    """A /var/tmp of its own."""

    pid: int

    def run(self, *command: str, **more: object) -> subprocess.CompletedProcess[str]:
        entered = ["nsenter", "--mount", f"--target={self.pid}", "--", *command]
        return subprocess.run(entered, capture_output=True, text=True, timeout=DEADLINE_S, check=False, **more)  # type: ignore[call-overload,no-any-return]  # what is more is passed on


@pytest.fixture
def machine() -> Iterator[Machine]:
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", _MACHINE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        yield Machine(process.pid)
        process.send_signal(signal.SIGKILL)


@pytest.mark.skipif(
    os.geteuid() != 0 or TMPFILES is None, reason="it takes root's rights to mount, and systemd-tmpfiles"
)
@pytest.mark.parametrize("alive", ["daemon and kernel", "kernel"])
def test_systemds_cleaner_takes_nothing_of_what_lives(far: Home, machine: Machine, alive: str) -> None:
    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        return machine.run(*far.cli_command(*arguments), cwd=far.project, env=far.env)

    assert cli("exec", "x = 41").returncode == 0
    machine.run("sh", "-c", "mkdir /var/tmp/other && touch /var/tmp/other/file /var/tmp/file")
    if alive == "kernel":
        (daemon,) = far.daemons()
        daemon.kill()
        daemon.wait(DEADLINE_S)
    rules = far.project / "rules.conf"
    rules.write_text("q /var/tmp 1777 root root 0\n")
    cleaned = machine.run("systemd-tmpfiles", "--clean", str(rules))
    assert cleaned.returncode == 0, cleaned
    left = machine.run("find", "/var/tmp").stdout.split()
    assert "/var/tmp/file" not in left
    assert [path for path in left if path.endswith("daemon.lock")]
    assert [path for path in left if path.endswith(".json")]
    assert cli("exec", "print(x + 1)").stdout.splitlines()[-1:] == ["42"]
    assert cli("stop", "--kernels").returncode == 0
