"""Promise: the daemon stops when it is told to, with its kernels or without, and comes back when it is needed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support import DEADLINE_S, Home, Shim, until_now


def _kept(home: Home) -> set[str]:
    """The files that are left, by what they are."""
    files = {str(path.relative_to(home.path)) for path in home.path.rglob("*") if not path.is_dir()}
    allowed = ("logs/", "cache/", "daemon.log", "run/records.sqlite", "run/highest-records.sqlite", "run/daemon.lock")
    return {name for name in files if not name.startswith(allowed)}


def _settled(shim: Shim) -> None:
    """The shim has gone round its loop since: what it does by itself, it has begun."""
    for _ in range(3):
        shim.write(b"not JSON")
        answer = shim.message()
        assert answer is not None
        assert answer["error"]["code"] == -32700


def test_list_shows_kernels_and_kill_ends_them(home: Home) -> None:
    with home.shim() as shim, home.shim("--session", "second") as other:
        shim.open()
        other.open()
        first, second = shim.run("x = 41")["kernel_id"], other.run("x = 42")["kernel_id"]
        listed = home.cli("list")
        assert (listed.returncode, listed.stderr) == (0, "")
        assert first in listed.stdout
        assert second in listed.stdout
        assert str(home.project) in listed.stdout
        facts = json.loads(home.cli("list", "--json").stdout)
        assert {each["kernel_id"]: each["session"] for each in facts["kernels"]} == {
            first: "project/",
            second: "project/second",
        }
        pids = {each["kernel_id"]: each["pid"] for each in facts["kernels"]}
        assert {process.pid for process in home.kernels()} == set(pids.values())
        killed = home.cli("kill", first[:8])
        assert killed.returncode == 0, killed.stderr
        assert first in killed.stdout
        assert [process.pid for process in home.kernels()] == [pids[second]]
        assert not list((home.path / "run/kernels").glob(f"{first}*")), "its sockets and connection file went with it"
        assert home.cli("kill", "second").returncode == 0, "a session's name will do"
        assert home.kernels() == []
        assert "no kernels are running" in home.cli("list").stdout
        assert shim.run("'x' in globals()")["text"].splitlines()[-1] == "False"


def test_kill_all_ends_every_kernel_and_no_daemon(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        for name in ("one", "two", "three"):
            shim.run("x = 41", session=name)
        assert len(home.kernels()) == 3
        assert home.cli("kill", "--all").returncode == 0
        assert home.kernels() == []
        assert len(home.daemons()) == 1


def test_after_stop_with_kernels_nothing_is_left_but_logs_records_and_the_lock(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("import subprocess; child = subprocess.Popen(['sleep', '1000'])")
        shim.run("x = 41", session="second")
        child = int(shim.run("child.pid")["text"].splitlines()[-1])
    stopped = home.cli("stop", "--kernels")
    assert stopped.returncode == 0, stopped.stderr
    assert home.daemons() == []
    assert home.kernels() == []
    assert not _runs(child), "what the kernel started in its session goes with it"
    assert _kept(home) == set()
    assert list((home.path / "logs").iterdir()), "logs are kept"


@pytest.mark.parametrize("kernels", [True, False], ids=["with kernels", "without"])
def test_a_connected_shim_waits_until_its_client_asks_and_then_starts_a_daemon_again(home: Home, kernels: bool) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        (stopped,) = home.daemons()
        assert home.cli("stop", *["--kernels"][: int(kernels)]).returncode == 0
        _settled(shim)
        shim.send("notifications/roots/list_changed")
        _settled(shim)
        assert home.daemons() == [], "nobody asked for one"
        assert len(home.kernels()) == int(not kernels)
        if kernels:
            assert _kept(home) == set()
        assert shim.run("'x' in globals()")["text"].splitlines()[-1] == str(not kernels)
        (daemon,) = home.daemons()
        assert daemon != stopped
    assert home.cli("status").returncode == 0


def test_stop_with_kernels_ends_what_a_killed_daemon_left_behind(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
    home.kill_daemon()
    until_now(lambda: home.daemon() is None, "the daemon is gone")
    assert len(home.kernels()) == 1
    assert home.cli("stop", "--kernels").returncode == 0
    assert home.kernels() == []
    assert home.daemons() == []
    assert _kept(home) == set()


def test_stop_while_a_cell_runs_answers_its_call_and_lets_it_go_on(home: Home) -> None:
    gate = home.project / "gate"
    with home.shim() as shim:
        shim.open()
        _start_cell(home, shim, gate)
        assert home.cli("stop").returncode == 0
        answer = shim.answer("in flight")["result"]
        assert answer["_meta"]["kernel-supervisor/result"]["status"] == "running"
        assert home.daemons() == []
        gate.touch()
        number = answer["_meta"]["kernel-supervisor/result"]["execution_id"]
        read = shim.call("kernel_output", execution_id=number, wait=60)
        assert read["_meta"]["kernel-supervisor/result"]["status"] == "ok"
        assert "ended" in read["content"][0]["text"]


def test_stop_with_kernels_while_a_cell_runs_answers_its_call_with_what_became_of_it(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        _start_cell(home, shim, home.project / "gate")
        assert home.cli("stop", "--kernels").returncode == 0
        answer = shim.answer("in flight")["result"]
        assert answer["_meta"]["kernel-supervisor/result"]["status"] not in ("ok", "running", "queued")
        assert "stopped" in answer["content"][0]["text"]
        _settled(shim)
        assert home.daemons() == []
    assert home.kernels() == []


def test_a_second_stop_has_nothing_to_do(home: Home) -> None:
    assert home.cli("start").returncode == 0
    assert home.cli("stop").returncode == 0
    again = home.cli("stop")
    assert again.returncode == 0
    assert "no daemon is running" in again.stdout
    assert home.daemons() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_a_call_in_flight_is_answered_whole_by_the_daemons_successor(home: Home, number: signal.Signals) -> None:
    gate = home.project / "gate"
    with home.shim() as shim:
        shim.open()
        _start_cell(home, shim, gate)
        pid = home.kill_daemon(number)
        until_now(lambda: (daemon := home.daemon()) is not None and daemon.pid != pid, "another daemon")
        gate.touch()
        answer = shim.answer("in flight")["result"]
        assert answer["_meta"]["kernel-supervisor/result"]["status"] == "ok"
        assert answer["content"][0]["text"].splitlines()[-2:] == ["begun", "ended"]
        assert answer["content"][0]["text"].count("begun") == 1
        assert shim.run("runs")["text"].splitlines()[-1] == "1"
    assert len(home.daemons()) == 1
    assert len(home.kernels()) == 1


def test_a_daemon_that_finds_another_one_ends_without_a_word(home: Home) -> None:
    assert home.cli("start").returncode == 0
    (daemon,) = home.daemons()
    *command, detach = daemon.cmdline()
    assert detach == "--detach"
    started = psutil.Popen(command, cwd="/", env=home.env)
    assert started.wait(DEADLINE_S) == 0
    assert home.daemons() == [daemon]


def test_a_daemon_outlasts_another_that_holds_the_lock_and_is_not_bound_any_more(home: Home) -> None:
    """As one that is on its way out. One that gave up would leave its client waiting for the next attempt."""
    run = home.path / "run"
    run.mkdir(parents=True, mode=0o700)
    with (run / "daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = psutil.Popen([sys.executable, "-m", "kernel_supervisor.daemon"], cwd="/", env=home.env)
        inode = os.stat(lock.fileno()).st_ino
        until_now(lambda: _waits_for(started, inode), "it has the lock file open")
        with pytest.raises(psutil.TimeoutExpired):
            started.wait(0.5)
    until_now(lambda: home.cli("status").returncode == 0, "it is the daemon")
    assert home.daemons() == [started]
    assert home.cli("stop").returncode == 0
    assert started.wait(DEADLINE_S) == 0


def _waits_for(process: psutil.Popen, inode: int) -> bool:
    for path in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if path.stat().st_ino == inode:
                return True
    return False


def test_a_command_that_meets_a_dying_daemon_goes_on_with_its_successor(home: Home) -> None:
    assert home.cli("start").returncode == 0
    (daemon,) = home.daemons()
    daemon.suspend()  # it is bound, and says nothing
    command = home.cli_command("start")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home.project, env=home.env) as starting:
        until_now(lambda: _connected(home, starting.pid), "the command has connected to it")
        daemon.kill()
        assert starting.wait(DEADLINE_S) == 0
    assert home.daemons() != [daemon]
    assert len(home.daemons()) == 1


def _connected(home: Home, pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return len(psutil.Process(pid).net_connections("unix")) > 0
    return False


def _runs(pid: int) -> bool:
    """Not so for one that only waits to be reaped by whoever adopted it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _start_cell(home: Home, shim: Shim, gate: Path) -> None:
    begun = home.project / "begun"
    code = f"import os, time\nruns = globals().get('runs', 0) + 1\nprint('begun')\nopen({str(begun)!r}, 'w').close()\n"
    code += f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('ended')"
    shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": code}}, id="in flight")
    until_now(begun.exists, "the cell runs")
    assert os.path.exists(home.path / "run/daemon.sock")
