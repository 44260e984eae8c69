"""Promise: a shim is light, is there at once, and any number of them end up on one daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import Home, until_now

LIGHT = {
    "kernel_supervisor",
    "kernel_supervisor.client",
    "kernel_supervisor.client.aftermath",
    "kernel_supervisor.client.autostart",
    "kernel_supervisor.client.hello",
    "kernel_supervisor.client.opening",
    "kernel_supervisor.client.wire",
    "kernel_supervisor.envelope",
    "kernel_supervisor.isolation",
    "kernel_supervisor.paths",
    "mcp_shim",
    "mcp_shim.relay",
}
"""What of this project the shim is made of, beside the module that is its `__main__`."""
SPY = """
import atexit, json, os, runpy, sys
end = os._exit
def spying(code):
    print(json.dumps(sorted(sys.modules)), file=sys.stderr, flush=True)
    end(code)
os._exit = spying
sys.argv = ["kernel-supervisor-mcp"]
runpy.run_module("mcp_shim", run_name="__main__", alter_sys=True)
"""
"""The shim, which prints the names of what it imported when it ends."""


def _modules(code: str, home: Home) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, check=True, cwd=home.project, env=home.env
    )
    return set(json.loads(done.stderr))


def test_with_nothing_running_a_shim_answers_and_runs_code(home: Home) -> None:
    with home.shim() as shim:
        opened = shim.open()
        names = {tool["name"] for tool in shim.request("tools/list")["tools"]}
        assert not home.kernels(), "connecting starts no kernel"
        shim.run("x = 41")
        assert shim.run("x + 1")["text"].splitlines()[-1] == "42"
    assert opened["serverInfo"]["name"] == "kernel-supervisor"
    assert opened["protocolVersion"] == "2025-11-25"
    assert {"kernel_exec", "kernel_output"} <= names


def test_the_shim_imports_the_standard_library_pyzmq_and_its_own_light_modules(home: Home) -> None:
    """Through a whole life: it starts a daemon, hands on a request and its answer, and says goodbye."""
    floor = _modules("import json, sys, zmq; print(json.dumps(sorted(sys.modules)), file=sys.stderr)", home)
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening}
    shim = subprocess.Popen(
        [sys.executable, "-c", SPY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=home.project,
        env=home.env,
    )
    with shim:
        assert shim.stdin is not None
        assert shim.stdout is not None
        assert shim.stderr is not None
        shim.stdin.write(json.dumps(request).encode() + b"\n")
        shim.stdin.flush()
        assert json.loads(shim.stdout.readline())["id"] == 1
        shim.stdin.close()
        loaded = set(json.loads(shim.stderr.read().splitlines()[-1]))
    more = {name for name in loaded - floor if name.partition(".")[0] not in sys.stdlib_module_names} - {"__mp_main__"}
    assert more - {name for name in more if name.startswith("zmq.")} == LIGHT
    assert not {name.partition(".")[0] for name in loaded} & {"mcp", "pydantic", "jupyter_client", "psutil", "asyncio"}


def test_ten_shims_started_at_the_same_instant_end_up_on_one_daemon(home: Home) -> None:
    with ExitStack() as stack:
        shims = [stack.enter_context(home.shim()) for _ in range(10)]
        for shim in shims:
            shim.open()
        pids = [_daemon_of(home, number) for number in range(10)]
        shims[0].run("x = 41")
        answers = [shim.run("x + 1")["text"].splitlines()[-1] for shim in shims]
        until_now(lambda: len(home.daemons()) == 1, "those that came too late have ended")
        status = json.loads(home.cli("status", "--json").stdout)
    assert len(set(pids)) == 1
    assert answers == ["42"] * 10
    assert status["pid"] == pids[0]
    assert len([client for client in status["clients"] if client["kind"] == "shim"]) == 10
    assert len(home.kernels()) == 1


def _daemon_of(home: Home, number: int) -> int:
    daemon = home.daemon()
    assert daemon is not None, number
    return int(daemon.pid)


def test_ten_commands_at_the_same_instant_start_one_daemon(home: Home) -> None:
    commands = [
        subprocess.Popen(home.cli_command("start"), stdout=subprocess.PIPE, text=True, cwd=home.project, env=home.env)
        for _ in range(10)
    ]
    said = {command.communicate(timeout=60)[0] for command in commands}
    assert [command.returncode for command in commands] == [0] * 10
    assert len(said) == 1, "all of them found the same one"
    until_now(lambda: len(home.daemons()) == 1, "those that came too late have ended")


def test_a_stale_socket_and_lock_file_of_a_killed_daemon_are_no_hindrance(home: Home) -> None:
    assert home.cli("start").returncode == 0
    killed = home.kill_daemon()
    until_now(lambda: home.daemon() is None, "the daemon is gone")
    assert (home.path / "run/daemon.sock").exists()
    with home.shim() as shim:
        shim.open()
    daemon = home.daemon()
    assert daemon is not None
    assert daemon.pid != killed


def test_the_daemon_holds_nothing_of_the_shim_that_started_it(home: Home) -> None:
    """No descriptor of its: a client that waits for the end of the shim's output would wait for ever."""
    with home.shim(stderr=subprocess.PIPE) as shim:
        shim.open()
        (daemon,) = home.daemons()
        own = {os.readlink(f"/proc/{shim.process.pid}/fd/{number}") for number in (0, 1, 2)}
        held = [os.readlink(path) for path in Path(f"/proc/{daemon.pid}/fd").iterdir() if path.is_symlink()]
        assert not own & set(held)
        assert shim.process.stderr is not None
        shim.process.terminate()
        assert shim.process.stderr.read() == b"", "its standard error ends with it, and it had nothing to say"
        shim.process.stderr.close()


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--session"], ["--python="]])
def test_a_wrong_argument_is_told_on_standard_error_and_starts_nothing(home: Home, arguments: list[str]) -> None:
    done = subprocess.run(home.shim_command(*arguments), capture_output=True, text=True, env=home.env, check=False)
    assert done.returncode == 1
    assert done.stdout == "", "standard output is the protocol's"
    assert "usage:" in done.stderr
    assert not home.path.exists()
