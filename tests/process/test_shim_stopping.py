"""Promise: the shim ends at once when it is told to, and takes neither the daemon nor a kernel with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support import DEADLINE_S, Home, Shim, until_now

CLIENT = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'mcp_shim'])"
"""A client in a session of its own whose child is the shim, on its own standard input and output."""


@pytest.mark.parametrize("in_flight", [False, True], ids=["idle", "call in flight"])
@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "SIGINT", "SIGHUP"])
def test_a_shim_that_is_told_to_end_leaves_daemon_and_kernel_alone(home: Home, how: str, in_flight: bool) -> None:
    with home.shim() as shim:
        daemon, kernel = _working(home, shim)
        gate = home.project / "gate"
        if in_flight:
            _start_cell(home, shim, gate)
        if how == "end of input":
            assert shim.process.stdin is not None
            shim.process.stdin.close()
        else:
            shim.process.send_signal(getattr(signal, how))
        assert shim.process.wait(10) == 0
        assert shim.process.pid != daemon.pid
    _finish_cell(home, gate, in_flight)
    assert home.daemons() == [daemon]
    assert home.kernels() == [kernel]


@pytest.mark.parametrize("in_flight", [False, True], ids=["idle", "call in flight"])
def test_stopped_as_claude_code_stops_a_server_it_is_gone_before_the_last_resort(home: Home, in_flight: bool) -> None:
    with home.shim() as shim:
        _working(home, shim)
        gate = home.project / "gate"
        if in_flight:
            _start_cell(home, shim, gate)
        assert signal.SIGKILL not in _stop_as_claude_code_does(shim.process)
        assert shim.process.returncode == 0, "it ended by itself"
    _finish_cell(home, gate, in_flight)


def _stop_as_claude_code_does(process: subprocess.Popen[bytes]) -> list[signal.Signals]:
    """SIGINT, 0.1 s later SIGTERM, 0.5 s later SIGKILL; those that were needed."""
    sent = []
    for number, patience_s in ((signal.SIGINT, 0.1), (signal.SIGTERM, 0.5), (signal.SIGKILL, 10)):
        process.send_signal(number)
        sent.append(number)
        try:
            process.wait(patience_s)
            break
        except subprocess.TimeoutExpired:
            continue
    return sent


def test_a_signal_that_comes_just_before_a_shim_waits_is_not_lost(home: Home) -> None:
    """Without more, about one in 150 would be: the handler of a signal runs between two instructions of Python's."""
    for number in range(20):
        with home.shim() as shim:
            shim.write(b"no JSON")
            shim.message()
            end = time.perf_counter() + number * 20e-6  # until it waits for the next line
            while time.perf_counter() < end:
                pass
            shim.process.send_signal(signal.SIGTERM)
            assert shim.process.wait(DEADLINE_S) == 0


def test_a_shim_without_a_daemon_ends_as_quickly(home: Home) -> None:
    """The daemon hangs, as one does whose disk hangs: nothing is waited for on the way out."""
    with home.shim() as shim:
        daemon, _kernel = _working(home, shim)
        daemon.suspend()
        shim.send("tools/list", id="unanswered")
        assert signal.SIGKILL not in _stop_as_claude_code_does(shim.process)
        daemon.resume()


@pytest.mark.parametrize("what", ["process tree", "process group", "session"])
def test_a_client_that_kills_everything_of_its_own_takes_neither_daemon_nor_kernel(home: Home, what: str) -> None:
    client = Shim([sys.executable, "-c", CLIENT], cwd=home.project, env=home.env, start_new_session=True)
    try:
        daemon, kernel = _working(home, client)
        before = len(home.daemons())
        gate = home.project / "gate"
        _start_cell(home, client, gate)
        shim = _kill(client.process.pid, what)
        until_now(lambda: not shim.is_running() or shim.status() == psutil.STATUS_ZOMBIE, "the shim is gone")
    finally:
        client.process.kill()
        client.close()
    _finish_cell(home, gate, True)
    assert before == 1
    assert home.daemons() == [daemon]
    assert home.kernels() == [kernel]


def _kill(pid: int, what: str) -> psutil.Process:
    """SIGKILL to all that is below a client, in its group, or in its session; the shim among it."""
    below = psutil.Process(pid).children(recursive=True)
    (shim,) = [process for process in below if "mcp_shim" in process.cmdline()]
    if what == "process group":
        os.killpg(pid, signal.SIGKILL)
        return shim
    session = [process for process in psutil.process_iter() if _session_of(process.pid) == pid]
    for process in below if what == "process tree" else session:
        process.kill()
    return shim


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


def test_the_daemon_and_its_kernels_lead_sessions_of_their_own(home: Home) -> None:
    with home.shim() as shim:
        daemon, kernel = _working(home, shim)
        assert os.getsid(kernel.pid) == kernel.pid
        assert os.getsid(daemon.pid) not in (os.getsid(shim.process.pid), os.getsid(kernel.pid))
        assert daemon.cwd() == "/"
        assert not {shim.process.pid, os.getpid()} & {parent.pid for parent in daemon.parents()}


def _working(home: Home, shim: Shim) -> tuple[psutil.Process, psutil.Process]:
    """Open the connection and set a variable; the daemon and the kernel that came of it."""
    shim.open()
    shim.run("x = 41")
    (daemon,), (kernel,) = home.daemons(), home.kernels()
    return daemon, kernel


def _start_cell(home: Home, shim: Shim, gate: Path) -> None:
    """A call that is in flight until `gate` is there; it has begun when this returns."""
    begun = home.project / "begun"
    code = f"import os, time\nopen({str(begun)!r}, 'w').close()\n"
    code += f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nx = 42\nprint('ended')"
    shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": code}}, id="in flight")
    until_now(begun.exists, "the cell runs")


def _finish_cell(home: Home, gate: Path, in_flight: bool) -> None:
    """From a new shim: the cell goes on to its end, and the variables are there."""
    gate.touch()
    with home.shim() as shim:
        shim.open()
        assert shim.run("x")["text"].splitlines()[-1] == ("42" if in_flight else "41")
        entries = shim.call("kernel_history")["_meta"]["kernel-supervisor/result"]["entries"]
        assert {entry["status"] for entry in entries} == {"ok"}
        if in_flight:
            read = shim.call("kernel_output", execution_id=entries[1]["execution_id"])
            assert "ended" in read["content"][0]["text"]


def test_a_shim_that_ends_while_the_daemon_starts_does_not_stop_it(home: Home) -> None:
    with home.shim() as shim:
        until_now(lambda: (home.path / "run/daemon.lock").exists(), "a daemon starts")
        shim.process.send_signal(signal.SIGTERM)
        assert shim.process.wait(10) == 0
    until_now(lambda: home.cli("status").returncode == 0, "the daemon answers")
    assert len(home.daemons()) == 1
