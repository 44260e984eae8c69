"""Promise: a Jupyter server works in our kernels, starts and ends them through the daemon, and takes none with it."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import psutil
import pytest

from tests.jupyter_support import Server, jupyter, kernel_pid
from tests.support import Home, until_now


def value(home: Home, code: str, session: str = "") -> str:
    """What a client of ours sees in the kernel."""
    done = home.cli("exec", *(["--session", session] if session else []), code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def history(home: Home, session: str = "") -> list[dict[str, Any]]:
    done = home.cli("history", "--json", *(["--session", session] if session else []))
    return list(json.loads(done.stdout)["entries"])


def over(home: Home, code: str, session: str = "") -> dict[str, Any]:
    """The entry of that code, once it is over."""

    def found() -> dict[str, Any] | None:
        entries = [each for each in history(home, session) if each["code"] == code and each["status"] != "running"]
        return entries[0] if entries else None

    return dict(until_now(found, f"{code} is on record"))


def published(server: Server) -> dict[str, Any]:
    (kernel,) = until_now(server.kernels, "the server lists a kernel of ours")
    return dict(kernel)


def test_a_server_lists_our_kernel_and_a_cell_run_there_stands_in_our_history(home: Home) -> None:
    value(home, "x = 41")
    pid = kernel_pid(home)
    with jupyter(home) as server:
        kernel = published(server)
        with server.connected(kernel["id"]) as tab:
            assert tab.run("x += 1; x") == "42"
        entry = over(home, "x += 1; x")
        assert (entry["client"], entry["status"]) == ("jane", "ok")
        assert server.ask("POST", f"api/kernels/{kernel['id']}/interrupt")[0] == 500
        server.ask("DELETE", f"api/kernels/{kernel['id']}")
        assert value(home, "x") == "42"
        server.end()
    assert value(home, "x") == "42"
    assert [each.pid for each in home.kernels()] == [pid]


@pytest.mark.parametrize("kernelspecs", [True, False])
def test_a_server_cannot_restart_what_it_only_found_and_starts_nothing(home: Home, kernelspecs: bool) -> None:
    value(home, "x = 41")
    pid = kernel_pid(home)
    with jupyter(home, kernelspecs=kernelspecs) as server:
        kernel = published(server)
        assert server.ask("POST", f"api/kernels/{kernel['id']}/restart")[0] == 500
        assert not psutil.Process(server.process.pid).children()
        assert value(home, "x") == "41"
    assert [each.pid for each in home.kernels()] == [pid]
    with jupyter(home) as server, server.connected(published(server)["id"]) as tab:
        assert tab.run("x") == "41"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_notebooks_kernel_outlives_its_server_and_is_joined_by_the_next(home: Home, number: int) -> None:
    with jupyter(home) as server:
        kernel = server.open_notebook("study.ipynb")["kernel"]
        with server.connected(kernel["id"]) as tab:
            assert tab.run("import time; x = 41; x") == "41"
            tab.wait(tab.begin("while 'go' not in globals(): time.sleep(0.01)"), "execute_input")
        pid = kernel_pid(home)
        server.end(number)
    running = [each for each in history(home, "study.ipynb") if each["status"] == "running"]
    assert len(running) == 1, "the server's end interrupted the cell"
    with jupyter(home) as server:
        kernel = server.open_notebook("study.ipynb")["kernel"]
        assert server.ask("POST", f"api/kernels/{kernel['id']}/interrupt")[0] == 204
        with server.connected(kernel["id"]) as tab:
            assert tab.run("x + 1") == "42"
    assert [each.pid for each in home.kernels()] == [pid]
    entries = {each["code"]: each for each in history(home, "study.ipynb")}
    assert entries["while 'go' not in globals(): time.sleep(0.01)"]["status"] == "interrupted"
    assert entries["x + 1"]["client"] == "jane"
    assert value(home, "x", "study.ipynb") == "41"


def test_restart_and_shut_down_in_the_browser_do_what_they_say(home: Home) -> None:
    with jupyter(home) as server:
        session = server.open_notebook("study.ipynb")
        kernel = session["kernel"]["id"]
        with server.connected(kernel) as tab:
            assert tab.run("x = 41; x") == "41"
            assert server.ask("POST", f"api/kernels/{kernel}/restart")[0] == 200
            assert tab.run("x") == "NameError"
            restarted = home.cli("restart", "study.ipynb")
            assert restarted.returncode == 0, restarted.stderr
            assert tab.run("'an agent restarted it'") == "'an agent restarted it'"
        assert server.ask("DELETE", f"api/sessions/{session['id']}")[0] == 204
        until_now(lambda: not home.kernels(), "a person's Shut Down ends the kernel")
    assert "shut down by Jupyter" in home.cli("logs", "--daemon").stdout


def test_a_kernel_that_died_is_replaced_on_request_alone(home: Home) -> None:
    with jupyter(home) as server:
        kernel = server.open_notebook("study.ipynb")["kernel"]["id"]
        with server.connected(kernel) as tab:
            assert tab.run("x = 41; x") == "41"
            os.kill(kernel_pid(home), signal.SIGKILL)
            tab.begin("'never run'")
            until_now(lambda: server.ask("GET", f"api/kernels/{kernel}")[0] == 404, "the server knows")
        assert not home.kernels()
        assert "SIGKILL" in home.cli("exec", "--session", "study.ipynb", "x").stderr
        kernel = server.open_notebook("study.ipynb")["kernel"]["id"]
        with server.connected(kernel) as tab:
            assert tab.run("x") == "NameError"


def test_a_kernelspec_for_a_session_joins_its_kernel(home: Home) -> None:
    value(home, "x = 41", "model")
    with jupyter(home) as server:
        session = server.open_notebook("other.ipynb", "supervised-session-project-model")
        with server.connected(session["kernel"]["id"]) as tab:
            assert tab.run("x + 1") == "42"
    assert over(home, "x + 1", "model")["client"] == "jane"
