"""Promise: people look at variables, entries, kernels and what others run, and change nothing by it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pytest

from kernel_supervisor.inside.lookup import ROWS
from tests.support import DEADLINE_S, Home, until_now


@pytest.fixture(scope="module")
def at_work(standing_home: Home) -> Home:
    """A home with a kernel that has a variable."""
    assert (
        standing_home.cli(
            "exec", "x = list(range(100))\ndef twice(n):\n    'Two of them.'\n    return n * 2"
        ).returncode
        == 0
    )
    return standing_home


def _number(home: Home, *arguments: str) -> str:
    return str(json.loads(home.cli("exec", "--json", *arguments).stdout)["execution_id"])


def test_variables_are_listed_and_looked_at(at_work: Home) -> None:
    listed = at_work.cli("vars").stdout
    assert "x " in listed
    assert "twice" in listed
    assert "twice" not in at_work.cli("vars", "x").stdout
    assert "x " not in at_work.cli("vars", "--type", "function").stdout
    assert [each["name"] for each in json.loads(at_work.cli("vars", "--json", "x").stdout)["variables"]] == ["x"]
    assert "list, 100" in at_work.cli("inspect", "x").stdout
    looked_at = at_work.cli("inspect", "--source", "twice").stdout
    assert "Two of them." in looked_at
    assert "return n * 2" in looked_at
    missing = at_work.cli("inspect", "nope")
    assert missing.returncode == 1
    assert "nope" in missing.stderr


@pytest.mark.parametrize("command", [["vars", "-s"], ["inspect", "x", "-s"], ["watch"]])
def test_a_session_that_is_not_there_is_not_looked_at(at_work: Home, command: list[str]) -> None:
    done = at_work.cli(*command, "nowhere")
    assert done.returncode == 1
    assert "there is no session 'nowhere'" in done.stderr


def test_an_entry_is_shown_with_its_code_and_all_that_it_showed(at_work: Home) -> None:
    number = _number(at_work, "import sys\nprint('out')\nprint('err', file=sys.stderr)\n'last'")
    done = at_work.cli("show", number)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].startswith(f"execution {number} · ok · ")
    assert "  print('out')\n" in done.stdout
    assert done.stdout.endswith("\nout\n'last'\n")
    assert done.stderr == "err\n"
    whole = json.loads(at_work.cli("show", "--json", number).stdout)
    assert (whole["stdout"], whole["result"], whole["client"]) == ("out\n", "'last'", "kernel-supervisor-cli")


def test_an_entry_that_runs_is_shown_as_far_as_it_is(at_work: Home) -> None:
    with (
        _held(at_work, "print('so far', flush=True)") as (number, _),
        _reading(at_work, "output", "-f", number) as said,
    ):
        _line(said, until="so far")
        shown = at_work.cli("show", number).stdout
    assert "so far" in shown
    assert "Still running" in shown


@contextmanager
def _reading(home: Home, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command whose output is read as it comes; it is killed in the end, if it still runs."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(home.cli_command(*arguments), cwd=home.project, env=home.env, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _held(home: Home, before: str) -> Iterator[tuple[str, Any]]:
    """A cell that runs until the block is left."""
    gate = home.project / "gate"
    gate.unlink(missing_ok=True)
    code = f"import os, time\n{before}\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    number = str(json.loads(home.cli("exec", "--json", "--no-wait", code).stdout)["execution_id"])
    try:
        yield number, gate
    finally:
        gate.touch()
        home.cli("output", "--follow", number)


def test_top_says_what_kernels_do(at_work: Home) -> None:
    idle = at_work.cli("top").stdout
    assert "project/" in idle
    assert "idle" in idle
    with (
        _held(at_work, "print('last words', flush=True)") as (number, _),
        _reading(at_work, "output", "-f", number) as said,
    ):
        _line(said, until="last words")
        busy = at_work.cli("top", "--once").stdout
        (kernel,) = json.loads(at_work.cli("top", "--json").stdout)["kernels"]
    assert "busy" in busy
    assert "last words" in busy
    assert "while not os.path.exists" in busy or "time.sleep" in busy
    assert (kernel["state"], str(kernel["execution_id"])) == ("busy", number)
    assert kernel["cpu_s"]


def test_top_is_refreshed_on_a_terminal_and_ends_with_ctrl_c(at_work: Home) -> None:
    command, *rest = at_work.cli_command("top")
    env = {**at_work.env, "TERM": "xterm", "NO_COLOR": "1"}
    terminal = pexpect.spawn(command, rest, cwd=str(at_work.project), env=env, timeout=DEADLINE_S, dimensions=(24, 80))
    terminal.expect_exact("idle")
    with _held(at_work, "print('now')"):
        terminal.expect_exact("busy")
    terminal.expect_exact("idle")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def _line(process: subprocess.Popen[str], *, until: str) -> list[str]:
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or until not in lines[-1]:
        line = process.stdout.readline()
        assert line, lines
        lines.append(line)
    return lines


def test_what_anybody_runs_is_watched_as_it_is_submitted_and_as_it_shows_something(at_work: Home) -> None:
    with at_work.shim() as shim, _reading(at_work, "watch", "project") as watching:
        shim.open()
        with _held(at_work, "print('begun')") as (first, gate):
            assert watching.stderr is not None
            assert "watching session project/" in watching.stderr.readline()
            seen = "".join(_line(watching, until="begun"))
            assert f"execution {first} · " in seen
            assert "by cli" in seen
            second = shim.run("print('of the agent')", wait=False)["execution_id"]
            queued = "".join(_line(watching, until="of the agent"))
            assert f"execution {second} · queued · " in queued
            assert "by bare" in queued
            gate.touch()
            _line(watching, until=f"execution {first} · ok")
            rest = _line(watching, until=f"execution {second} · ok")
            assert "of the agent\n" in rest
        watching.send_signal(signal.SIGINT)
        assert watching.wait(DEADLINE_S) == 0


_LEFT = """\
import os, threading, time
def go_on():
    for word in ("one", "two"):
        while not os.path.exists(word):
            time.sleep(0.01)
        print("late", word, flush=True)
