"""Promise: under a service manager there is still one daemon, it says how it is, and taking over costs no variable."""

from __future__ import annotations

import asyncio
import configparser
import os
import plistlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel_supervisor.cli.service import filled
from tests.support import DEADLINE_S, Home, until, until_now

ODD = "R&D at 100% <x> é"
"""A folder's name with what is special to systemd and to XML."""


def _read(unit: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case
    parser.read_string(unit)
    return parser


def _verify(unit: Path) -> None:
    """What systemd itself says of the unit, where it is there to be asked."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    runtime = unit.parent / "runtime"
    runtime.mkdir(mode=0o700)
    said = subprocess.run(
        [analyze, "verify", "--user", "--man=no", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def _service(home: Home, verb: str, *, systemctl: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`kernel-supervisor service VERB` for a user of its own, with that as the service manager's command."""
    folder = home.project / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {home.project}/asked\n{systemctl}\n')
    (folder / "systemctl").chmod(0o755)
    usual = {name: value for name, value in home.env.items() if name != "KERNEL_SUPERVISOR_HOME"}
    return subprocess.run(
        [sys.executable, "-m", "kernel_supervisor.cli.main", "service", verb],
        env={**usual, "HOME": str(home.project), "PATH": f"{folder}:{os.environ['PATH']}", **env},
        cwd=home.project,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _installed(home: Home) -> Path:
    return home.project / ".config/systemd/user/kernel-supervisor.service"


linux = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's; launchd's file has its own test")


@linux
def test_installed_unit_keeps_kernels_through_all_that_systemd_does_to_the_daemon(home: Home) -> None:
    done = _service(home, "install", systemctl="exit 0")
    assert done.returncode == 0, done.stderr
    asked = [line for line in (home.project / "asked").read_text().splitlines() if not line.startswith("--user show")]
    unit = "kernel-supervisor.service"
    assert asked == ["--user daemon-reload", f"--user enable {unit}", f"--user restart {unit}"]

    service = _read(_installed(home).read_text())["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process", "stopping the daemon ends no kernel"
    assert service["OOMPolicy"] == "continue", "a kernel killed for its memory takes nobody with it"
    assert service["Restart"] == "on-failure", "a crash is mended, `kernel-supervisor stop` is obeyed"
    assert service["UMask"] == "0077"
    assert int(service["WatchdogSec"]) > 0
    assert service["ExecStart"] == f'"{sys.executable}" -I -m kernel_supervisor.daemon --service'
    assert service["ExecStop"] == f'"{sys.executable}" -I -m kernel_supervisor.cli.service'
    _verify(_installed(home))


@linux
def test_uninstalling_removes_the_unit(home: Home) -> None:
    _service(home, "install", systemctl="exit 0")
    done = _service(home, "uninstall", systemctl="exit 0")
    assert done.returncode == 0
    assert not _installed(home).exists()
    assert _service(home, "status", systemctl="exit 0").returncode == 1
    assert _service(home, "uninstall", systemctl="exit 0").stdout == "the service is not installed\n"


@linux
def test_install_without_a_service_manager_leaves_no_unit_behind(home: Home) -> None:
    done = _service(home, "install", systemctl="echo no bus >&2; exit 1")
    assert done.returncode == 1
    assert "did not take it" in done.stderr
    assert not _installed(home).exists(), "clients would try it before they start a daemon themselves"


def test_install_for_a_home_of_its_own_is_refused(home: Home) -> None:
    done = _service(home, "install", systemctl="exit 0", KERNEL_SUPERVISOR_HOME=str(home.path))
    assert done.returncode == 2
    assert "KERNEL_SUPERVISOR_HOME is set" in done.stderr
    assert not (home.project / "asked").exists()


def test_unit_names_an_interpreter_with_special_characters(home: Home) -> None:
    python = home.project / ODD / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    unit = home.project / "kernel-supervisor.service"
    unit.write_text(filled(mac=False, python=str(python)))
    assert "@" not in unit.read_text()
    _verify(unit)  # it checks that the program is there


def test_plist_starts_the_daemon_again_after_a_crash_and_spares_its_kernels() -> None:
    plist = plistlib.loads(filled(mac=True, python=f"/{ODD}/python").encode())
    assert plist["ProgramArguments"] == [f"/{ODD}/python", "-I", "-m", "kernel_supervisor.daemon", "--service"]
    assert plist["AbandonProcessGroup"] is True
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["RunAtLoad"] is True
    assert plist["Umask"] == 0o077
    assert plist["Label"] == "io.github.kernel-supervisor"


# The daemon's side of it


@contextmanager
def _daemon_of_a_service(home: Home, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon as a service manager starts it."""
    command = [sys.executable, "-m", "kernel_supervisor.daemon", "--service"]
    with subprocess.Popen(command, env={**home.env, **env}, cwd="/") as process:
        try:
            yield process
        finally:
            process.terminate()


def _owner(home: Home) -> int | None:
    """The pid of the daemon that holds the lock now."""
    daemon = home.daemon()
    return None if daemon is None else daemon.pid


def _messages(listener: socket.socket) -> Iterator[str]:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        listener.settimeout(max(0.01, end - time.monotonic()))
        yield listener.recv(4096).decode()


def test_daemon_tells_its_service_manager_that_it_is_ready_alive_and_stopping(home: Home) -> None:
    address = str(home.project / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        with _daemon_of_a_service(home, NOTIFY_SOCKET=address, WATCHDOG_USEC="200000") as process:
            messages = _messages(listener)
            assert any(message == "READY=1" for message in messages)
            assert any(message == "WATCHDOG=1" for message in messages)
            assert any(message == "WATCHDOG=1" for message in messages), "again and again"
            process.terminate()
            assert any(message == "STOPPING=1" for message in messages)
            assert process.wait(DEADLINE_S) == 0


def test_daemon_does_not_feed_a_watchdog_that_is_for_another_process(home: Home) -> None:
    address = str(home.project / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        watchdog = {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": str(os.getpid())}
        with _daemon_of_a_service(home, NOTIFY_SOCKET=address, **watchdog) as process:
            messages = _messages(listener)
            assert next(messages) == "READY=1"
            process.terminate()
            assert next(messages) == "STOPPING=1"


@pytest.mark.anyio
async def test_service_takes_over_from_a_client_started_daemon_with_kernel_and_variable(home: Home) -> None:
    async with home.client() as session:
        first = await session.run("x = 41")
        old = home.daemon()
        assert old is not None
        with _daemon_of_a_service(home) as service:
            await until(lambda: _owner(home) == service.pid, "a new owner")
            await until(lambda: not old.is_running(), "the old daemon's end")
            second = await session.run("x + 1")
    assert second.text.splitlines()[-1] == "42"
    assert second.facts["kernel_id"] == first.facts["kernel_id"]
    assert second.facts["execution_count"] == 2


@pytest.mark.anyio
async def test_cell_that_runs_through_the_handing_over_is_answered_once_and_whole(home: Home) -> None:
    go, begun = home.project / "go", home.project / "begun"
    code = f"""
import pathlib, time
with open({str(begun)!r}, "a") as file:
    file.write("begun\\n")
print("before")
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.01)
print("after")
"""
    async with home.client() as session:
        call = asyncio.create_task(session.run(code, timeout=DEADLINE_S))
        await until(begun.exists, "the cell's beginning")
        with _daemon_of_a_service(home) as service:
            await until(lambda: _owner(home) == service.pid, "a new owner")
            go.touch()
            result = await call
    assert result.facts["status"] == "ok"
    assert result.text.splitlines()[-2:] == ["before", "after"]
    assert begun.read_text() == "begun\n", "the cell ran once"


def test_daemon_started_by_a_client_leaves_where_a_service_runs(home: Home) -> None:
    with _daemon_of_a_service(home) as service:
        until_now(lambda: home.daemon() is not None, "a daemon")
        late = subprocess.run([sys.executable, "-m", "kernel_supervisor.daemon"], env=home.env, timeout=DEADLINE_S)
        assert late.returncode == 0
        assert service.poll() is None


def test_stopped_service_ends_well_so_that_it_is_not_started_again(home: Home) -> None:
    """`Restart=on-failure` and `SuccessfulExit` look at the exit code."""
    with _daemon_of_a_service(home) as service:
        until_now((home.path / "run/daemon.sock").exists, "the daemon's socket")
        stop = [sys.executable, "-m", "kernel_supervisor.cli.main", "stop"]
        assert subprocess.run(stop, env=home.env, timeout=DEADLINE_S).returncode == 0
        assert service.wait(DEADLINE_S) == 0
