"""Promise: the command line does what it can, means what is nearest, and says what was not understood."""

from __future__ import annotations

import json

import pytest

from tests.support import Home, until_now


@pytest.fixture(scope="module")
def worked_in(standing_home: Home) -> Home:
    """A home whose project has a session with a variable."""
    assert standing_home.cli("exec", "x = 41").returncode == 0
    return standing_home


def test_a_bare_command_shows_help_and_starts_nothing(home: Home) -> None:
    done = home.cli()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == home.cli("--help").stdout == home.cli("help").stdout
    assert not home.daemons()


def test_names_that_other_programs_have_do_the_same(worked_in: Home) -> None:
    kernels = [json.loads(worked_in.cli(name, "--json").stdout)["kernels"] for name in ("list", "ls", "ps")]
    assert [[each["kernel_id"] for each in found] for found in kernels] == [[kernels[0][0]["kernel_id"]]] * 3
    worked_in.cli("exec", "--session", "old", "1")
    worked_in.cli("kill", "old")
    assert worked_in.cli("rm", "-y", "old").returncode == 0
    assert "project/old" not in worked_in.cli("sessions").stdout


@pytest.mark.parametrize("command", ["interrupt", "status", "logs"])
def test_without_a_name_this_directorys_session_is_meant(worked_in: Home, command: str) -> None:
    named = worked_in.cli(command, "project")
    bare = worked_in.cli(command)
    assert bare.returncode == named.returncode == 0, bare.stderr
    assert named.stdout.splitlines()[:2] == bare.stdout.splitlines()[:2]


def test_restart_without_a_name_is_of_this_directorys_session(worked_in: Home) -> None:
    worked_in.cli("exec", "--session", "beside", "y = 1")
    worked_in.cli("exec", "z = 1")
    assert worked_in.cli("restart").returncode == 0
    assert worked_in.cli("exec", "'z' in globals()").stdout == "False\n"
    assert worked_in.cli("exec", "--session", "beside", "y").stdout == "1\n"


def test_where_nothing_was_run_nothing_is_restarted_or_started(home: Home) -> None:
    home.cli("start")
    for command in ("restart", "interrupt", "console", "logs"):
        done = home.cli(command)
        assert done.returncode == 1, command
        assert "project/" in done.stderr
        assert "kernel-supervisor exec" in done.stderr
    assert not home.kernels()


def test_kill_ends_all_it_can_and_says_what_it_could_not(worked_in: Home) -> None:
    for name in ("one", "two"):
        worked_in.cli("exec", "--session", name, "1")
    done = worked_in.cli("kill", "one", "nobody", "two")
    assert done.returncode == 1
    assert "'nobody'" in done.stderr
    assert done.stdout.count("is gone") == 2
    left = json.loads(worked_in.cli("list", "--json").stdout)["kernels"]
    assert not {"project/one", "project/two"} & {each["session"] for each in left}


def test_the_beginning_of_an_id_is_four_characters_long_at_least(worked_in: Home) -> None:
    worked_in.cli("exec", "--session", "short", "1")
    listed = json.loads(worked_in.cli("list", "--json").stdout)["kernels"]
    (number,) = [each["kernel_id"] for each in listed if each["session"] == "project/short"]
    refused = worked_in.cli("kill", number[:3])
    assert refused.returncode == 1
    assert "4 characters" in refused.stderr
    assert worked_in.cli("kill", number[:4]).returncode == 0


@pytest.mark.parametrize("command", ["history", "save"])
def test_a_session_that_is_not_there_is_called_unknown_and_not_made(worked_in: Home, command: str) -> None:
    done = worked_in.cli(command, "--session", "projekt")
    assert done.returncode == 1
    assert "there is no session 'projekt'" in done.stderr
    assert "projekt" not in worked_in.cli("sessions").stdout


def test_a_kernel_that_its_session_has_left_is_not_taken_for_the_present_one(worked_in: Home) -> None:
    worked_in.cli("exec", "--session", "two", "kept = 1")
    worked_in.cli("use", "--session", "two", "--fresh", "default")
    listed = json.loads(worked_in.cli("list", "--json").stdout)["kernels"]
    own = [each for each in listed if each["session"] == "project/two"]
    (left,) = [each["kernel_id"] for each in own if not each["present_in"]]
    for command in ("restart", "interrupt"):
        refused = worked_in.cli(command, left)
        assert refused.returncode == 1
        assert f"kernel-supervisor attach --session project/two {left}" in refused.stderr
    assert worked_in.cli("attach", "--session", "project/two", left).returncode == 0
    assert worked_in.cli("exec", "--session", "two", "kept").stdout == "1\n"


def test_hints_are_lines_that_can_be_typed(worked_in: Home) -> None:
    gate = worked_in.project / "gate"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)"
    number = json.loads(worked_in.cli("exec", "-s", "my work", "--json", "--no-wait", code).stdout)["execution_id"]
    standing = worked_in.cli("output", str(number)).stdout
    gate.touch()
    assert "`kernel-supervisor interrupt 'project/my work'` stops it" in standing
    (worked_in.project / "theirs.ipynb").write_text("{}")
    refused = worked_in.cli("save", "theirs.ipynb")
    assert "--overwrite" in refused.stderr
    assert "overwrite=true" not in refused.stderr


def test_a_dead_kernel_is_listed_with_its_reason_and_the_present_one_is_marked(worked_in: Home) -> None:
    worked_in.cli("exec", "--session", "dying", "import os; os._exit(7)")
    until_now(lambda: "dead: project/dying" in worked_in.cli("list").stdout, "its death is on record")
    shown = worked_in.cli("list").stdout.splitlines()
    assert [line for line in shown if line.startswith("dead: ") and "exit code 7" in line]
    assert [line for line in shown if line.startswith("→") and " project/ " in line]
