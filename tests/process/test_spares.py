"""Promise: a kernel that a process has become which stood by is like one that was just started; else it is started."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import spare_probe
from tests.support import Home, interpreter_with, until, until_now

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


def test_it_is_started_in_the_project_with_its_variables_before_anything_of_its_profile_is_run(
    home: Home, elsewhere: dict[str, Any]
) -> None:
    profile = home.project.parent / "ipython"
    (profile / "profile_default/startup").mkdir(parents=True)
    startup = "import os\nbegan_in, began_with = os.getcwd(), os.environ.get('OF_A_PROJECT')\n"
    (profile / "profile_default/startup/00-first.py").write_text(startup)
    mine = {**elsewhere["env"], "IPYTHONDIR": str(profile)}
    run(home, "1", "first", env={**home.env, "IPYTHONDIR": str(profile)})
    stood = spare(home)
    assert "'ä \\n=')" in run(home, "(began_in, began_with)", "there", **{**elsewhere, "env": mine})
    assert pid_in(home, "there", **{**elsewhere, "env": mine}) == stood.pid


def test_a_second_restart_finds_the_variables_of_the_first(ready: Home, elsewhere: dict[str, Any]) -> None:
    stood = spare(ready)
    run(ready, "1", "mine", **elsewhere)
    ready.kill_daemon()
    assert ready.cli("start").returncode == 0
    lacking = {name: value for name, value in elsewhere["env"].items() if name != "OF_A_PROJECT"}
    restarted = ready.cli("restart", "mine", **{**elsewhere, "env": lacking})
    assert restarted.returncode == 0, restarted.stderr
    assert gone(stood)
    assert "'ä \\n='" in run(ready, "import os; os.environ['OF_A_PROJECT']", "mine", **elsewhere)


def test_what_runs_of_it_is_found_when_its_records_are_gone(ready: Home, elsewhere: dict[str, Any]) -> None:
    stood = spare(ready)
    run(ready, "x = 41", "mine", **elsewhere)
    ready.kill_daemon()
    for path in ready.path.glob("run/records*"):
        path.unlink()
    assert run(ready, "x + 1", "mine", **elsewhere).startswith("42")
    assert pid_in(ready, "mine", **elsewhere) == stood.pid


# For whom none is taken


READ_EARLY = {
    "LD_LIBRARY_PATH": "/nowhere",
    "TZ": "Asia/Tokyo",
    "LC_TIME": "C",
    "OMP_NUM_THREADS": "1",
    "TERM": "other",
}
READ_EARLY |= {"PYTHONHASHSEED": "1", "PYTHONPATH": "/nowhere", "MALLOC_ARENA_MAX": "1", "MPLBACKEND": "agg"}
READ_EARLY |= {"IPYTHONDIR": "/tmp/nowhere", "XDG_CONFIG_HOME": "/nowhere", "KERNEL_SUPERVISOR_PREWARM": "0"}


@pytest.mark.parametrize("name", READ_EARLY)
def test_a_client_who_differs_in_what_it_has_read_gets_a_cold_one(standing_home: Home, name: str) -> None:
    run(standing_home, "1", "usual")
    stood = spare(standing_home)
    assert pid_in(standing_home, f"with-{name}", env={**standing_home.env, name: READ_EARLY[name]}) != stood.pid


def test_none_stands_by_where_the_setting_says_so(home: Home) -> None:
    env = {**home.env, "KERNEL_SUPERVISOR_PREWARM": "0"}
    run(home, "1", "first", env=env)
    run(home, "import time; time.sleep(4)", "first", env=env)
    assert not spares(home) + spares(home, "starting")


def test_two_who_come_at_once_get_two_kernels(ready: Home) -> None:
    stood = spare(ready)
    with ThreadPoolExecutor(3) as pool:
        pids = list(pool.map(lambda number: pid_in(ready, f"s{number}"), range(3)))
    assert len(set(pids)) == 3
    assert stood.pid in pids


def test_one_whose_variables_have_no_room_is_started_with_all_of_them(ready: Home) -> None:
    stood = spare(ready)
    env = {**ready.env, "VERY_LONG": "x" * 20_000}
    assert run(ready, "import os; len(os.environ['VERY_LONG'])", "long", env=env).startswith("20000")
    assert pid_in(ready, "long", env=env) != stood.pid
    assert "starts cold" in log_of(ready)
    until_now(lambda: gone(stood), "the one that could not become it has ended")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_one_that_is_no_more_or_stands_still_makes_a_cold_start(ready: Home, number: int) -> None:
    stood = spare(ready)
    stood.send_signal(number)
    until_now(lambda: gone(stood) or stood.status() == psutil.STATUS_STOPPED, "it has")
    assert pid_in(ready, "new") != stood.pid
    until_now(lambda: gone(stood), "it has ended")


def test_an_environment_that_has_changed_is_started_anew(home: Home, tmp_path: Path) -> None:
    python = interpreter_with(tmp_path / "env")
    env = {**home.env, "KERNEL_SUPERVISOR_PYTHON": python}
    use = home.cli("use", python, "--session", "first")
    assert use.returncode == 0, use.stderr
    stood = spare(home)
    assert stood.cmdline()[0] == python
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    (site / "just_installed.py").write_text("x = 42\n")
    (site / "just_installed.pth").write_text("import just_installed\n")
    assert home.cli("use", python, "--session", "second", env=env).returncode == 0
    assert "True" in run(home, "import sys; 'just_installed' in sys.modules", "second")
    assert pid_in(home, "second") != stood.pid
    until_now(lambda: gone(stood), "it has ended")


# What is there of them


def test_they_are_counted_and_their_cost_is_told(ready: Home) -> None:
    stood = spare(ready)
    assert "standing by for the next start: 1 kernel, " in ready.cli("list").stdout
    status = ready.cli("status").stdout
    assert f"pid {stood.pid} stands by to be the next kernel of {stood.cmdline()[0]}: " in status
    (told,) = json.loads(ready.cli("status", "--json").stdout)["standing_by"]
    assert told["memory_bytes"] > 10_000_000
    assert len(json.loads(ready.cli("list", "--json").stdout)["kernels"]) == 1, "it is no kernel yet"


def test_they_end_with_their_daemon_however_that_ends(ready: Home) -> None:
    stood = spare(ready)
    ready.kill_daemon()
    until_now(lambda: gone(stood), "it has ended")
    run(ready, "1", "first")
    another = spare(ready)
    assert ready.cli("stop").returncode == 0
    until_now(lambda: gone(another), "it has ended")


def test_one_that_stands_still_is_ended_by_the_next_daemon(ready: Home) -> None:
    stood = spare(ready)
    stood.suspend()
    ready.kill_daemon()
    run(ready, "1", "first")
    until_now(lambda: gone(stood), "it has ended")
    assert spare(ready).pid != stood.pid


FAULTS = """
import os, sys

