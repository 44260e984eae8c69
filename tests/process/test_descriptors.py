"""Promise: a daemon that has few file descriptors refuses what would end it, says so, and goes on with all else."""

from __future__ import annotations

import subprocess

import pytest

from tests.support import RESULT, Home, Shim

OPENING = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bare", "version": "1"}}
pytestmark = pytest.mark.timeout(180)


def _limited(home: Home, descriptors: int) -> Shim:
    script = f'ulimit -n {descriptors}; exec "$@"'
    return Shim(["bash", "-c", script, "bash", *home.shim_command()], cwd=home.project, env=home.env)


def test_a_kernel_more_than_there_are_descriptors_for_is_refused_and_the_others_work_on(home: Home) -> None:
    shim = _limited(home, 160)
    try:
        shim.open()
        works, refused = 0, ""
        while not refused and works < 20:
            result = shim.call("kernel_exec", code=f"x = {works}", session=f"number-{works}")
            refused = result["content"][0]["text"] if result["isError"] else ""
            works += not refused
        assert "file descriptors left" in refused, refused
        assert "kernel_list_running" in refused
        daemon = home.daemon()
        for number in range(works):
            assert shim.run("x", session=f"number-{number}")["text"].endswith(str(number))
        listed = shim.call("kernel_list_running")["_meta"][RESULT]["kernels"]
        shim.call("kernel_shutdown", kernel_id=listed[0]["kernel_id"])
        assert shim.run("'there is room again'", session="one-more")["text"].endswith("'there is room again'")
        assert home.daemon() == daemon
    finally:
        shim.close()


def test_a_daemon_that_cannot_have_enough_of_them_says_so(home: Home) -> None:
    shim = _limited(home, 40)
    try:
        shim.send("initialize", OPENING, id=1)
        told = str(shim.answer(1))
        assert "file descriptors" in told, told
        assert "ulimit -Hn" in told
    finally:
        shim.close()


def test_a_command_line_that_cannot_have_enough_of_them_says_so(home: Home) -> None:
    assert home.cli("start").returncode == 0
    command = ["bash", "-c", 'ulimit -n 8; exec "$@"', "bash", *home.cli_command("list")]
    told = subprocess.run(command, cwd=home.project, env=home.env, capture_output=True, text=True, check=False)
    assert told.returncode == 3
    assert "ulimit -n" in told.stderr
    assert "Traceback" not in told.stderr
