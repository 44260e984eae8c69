"""Promise: where no daemon can be started, everybody is told why and what to do, and nothing is run twice or lost."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest

from tests.support import DEADLINE_S, Home, Shim, interpreter_with, until_now

Requests: TypeAlias = "list[tuple[str, dict[str, Any]]]"
OPENING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bare", "version": "1"}}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bare", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _folder(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "something").touch()


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _dangling(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/nowhere/at/all")


def _others(path: Path) -> None:
    path.mkdir(parents=True)
    path.symlink_to(path) if os.geteuid() else os.chown(path, 12345, 12345)


def _cleared(path: Path) -> None:
    subprocess.run(["rm", "-rf", str(path)], check=True)


HINDRANCES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "the state folder is a file": (".", _file),
    "the state folder is somebody else's": (".", _others),
    "the run folder is a file": ("run", _file),
    "the run folder is a link to nowhere": ("run", _dangling),
    "the folder of logs is a file": ("logs", _file),
    "the lock is a folder": ("run/daemon.lock", _folder),
    "the socket is a folder with something in it": ("run/daemon.sock", _folder),
}


@pytest.mark.parametrize("what", HINDRANCES)
def test_client_and_commands_are_told_what_hinders_and_once_it_is_mended_the_next_request_works(
    home: Home, what: str
) -> None:
    name, hinder = HINDRANCES[what]
    place = home.path / name
    hinder(place)
    with home.shim(stderr=subprocess.PIPE) as shim:
        refused = _asked(shim, "initialize", OPENING)
        assert str(place) in refused, refused
        refused_again = _asked(shim, "tools/call", {"name": "kernel_exec", "arguments": {"code": "6*7"}})
        commands = [home.cli("exec", "6*7"), home.cli("start"), home.cli("list"), home.cli("save", "x.ipynb")]
        others = [home.cli("status"), home.cli("status", "--json"), home.cli("stop")]
        _cleared(place)
        shim.request("initialize", OPENING)
        assert shim.run("6*7")["text"].splitlines()[-1] == "42"
        shim.process.terminate()
        assert shim.process.stderr is not None
        said = shim.process.stderr.read().decode()
        shim.process.stderr.close()
    assert str(place) in said, "an initialize that failed is told on standard error, too"
    assert str(place) in refused_again
    for done in commands[:2]:
        assert done.returncode in (1, 3), done
        assert str(place) in done.stderr
    for done in (*commands, *others):
        assert "Traceback" not in done.stderr + done.stdout, done
    assert "Traceback" not in said


def test_a_daemon_that_comes_up_and_cannot_work_is_not_started_for_ever(home: Home) -> None:
    """Where its records are to be stands what nobody can move away: a disk."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    place = home.path / "run/records.sqlite"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    with home.shim() as shim:
        try:
            shim.send("initialize", OPENING, id=1)
            shim.answer(1)  # some daemon had the time for it, or not
            told = _asked(shim, "tools/call", {"name": "kernel_exec", "arguments": {"code": "6*7"}})
            done = home.cli("exec", "6*7")
        finally:
            subprocess.run(["umount", str(place)], check=True)
        _cleared(place)
        assert shim.run("6*7")["text"].splitlines()[-1] == "42"
    assert str(place) in told
    assert str(place) in done.stderr
    assert done.returncode == 3


def _asked(shim: Shim, method: str, params: dict[str, Any]) -> str:
    """The error with which a request is answered."""
    shim.send(method, params, id=method)
    return str(shim.answer(method)["error"]["message"])