if "kernel_supervisor.daemon" in sys.orig_argv:
    from kernel_supervisor.kernels import spares
    from kernel_supervisor.records.database import Database
    from kernel_supervisor.sessions import spares as owner

    def die_if_told(moment):
        try:
            os.unlink(os.path.join({faults!r}, moment))
        except FileNotFoundError:
            return
        os.kill(os.getpid(), 9)

    def before(moment, place, name):
        real = getattr(place, name)

        def wrapped(*given, **named):
            die_if_told(moment)
            return real(*given, **named)

        setattr(place, name, wrapped)

    save = Database.save_spare

    async def saving(records, spare, process=None):
        die_if_told("nothing known" if process is None else "no process known")
        await save(records, spare, process)
        die_if_told("nothing started" if process is None else "known")

    Database.save_spare = saving
    before("not on record", owner, "Kernel")
    before("still on record", Database, "forget_spare")
    before("not told", spares.Spare, "become")
    before("told", spares, "happens")
    before("become", spares.Spare, "let_go")
"""


@pytest.fixture
def faults(home: Home) -> Path:
    """Where a file named after a moment kills the daemon there, once."""
    folder = home.project.parent / "faults"
    interpreter_with(folder, sitecustomize=FAULTS.format(faults=str(folder)))
    return folder


def _all_known(home: Home) -> bool:
    """Whether every process of this home is a kernel that a daemon holds, or stands by for that one."""
    told = json.loads(home.cli("status", "--json").stdout)
    known = {*told["pids"], *(each["pid"] for each in told["standing_by"])}
    there = {each.pid for each in [*home.kernels(), *spares(home, "starting"), *spares(home)]}
    return there == known and len(told["standing_by"]) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("moment", ["nothing known", "nothing started", "no process known", "known"])
async def test_a_daemon_that_dies_as_one_is_started_leaves_none_that_nobody_knows(
    home: Home, faults: Path, moment: str
) -> None:
    home = replace(home, python=str(faults / "bin/python"))
    (faults / moment).touch()
    async with home.client("legacy", "--python", sys.executable) as session:
        await session.run("x = 41")
        first = home.daemon()
        assert first is not None
        await until(lambda: not (faults / moment).exists(), "the fault is met")
        assert (await session.run("x + 1")).text.endswith("42")
        await until(lambda: spares(home), "another stands by")
        assert _all_known(home)


@pytest.mark.anyio
@pytest.mark.parametrize("moment", ["not on record", "still on record", "not told", "told", "become"])
async def test_a_cell_runs_once_whose_kernel_was_to_be_one_that_stood_by_when_the_daemon_died(
    home: Home, faults: Path, moment: str
) -> None:
    home = replace(home, python=str(faults / "bin/python"))
    async with home.client("legacy", "--python", sys.executable) as session:
        await session.run("1")
        await until(lambda: spares(home), "a kernel stands by")
        ran = home.project / "ran"
        (faults / moment).touch()
        result = await session.run(f"print(open({str(ran)!r}, 'a').write('x'), 'ran')", session="new", timeout=120)
        assert not (faults / moment).exists(), "the fault was not met"
        assert result.text.count("ran") == 1, result.text
        assert ran.read_text() == "x"
        (faults / moment).touch()
        await until(lambda: spares(home), "a kernel stands by")
        await session.run("x = 41", session="new")
        await session.call("kernel_restart", session="new")
        assert not (faults / moment).exists(), "the fault was not met"
        assert "NameError" in (await session.run("x", session="new")).text
        assert ran.read_text() == "x"
        await until(lambda: spares(home), "another stands by")
        assert _all_known(home)