threading.Thread(target=go_on).start()
print("at once")"""


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_thread_prints_after_its_cells_end_is_watched_with_its_execution(home: Home, killed: bool) -> None:
    home.cli("exec", "1")
    with _reading(home, "watch") as watching:
        assert watching.stderr is not None
        watching.stderr.readline()
        number = _number(home, _LEFT)
        seen = _line(watching, until=f"execution {number} · ok")
        (home.project / "one").touch()
        seen += _line(watching, until="late one\n")
        assert seen[-2:] == [f"execution {number}, after its end:\n", "late one\n"]
        if killed:
            home.kill_daemon()
        other = _number(home, "print('another')")
        seen += _line(watching, until=f"execution {other} · ok")
        (home.project / "two").touch()
        seen += _line(watching, until="late two\n")
        assert seen[-2:] == [f"execution {number}, after its end:\n", "late two\n"]
        assert [seen.count(f"{words}\n") for words in ("at once", "late one", "another", "late two")] == [1] * 4
        watching.send_signal(signal.SIGINT)
        assert watching.wait(DEADLINE_S) == 0


def test_watching_outlives_the_daemon_and_shows_everything_once(home: Home) -> None:
    home.cli("exec", "1")
    with home.shim() as shim, _reading(home, "watch") as watching:
        shim.open()
        with _held(home, "print('before', flush=True)") as (first, gate):
            _line(watching, until="before\n")
            home.kill_daemon()
            second = shim.run("print('and after')", wait=False)["execution_id"]
            gate.touch()
            seen = _line(watching, until="and after\n")
            seen += _line(watching, until=f"execution {second} · ok")
        assert "before\n" not in seen
        assert f"execution {first} · ok\n" in seen
        watching.send_signal(signal.SIGINT)
        assert watching.wait(DEADLINE_S) == 0


def test_what_a_list_leaves_out_is_told_with_the_command_that_shows_it(home: Home) -> None:
    home.cli("exec", f"globals().update({{f'v{{n}}': n for n in range({ROWS + 50})}})")
    listed = home.cli("vars").stdout
    assert re.search(r"\n… and \d+ more: `kernel-supervisor vars NAME` narrows it, as does --type\n$", listed), listed[
        -200:
    ]
    home.cli("exec", "1")
    short, whole = home.cli("history", "-n", "1").stdout, home.cli("history").stdout
    assert short.endswith("… earlier ones are left out: `kernel-supervisor history --last 500` lists more\n")
    assert "left out" not in whole
    assert "=" not in home.cli("history", "-s", "project", "-n", "1").stdout.partition("…")[2], "no argument of a tool"


def test_a_cell_that_was_loaded_is_not_listed_as_one_that_ran(home: Home) -> None:
    home.cli("exec", "x = 41")
    home.cli("save", "work.ipynb")
    loaded = home.cli("load", "work.ipynb", "-s", "other").stdout
    (number,) = re.findall(r": 1 cell as entry (\d+) of session project/other\. None of them was run\.", loaded)
    assert re.search(rf"^{number} +loaded \(ok\) ", home.cli("history", "-s", "other").stdout, re.MULTILINE)
    home.cli("load", "work.ipynb", "-s", "other", "--run")
    assert re.search(r"^\d+ +ok ", home.cli("history", "-s", "other").stdout, re.MULTILINE), "what ran is"


def test_without_a_living_kernel_it_is_said_what_gives_one(home: Home) -> None:
    home.cli("start")
    assert "`kernel-supervisor exec` works here" in home.cli("logs").stderr
    died = home.cli("exec", "import os; os._exit(7)").stderr
    assert "execution 1 is dead: the kernel died (exit code 7)" in died
    assert "`kernel-supervisor restart project/` gives this session a fresh kernel" in died
    until_now(lambda: "dead: project/" in home.cli("list").stdout, "its death is on record")
    assert "`kernel-supervisor restart` starts a fresh one" in home.cli("console").stderr
    assert "this directory's kernel is dead" in home.cli("doctor").stdout