def _fifo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        *(("run/daemon.sock", odd) for odd in (_file, _fifo, _dangling)),
        *(("daemon.log.err", odd) for odd in (_folder, _fifo)),
        *(("daemon.log", _folder), ("cache", _file)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_can_be_done_without_hinders_nobody(home: Home, name: str, odd: Callable[[Path], None]) -> None:
    odd(home.path / name)
    env = {**home.env, "KERNEL_SUPERVISOR_LOG": "very loud"}
    done = home.cli("exec", "6*7", env=env)
    assert done.stdout.splitlines()[-1:] == ["42"], done
    assert "does not start" not in done.stderr


def test_a_call_that_was_handed_over_is_told_to_be_in_doubt_and_never_runs_again(home: Home) -> None:
    gate, runs = home.project / "gate", home.project / "runs"
    code = f"import os, time\nopen({str(runs)!r}, 'a').write('x')\n"
    code += f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('ended')"
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": code}}, id="in flight")
        until_now(runs.exists, "the cell runs")
        with _without_daemon(home):
            doubt = shim.answer("in flight")["error"]["message"]
            never_sent = _asked(shim, "tools/call", {"name": "kernel_exec", "arguments": {"code": "x += 1"}})
        gate.touch()
        assert shim.run("x + 1")["text"].splitlines()[-1] == "42", "the next call starts a daemon, which has the kernel"
        history = shim.call("kernel_history")["content"][0]["text"]
        assert [message for message in _left(shim) if message.get("id") == "in flight"] == []
    assert "Do not repeat it" in doubt
    assert "kernel_history" in doubt
    assert "Do not repeat" not in never_sent, "that call did not run, and may be made again"
    assert "ended" in history or "ok" in history
    assert runs.read_text() == "x"


def _left(shim: Shim) -> list[dict[str, Any]]:
    """What the shim says until it has answered one more request."""
    shim.send("ping", id="last")
    seen: list[dict[str, Any]] = []
    while (message := shim.message()) is not None and message.get("id") != "last":
        seen.append(message)
    return seen


@contextmanager
def _without_daemon(home: Home) -> Iterator[None]:
    """The daemon is killed, and a lock file stands there that no daemon can open."""
    lock = home.path / "run/daemon.lock"
    daemon = home.daemon()
    assert daemon is not None
    lock.unlink()
    lock.mkdir()
    daemon.kill()
    try:
        yield
    finally:
        lock.rmdir()


@contextmanager
def _held(home: Home) -> Iterator[None]:
    """The lock in somebody else's hand: daemons that are started wait for it."""
    lock = home.path / "run/daemon.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_while_a_daemon_starts_slowly_a_client_is_answered_and_its_calls_wait(home: Home) -> None:
    """The first time nothing is known to answer with, and that is said; from then on it is what daemons answer."""
    asked: Requests = [("initialize", OPENING), ("tools/list", {})]
    modern: Requests = [("server/discover", {"_meta": MODERN}), ("tools/list", {"_meta": MODERN})]
    with home.shim() as shim, home.shim() as newer:
        with _held(home):
            for method, params in asked:
                shim.send(method, params, id=method)
            assert "still starting" in shim.answer("initialize")["error"]["message"]
            assert "still starting" in shim.answer("tools/list")["error"]["message"]
            shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": "6*7"}}, id="call")
        assert shim.answer("call")["result"]["content"][0]["text"].splitlines()[-1] == "42"
        known = [shim.request(method, params) for method, params in asked]
        known_newer = [newer.request(method, params) for method, params in modern]
    until_now(lambda: len(list((home.path / "cache/answers").rglob("*.json"))) == 4, "the answers are kept")
    assert home.cli("stop").returncode == 0
    with home.shim() as shim, home.shim() as newer:
        with _held(home):
            assert [shim.request(method, params) for method, params in asked] == known
            assert [newer.request(method, params) for method, params in modern] == known_newer
            shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": "6*7"}}, id="call")
        assert shim.answer("call")["result"]["content"][0]["text"].splitlines()[-1] == "42"
        assert [shim.request(method, params) for method, params in asked] == known, "asked again, of the daemon itself"


def test_a_client_is_told_where_the_daemon_has_other_tools_than_were_told_in_its_place(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        tools = shim.request("tools/list")
    kept = until_now(lambda: list((home.path / "cache/answers").rglob("tools-list*.json")), "the list is kept")
    assert home.cli("stop").returncode == 0
    kept[0].write_text('{"tools": []}')
    with home.shim() as shim:
        with _held(home):
            shim.open()
            assert shim.request("tools/list") == {"tools": []}
        assert shim.message() == {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        assert shim.request("tools/list") == tools


def test_a_kept_answer_that_is_damaged_is_no_answer(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
    (kept,) = until_now(lambda: list((home.path / "cache/answers").rglob("*.json")), "the answer is kept")
    assert home.cli("stop").returncode == 0
    kept.write_text("[1, 2")
    with home.shim() as shim, _held(home):
        assert "still starting" in _asked(shim, "initialize", OPENING)


def test_where_no_daemon_comes_up_a_client_sees_the_tools_and_its_first_call_is_told_why(home: Home) -> None:
    with home.shim() as shim:
        opened, tools = shim.open(), shim.request("tools/list")
        until_now(lambda: len(list((home.path / "cache/answers").rglob("*.json"))) == 2, "the answers are kept")
        shim.run("x = 41")
    with _without_daemon(home), home.shim() as shim:
        assert shim.open() == opened
        assert shim.request("tools/list") == tools
        told = _asked(shim, "tools/call", {"name": "kernel_exec", "arguments": {"code": "x + 1"}})
    assert str(home.path / "run/daemon.lock") in told
    with home.shim() as shim:
        shim.open()
        assert shim.run("x + 1")["text"].splitlines()[-1] == "42"


@pytest.mark.parametrize("closed", ["2>&-", "2> >(exit)"])
def test_a_client_that_does_not_hear_standard_error_is_answered(home: Home, closed: str) -> None:
    """A closed stream's number would be a pipe's or a socket's of ours."""
    (home.path / "run").parent.mkdir()
    (home.path / "run").touch()
    shim = Shim(["bash", "-c", f'exec "$@" {closed}', "bash", *home.shim_command()], cwd=home.project, env=home.env)
    try:
        assert "it is no folder" in _asked(shim, "initialize", OPENING)
        (home.path / "run").unlink()
        shim.open()
    finally:
        shim.close()


def test_a_starter_that_hangs_keeps_nobody_from_an_answer(home: Home) -> None:
    python = interpreter_with(home.path.parent / "env", hang=_HANG)
    (site,) = (home.path.parent / "env/lib").glob("*/site-packages")
    (site / "hang.pth").write_text("import hang")
    shim = Shim([python, "-I", "-m", "mcp_shim"], cwd=home.project, env=home.env)
    try:
        assert "still starting" in _asked(shim, "initialize", OPENING)
    finally:
        shim.close()


_HANG = "import signal, sys\nif 'kernel_supervisor.daemon' in sys.orig_argv: signal.pause()"


def test_a_daemon_has_more_descriptors_than_its_first_clients_shell_allows(home: Home) -> None:
    """Each kernel takes a dozen, and macOS's shells allow 256. What kernels see is their client's limit."""
    shim = Shim(
        ["bash", "-c", 'ulimit -Sn 256; exec "$@"', "bash", *home.shim_command()], cwd=home.project, env=home.env
    )
    try:
        shim.open()
        code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
        assert shim.run(code)["text"].splitlines()[-1] == "256"
        daemon = home.daemon()
        assert daemon is not None
        assert daemon.rlimit(psutil.RLIMIT_NOFILE)[0] > 256
    finally:
        shim.close()


def test_why_nothing_can_be_run_is_told_as_it_is(home: Home) -> None:
    """An environment that grew too large for a program's start is no fault of the installation."""
    code = f"import os, sys\nfor n in range(40): os.environ[f'LARGE_{{n}}'] = 'x' * 130_000\n{_BE_THE_SHIM}"
    shim = Shim([home.python, "-I", "-c", code], cwd=home.project, env=home.env)
    try:
        told = _asked(shim, "initialize", OPENING)
    finally:
        shim.close()
    assert "Argument list too long" in told
    assert "installed anew" not in told


_BE_THE_SHIM = "sys.argv = ['shim']\nfrom mcp_shim.__main__ import main\nmain()"


def test_a_daemon_that_is_stopped_is_not_said_to_start(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        daemon = home.daemon()
        assert daemon is not None
        daemon.suspend()
        told = _asked(shim, "tools/list", {})
        daemon.resume()
        assert shim.request("tools/list")["tools"]
    assert "does not answer" in told
    assert "starting" not in told


def test_daemons_that_are_killed_before_they_serve_are_started_again(home: Home) -> None:
    """Death without a word is no reason to give up."""
    killed: set[int] = set()
    over = threading.Event()

    def havoc() -> None:
        while len(killed) < 2 and not over.is_set():
            for daemon in home.daemons():
                if daemon.pid not in killed and not (home.path / "run/daemon.sock").exists():
                    _kill(daemon)
                    killed.add(daemon.pid)

    killer = threading.Thread(target=havoc)
    killer.start()
    try:
        with home.shim() as shim:
            shim.open()
            assert shim.run("6*7")["text"].splitlines()[-1] == "42"
    finally:
        over.set()
        killer.join(DEADLINE_S)


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def test_stop_with_kernels_claims_nothing_where_no_daemon_could_end_them(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        (kernel,) = home.kernels()
    with _without_daemon(home):
        done = home.cli("stop", "--kernels")
        status = json.loads(home.cli("status", "--json").stdout)
    assert done.returncode != 0
    assert "gone" not in done.stdout
    assert "no daemon is running" not in done.stdout
    assert str(home.path / "run/daemon.lock") in status["reason"]
    assert kernel.is_running()


@pytest.mark.parametrize("written", ["home", "./home/", "~/home"])
def test_a_home_means_the_same_to_client_and_daemon_however_it_is_written(home: Home, written: str) -> None:
    """Clients' configurations are not read by a shell, and the daemon works in another directory."""
    env = {**home.env, "HOME": str(home.project), "KERNEL_SUPERVISOR_HOME": written}
    place = home.project / "home"
    started = home.cli("start", env=env)
    try:
        assert started.returncode == 0, started
        assert (place / "run/daemon.lock").exists()
        assert sorted(path.name for path in home.project.iterdir()) == ["home"]
    finally:
        assert home.cli("stop", env=env).returncode == 0
