"""Promise: code runs from a terminal in the same sessions, and its output appears where and when it should."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import Any

import pytest

from tests.support import Home, until_now


def _started(home: Home, *arguments: str, **more: Any) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = home.cli_command(*arguments)
    return subprocess.Popen(command, text=True, cwd=home.project, env=home.env, **{**pipes, **more})


def test_code_comes_from_an_argument_a_file_or_standard_input(home: Home) -> None:
    file = home.project / "work.py"
    file.write_text("x = x + 1\nx")
    assert home.cli("exec", "x = 40").stdout == ""
    assert home.cli("exec", "--file", "work.py").stdout == "41\n"
    assert home.cli("exec", input="x + 1").stdout == "42\n"
    assert home.cli("exec", "-", input="x + 2").stdout == "43\n"
    assert home.cli("exec", "--session", "second", "'x' in globals()").stdout == "False\n"


def test_a_cli_and_a_shim_in_the_same_directory_share_a_session(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("x = 41")
        assert home.cli("exec", "x + 1").stdout == "42\n"
        history = home.cli("history")
    assert "x = 41" in history.stdout
    assert "x + 1" in history.stdout


def test_streams_go_where_they_belong(home: Home) -> None:
    code = "import sys; print('to out'); print('to err', file=sys.stderr); 'last'"
    done = home.cli("exec", code)
    assert done.stdout == "to out\n'last'\n"
    assert done.stderr == "to err\n"
    assert done.returncode == 0


def test_output_appears_as_it_comes(home: Home) -> None:
    gate = home.project / "gate"
    code = (
        f"import os, time\nprint('first')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('second')"
    )
    with _started(home, "exec", code) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "first\n"
        assert running.poll() is None, "the cell is still running"
        gate.touch()
        assert running.stdout.read() == "second\n"
        assert running.wait(60) == 0


def test_a_lot_of_output_comes_whole_and_in_order(home: Home) -> None:
    done = home.cli("exec", "for n in range(20_000): print('line', n)")
    assert done.stdout == "".join(f"line {n}\n" for n in range(20_000))


def test_code_that_raises_is_exit_code_1_with_its_traceback_on_standard_error(home: Home) -> None:
    done = home.cli("exec", "print('so far'); 1 / 0")
    assert done.returncode == 1
    assert done.stdout == "so far\n"
    assert "ZeroDivisionError" in done.stderr
    assert home.cli("exec", "40 + 2").stdout == "42\n", "the session goes on"


@pytest.mark.parametrize("arguments", [["nonsense"], ["exec", "--nonsense"], ["kill"], ["kill", "--all", "x"]])
def test_wrong_usage_is_exit_code_2(home: Home, arguments: list[str]) -> None:
    done = home.cli(*arguments)
    assert done.returncode == 2
    assert "kernel-supervisor" in done.stderr
    assert not home.daemons()


def test_exec_at_a_terminal_without_code_says_how_to_give_some(home: Home) -> None:
    terminal, end = pty.openpty()
    try:
        done = home.cli("exec", stdin=end)
    finally:
        os.close(terminal)
        os.close(end)
    assert done.returncode == 2
    assert "--file" in done.stderr


def test_a_file_that_is_not_there_is_exit_code_1_without_a_traceback(home: Home) -> None:
    done = home.cli("exec", "--file", "nope.py")
    assert done.returncode == 1
    assert "nope.py" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_has_the_whole_outcome_for_programs(home: Home) -> None:
    done = home.cli("exec", "--json", "print('said'); 42")
    outcome = json.loads(done.stdout)
    assert (outcome["status"], outcome["execution_count"]) == ("ok", 1)
    assert "said" in outcome["text"]
    assert "42" in outcome["text"]
    raised = home.cli("exec", "--json", "1 / 0")
    assert raised.returncode == 1
    assert json.loads(raised.stdout)["status"] == "error"
    history = json.loads(home.cli("history", "--json").stdout)
    assert [entry["status"] for entry in history["entries"]] == ["ok", "error"]
    again = json.loads(home.cli("output", "--json", str(outcome["execution_id"])).stdout)
    assert again["text"] == outcome["text"]


def test_without_waiting_the_execution_is_queued_and_read_later(home: Home) -> None:
    gate = home.project / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('ended')"
    queued = json.loads(home.cli("exec", "--json", "--no-wait", code).stdout)
    assert queued["status"] in ("queued", "running")
    gate.touch()
    assert home.cli("exec", "'after it'").stdout == "'after it'\n"
    assert "ended" in home.cli("output", str(queued["execution_id"])).stdout


def test_ctrl_c_interrupts_the_cell_and_keeps_the_variables(home: Home) -> None:
    begun = home.project / "begun"
    code = f"import time\nx = 41\nopen({str(begun)!r}, 'w').close()\ntime.sleep(1000)"
    with _started(home, "exec", code) as running:
        until_now(begun.exists, "the cell runs")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "KeyboardInterrupt" in said
    assert "\x1b" not in said, "colours are for terminals"
    assert "Traceback (most recent call last):\n  File" not in said, "the command itself has none"
    assert home.cli("exec", "x").stdout == "41\n"


def test_a_cell_that_takes_an_interrupt_and_ends_well_has_ended_well(home: Home) -> None:
    begun = home.project / "begun"
    code = f"import time\ntry:\n    open({str(begun)!r}, 'w').close()\n"  # from then on an interrupt is caught
    code += "    time.sleep(1000)\nexcept KeyboardInterrupt: print('fine')"
    with _started(home, "exec", code) as running:
        until_now(begun.exists, "the cell runs")
        running.send_signal(signal.SIGINT)
        shown, _ = running.communicate(timeout=60)
    assert (shown, running.returncode) == ("fine\n", 0)


def test_all_of_a_long_output_can_be_read(home: Home) -> None:
    home.cli("exec", "for i in range(9000): print('line', i)")
    shown = home.cli("output", "1").stdout
    assert [line for line in shown.splitlines() if line.startswith("line ")] == [f"line {i}" for i in range(9000)]


def test_following_an_execution_shows_it_to_its_end(home: Home) -> None:
    gate = home.project / "gate"
    code = (
        f"import os, time\nprint('begun')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('over'); 7"
    )
    assert home.cli("exec", "--no-wait", code).stdout == "execution 1\n"
    standing = home.cli("output", "1").stdout
    assert "`kernel-supervisor output --follow 1` waits on, `kernel-supervisor interrupt project/` stops it" in standing
    with _started(home, "output", "--follow", "1") as running:
        gate.touch()
        shown, _ = running.communicate(timeout=60)
    assert (shown, running.returncode) == ("begun\nover\n7\n", 0)


def test_commands_are_named_not_tools(home: Home) -> None:
    home.cli("exec", "1")
    for arguments in (("output", "99"), ("use", "nothing"), ("reply", "99", "x"), ("history",), ("exec", "")):
        done = home.cli(*arguments)
        assert "kernel_" not in done.stdout + done.stderr, arguments
    assert "`kernel-supervisor history` lists them" in home.cli("output", "99").stderr


def test_a_command_that_is_killed_leaves_its_cell_running(home: Home) -> None:
    begun, gate = home.project / "begun", home.project / "gate"
    code = f"import os, time\nopen({str(begun)!r}, 'w').close()\n"
    code += f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\nx = 41"
    with _started(home, "exec", code) as running:
        until_now(begun.exists, "the cell runs")
        running.kill()
    gate.touch()
    assert home.cli("exec", "x").stdout == "41\n"


def test_an_exec_that_loses_its_daemon_shows_everything_once(home: Home) -> None:
    gate = home.project / "gate"
    code = (
        f"import os, time\nprint('first')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('second')"
    )
    with home.shim() as shim:  # it starts the next daemon
        shim.open()
        with _started(home, "exec", code) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "first\n"
            home.kill_daemon()
            gate.touch()
            shown, complaint = running.communicate(timeout=60)
            assert (shown, complaint, running.returncode) == ("second\n", "", 0)
