"""Promise: a kernel that a process has become which stood by is like one that was just started; else it is started."""

from __future__ import annotations

import os
import resource
from typing import Any

import psutil
import pytest

from tests import spare_probe
from tests.support import Home, until_now

pytestmark = pytest.mark.timeout(240)
NO_PROCESS = (psutil.NoSuchProcess, psutil.ZombieProcess)


def spares(home: Home, state: str = "standing") -> list[psutil.Process]:
    """The processes that stand by in this home, or are about to."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or ()
        if "--spare" in command and state in command and home._is_here(process):
            found.append(process)
    return found


def spare(home: Home, besides: int = 0) -> psutil.Process:
    """The one that stands by, once it does."""
    (found,) = until_now(lambda: [each for each in spares(home) if each.pid != besides], "a kernel stands by")
    assert isinstance(found, psutil.Process)
    return found


def run(home: Home, code: str, session: str, **more: Any) -> str:
    """What a cell prints in a session."""
    ran = home.cli("exec", code, "--session", session, **more)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def pid_in(home: Home, session: str, **more: Any) -> int:
    """The pid of a session's kernel."""
    return int(run(home, "import os; print(os.getpid())", session, **more).split()[0])


def gone(process: psutil.Process) -> bool:
    """Whether it has ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except NO_PROCESS:
        return True


def log_of(home: Home) -> str:
    """What the daemon has to say."""
    return (home.path / "daemon.log").read_text()


@pytest.fixture
def ready(home: Home) -> Home:
    """A home in which a session has a kernel, and another kernel stands by."""
    run(home, "1", "first")
    spare(home)
    return home


# What user code sees


def _ordinary() -> None:
    os.umask(0o027)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))


@pytest.fixture
def elsewhere(home: Home) -> dict[str, Any]:
    """Another project, and a client there with variables, a umask and limits of its own."""
    folder = home.project.parent / "elsewhere"
    folder.mkdir()
    (folder / "file").touch()
    env = {**home.env, "PWD": str(folder), "OF_A_PROJECT": "ä \n=", "EMPTY": "", "A_LONG_ONE": "x" * 4000}
    return {"cwd": folder, "env": env, "preexec_fn": _ordinary}


def test_user_code_sees_no_difference(ready: Home, elsewhere: dict[str, Any]) -> None:
    stood = spare(ready)
    taken = run(ready, spare_probe.CELL, "taken", **elsewhere)
    cold = run(ready, spare_probe.CELL, "cold", **elsewhere)
    assert pid_in(ready, "taken", **elsewhere) == stood.pid
    assert pid_in(ready, "cold", **elsewhere) != stood.pid
    one, other = spare_probe.seen(taken.replace("taken", "cold")), spare_probe.seen(cold)
    assert {name: (one[name], seen) for name, seen in other.items() if one[name] != seen} == {}


def test_a_restarted_one_sees_no_difference(ready: Home, elsewhere: dict[str, Any]) -> None:
    probes = []
    run(ready, "1", "same", **elsewhere)
    for stood in (spare(ready), None):
        restarted = ready.cli("restart", "same", **elsewhere)
        assert restarted.returncode == 0, restarted.stderr
        probes.append(spare_probe.seen(run(ready, spare_probe.CELL, "same", **elsewhere)))
        assert stood is None or pid_in(ready, "same", **elsewhere) == stood.pid
        assert stood is not None or not spares(ready), "another was there before it was restarted again"
    one, other = probes
    assert {name: (one[name], seen) for name, seen in other.items() if one[name] != seen} == {}
