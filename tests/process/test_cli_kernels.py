"""Promise: from a terminal kernels can be seen, restarted, interrupted, ended, read about and talked to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv

import pexpect
import pytest

from tests.support import Home, until_now

COMMANDS = (
    *("list", "kill", "restart", "interrupt", "console", "exec", "history", "output", "save", "envs", "use"),
    *("sessions", "forget", "attach", "detach"),
    *("status", "start", "stop", "logs", "demo", "register", "service"),
)
NO_CONSOLE = "import sys; sys.modules['jupyter_console'] = None\nfrom kernel_supervisor.cli.main import main\n"


def test_help_names_every_command_and_the_exit_codes(home: Home) -> None:
    done = home.cli("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command} ", done.stdout, re.MULTILINE), command
        own = home.cli(command, "--help")
        assert own.returncode == 0
        assert len(own.stdout.splitlines()) > 3, command
    assert "exit codes: 0 done, 1 " in done.stdout
    assert "2 wrong usage, 3 no daemon" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["kill", "--all"], ["kill", "x"], ["status"], ["history"], ["logs", "x"], ["interrupt", "x"]],
    ids=" ".join,
)
def test_without_a_daemon_what_needs_one_is_exit_code_3_and_starts_none(home: Home, arguments: list[str]) -> None:
    done = home.cli(*arguments)
    assert done.returncode == 3, done
    assert "no daemon is running" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not home.daemons()


def test_programs_are_told_that_no_daemon_runs_in_json(home: Home) -> None:
    status = home.cli("status", "--json")
    assert status.returncode == 3
    assert json.loads(status.stdout)["running"] is False
    listed = json.loads(home.cli("list", "--json").stdout)
    assert (listed["kernels"], listed["others"]) == ([], [])


def test_start_and_status_name_the_daemon_and_its_places(home: Home) -> None:
    started = home.cli("start")
    (daemon,) = home.daemons()
    assert (started.returncode, f"pid {daemon.pid}" in started.stdout) == (0, True)
    assert home.cli("start").stdout == started.stdout, "to start it again changes nothing"
    status = home.cli("status")
    assert status.returncode == 0
    for shown in (str(daemon.pid), str(home.path), str(home.path / "run/daemon.sock"), str(home.path / "daemon.log")):
        assert shown in status.stdout
    facts = json.loads(home.cli("status", "--json").stdout)
    assert (facts["running"], facts["pid"], facts["kernels"]) == (True, daemon.pid, 0)


def test_restart_gives_a_session_a_fresh_process(home: Home) -> None:
    home.cli("exec", "x = 41")
    (before,) = home.kernels()
    done = home.cli("restart", "project")
    assert (done.returncode, done.stderr) == (0, "")
    (after,) = home.kernels()
    assert after != before
    assert home.cli("exec", "'x' in globals()").stdout == "False\n"


def test_a_dead_kernel_is_restarted_by_its_sessions_name(home: Home) -> None:
    home.cli("exec", "x = 41")
    (kernel,) = home.kernels()
    kernel.kill()
    until_now(lambda: " dead " in home.cli("list").stdout, "its death is known")
    dead = home.cli("list").stdout
    assert "dead: project/: " in dead
    assert "SIGKILL" in dead
    assert "`kernel-supervisor restart project/`" in dead
    refused = home.cli("exec", "x")
    assert refused.returncode == 1
    assert "SIGKILL" in refused.stderr
    assert home.cli("restart", "project").returncode == 0
    assert home.cli("exec", "'x' in globals()").stdout == "False\n"


def test_interrupt_stops_what_runs(home: Home) -> None:
    begun = home.project / "begun"
    home.cli("exec", "x = 41")
    home.cli("exec", "--no-wait", f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(1000)")
    until_now(begun.exists, "the cell runs")
    done = home.cli("interrupt", "project")
    assert done.returncode == 0
    assert "stopped" in done.stdout
    assert home.cli("interrupt", "project").stdout == "nothing is running\n"
    assert home.cli("exec", "x").stdout == "41\n"


def test_a_kernel_that_is_not_there_is_exit_code_1_and_says_what_to_do(home: Home) -> None:
    home.cli("start")
    for command in ("kill", "restart", "interrupt", "console", "logs"):
        done = home.cli(command, "nope")
        assert done.returncode == 1, command
        assert "'nope'" in done.stderr, command
        assert "kernel-supervisor list" in done.stderr, command


def test_logs_show_the_daemons_log_or_what_a_kernel_wrote_to_its_standard_error(home: Home) -> None:
    home.cli("exec", "import os; os.write(2, b'words from below\\n')")
    log = home.cli("logs", "--daemon")
    assert log.returncode == 0
    assert f"pid {home.daemons()[0].pid}" in log.stdout
    assert "words from below" not in log.stdout
    assert "words from below" in home.cli("logs", "project").stdout
    assert home.cli("logs").stdout == home.cli("logs", "project").stdout
    assert len(home.cli("logs", "--daemon", "-n", "1").stdout.splitlines()) == 1


def test_logs_show_what_a_kernel_wrote_that_is_dead(home: Home) -> None:
    home.cli("exec", "import os; os.write(2, b'the last words\\n')")
    until_now(lambda: "the last words" in home.cli("logs").stdout, "they are written")
    home.cli("exec", "os._exit(3)")
    until_now(lambda: "dead: project/" in home.cli("list").stdout, "its death is on record")
    (dead,) = json.loads(home.cli("list", "--json").stdout)["dead"]
    for wanted in ((), ("project",), (dead["kernel_id"],), (dead["kernel_id"][:6],)):
        shown = home.cli("logs", *wanted)
        assert (shown.returncode, "the last words" in shown.stdout) == (0, True), wanted
    home.cli("restart")
    assert "the last words" not in home.cli("logs").stdout, "that of the kernel that lives"


def test_logs_are_followed_as_they_grow(home: Home) -> None:
    home.cli("exec", "import os; os.write(2, b'before\\n')")
    command = home.cli_command("logs", "--follow", "project")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home.project, env=home.env) as following:
        assert following.stdout is not None
        while following.stdout.readline() != "before\n":
            pass
        home.cli("exec", "os.write(2, b'after\\n')")
        assert following.stdout.readline() == "after\n"
        following.terminate()


def test_environments_are_listed_and_used(home: Home) -> None:
    listed = home.cli("envs")
    assert sys.prefix in listed.stdout
    assert sys.prefix in [row["prefix"] for row in json.loads(home.cli("envs", "--json").stdout)["environments"]]
    assert home.cli("use", "default").returncode == 0
    refused = home.cli("use", "nope")
    assert refused.returncode == 1
    assert "nope" in refused.stderr


def test_use_installs_ipykernel_if_asked_to_and_shows_how_it_goes(home: Home) -> None:
    prefix = home.project / ".venv"
    venv.create(prefix, with_pip=False)
    done = home.cli("use", "--install-ipykernel", ".venv", timeout=120)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert "installing ipykernel" in told[0]
    assert told[-1].startswith(("changing to ", "starting a kernel in ")), "the newest, where one soon follows another"
    assert str(prefix) in done.stdout
    assert str(prefix) in home.cli("exec", "import ipykernel; ipykernel.__file__").stdout
    home.cli("exec", "x = 41")
    assert "returned" in home.cli("use", ".venv").stdout
    assert home.cli("exec", "x").stdout == "41\n"
    assert "started" in home.cli("use", "--fresh", ".venv").stdout
    assert home.cli("exec", "'x' in globals()").stdout == "False\n"


def test_use_shows_how_an_ipykernel_is_fetched_for_an_environment_without(home: Home) -> None:
    venv.create(home.project / ".venv", with_pip=False)
    done = home.cli("use", ".venv", timeout=120)
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[0].startswith(("changing to ", "starting a kernel in "))
    assert len(told) > 1, "the newest of what the fetching says, now and then"
    assert "borrows one" in done.stdout


def test_a_kernel_is_attached_and_left_again(home: Home) -> None:
    home.cli("exec", "x = 41")
    (kernel,) = json.loads(home.cli("list", "--json").stdout)["kernels"]
    done = home.cli("attach", "--session", "other", kernel["kernel_id"][:6])
    assert (done.returncode, kernel["kernel_id"] in done.stdout) == (0, True), done.stderr
    assert home.cli("exec", "--session", "other", "x").stdout == "41\n"
    assert home.cli("detach", "--session", "other").returncode == 0
    assert home.cli("exec", "--session", "other", "'x' in globals()").stdout == "False\n"
    refused = home.cli("attach", "nope")
    assert refused.returncode == 1
    assert "'nope'" in refused.stderr


def test_save_writes_the_notebook_where_the_command_was_given(home: Home) -> None:
    below = home.project / "below"
    below.mkdir()
    home.cli("exec", "40 + 2")
    done = home.cli("save", "--session", "project", "--html", "kept", cwd=below)
    assert done.returncode == 0, done.stderr
    assert (below / "kept.ipynb").exists()
    assert (below / "kept.html").exists()


@pytest.mark.parametrize("leave", ["\x04", "exit\r", "quit()\r"])
def test_console_is_a_real_jupyter_console_on_the_kernel_and_leaves_it_alive(home: Home, leave: str) -> None:
    home.cli("exec", "x = 41")
    (kernel,) = home.kernels()
    command, *arguments = home.cli_command("console")
    env = {**home.env, "TERM": "dumb", "IPYTHONDIR": str(home.project / "ipython")}
    terminal = pexpect.spawn(command, arguments, cwd=str(home.project), env=env, timeout=60, encoding="utf-8")
    try:
        terminal.expect("the kernel runs on")
        terminal.expect(r"In \[\d+\]")
        terminal.send("print(f'<{x + 1}>'); y = 7\r")
        terminal.expect("<42>")
        terminal.expect(r"In \[\d+\]")
        assert terminal.waitnoecho(), "on a dumb terminal the prompt is there before anybody reads single keys"
        terminal.send(leave)
        if leave == "\x04":
            terminal.expect("really want to exit")
            terminal.send("y\r")
        terminal.expect("keeping kernel alive")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert home.kernels() == [kernel], "the kernel outlives its console"
    assert home.cli("exec", "y").stdout == "7\n"


def test_console_says_how_to_get_jupyter_console_where_it_is_missing(home: Home) -> None:
    command = [sys.executable, "-c", f"{NO_CONSOLE}sys.exit(main(['console']))"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=home.project, env=home.env, check=False)
    assert done.returncode == 1
    assert f"{sys.executable} -m pip install jupyter_console" in done.stderr


def test_console_without_a_kernel_says_what_starts_one(home: Home) -> None:
    home.cli("start")
    done = home.cli("console")
    assert done.returncode == 1
    assert "kernel-supervisor exec" in done.stderr
