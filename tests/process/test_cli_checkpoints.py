"""Promise: people save, list, bring back, carry and delete variables from the command line; what they named stays."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import DEADLINE_S, Home, until_now

pytestmark = pytest.mark.timeout(180)


def _done(home: Home, *arguments: str) -> str:
    done = home.cli(*arguments)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def _there(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_done(home, "checkpoints", "--json"))["checkpoints"]
    return found


def test_variables_are_saved_listed_and_brought_back(home: Home) -> None:
    _done(home, "start")
    assert "nothing was saved yet" in _done(home, "checkpoints")
    _done(home, "exec", "x, gen = [1, 2], (each for each in 'ab')")
    said = _done(home, "checkpoint", "clean data")
    assert '"clean data"' in said
    assert "not saved: gen (a generator" in said
    assert "kernel-supervisor restart project/ --restore 'clean data'" in said
    assert "clean data" in _done(home, "checkpoints")
    assert "saved" in _done(home, "list")
    assert '"clean data"' in _done(home, "status")
    (kernel,) = home.kernels()
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.wait(DEADLINE_S)
    until_now(lambda: "dead" in home.cli("list").stdout, "the kernel's death is known")
    assert "kernel-supervisor restart project/ --restore last" in _done(home, "list")
    refused = home.cli("exec", "x")
    assert refused.returncode == 1
    assert "--restore 'last'" in refused.stderr
    back = _done(home, "restart", "--restore", "last")
    assert "not back: gen (" in back
    assert _done(home, "exec", "print(x)").strip() == "[1, 2]"


@pytest.mark.parametrize("add", ["insert(0, ", "append("])
def test_modules_are_found_in_folders_that_a_cell_has_added(home: Home, tmp_path: Path, add: str) -> None:
    (tmp_path / "fancy.py").write_text("class Thing:\n    pass\n")
    folder = os.path.relpath(tmp_path, home.project)
    _done(home, "exec", f"import sys\nsys.path.{add}{folder!r})\nfrom fancy import Thing\nthing = Thing()")
    _done(home, "checkpoint")
    assert "not back" not in _done(home, "restart", "--restore", "last")
    place = "0" if "insert" in add else "-1"
    assert _done(home, "exec", f"print(sys.path[{place}], type(thing) is Thing)").split() == [str(tmp_path), "True"]


def test_what_a_checkpoint_holds_is_shown_by_name(home: Home) -> None:
    _done(home, "exec", "import json\nx, gen = [1, 2], (each for each in 'ab')")
    _done(home, "exec", "x.append(3)\ndef double(value): return 2 * value")
    said = _done(home, "checkpoint", "good")
    assert re.search(r"^saved: double \(function\), json \(module\), x \(list, \d+ bytes\)$", said, re.MULTILINE), said
    assert '"good" ' in (status := _done(home, "status", "project/"))
    assert "(double, json, x)" in status
    for wanted in ("good", "last", "project/:good"):
        shown = _done(home, "checkpoints", wanted)
        rows = [line.split() for line in shown.splitlines()]
        assert next(row for row in rows if row[:2] == ["x", "list"])[-1] == "1", shown
        assert ["double", "function", "2"] in rows, shown
        assert "3 of 4 variables" in shown
        assert re.search(r"^not in it: gen \(.*generator.*, made by execution 1\)$", shown, re.MULTILINE), shown
        assert "`kernel-supervisor restart project/ --restore good` brings them back" in shown
    held = json.loads(_done(home, "checkpoints", "good", "--json"))
    assert [(each["name"], each["type"]) for each in held["held"]] == [
        ("double", "function"), ("json", "module"), ("x", "list")
    ]  # fmt: skip
    missed = home.cli("checkpoints", "bad")
    assert missed.returncode == 1
    assert '"good"' in missed.stderr


def test_the_rest_is_run_again_and_a_branch_begins_a_session(home: Home) -> None:
    _done(home, "exec", "x, gen = [1, 2], (each for each in 'ab')")
    _done(home, "checkpoint")
    assert "1 cell was run again" in _done(home, "restart", "--restore", "last", "--replay")
    assert _done(home, "exec", "print(next(gen))").strip() == "a"
    _done(home, "restart", "what-if", "--restore", "project/:last")
    _done(home, "exec", "-s", "what-if", "x.append(3)")
    assert _done(home, "exec", "print(x)").strip() == "[1, 2]"
    assert _done(home, "exec", "-s", "what-if", "print(x)").strip() == "[1, 2, 3]"


def test_variables_are_carried_along(home: Home) -> None:
    _done(home, "exec", "x, y = [1, 2], 3")
    assert "carried: x" in _done(home, "use", sys.executable, "--fresh", "--carry", "x")
    assert _done(home, "exec", "print(x, 'y' in globals())").strip() == "[1, 2] False"


def test_what_is_deleted_is_gone_and_only_that(home: Home) -> None:
    _done(home, "exec", "import numpy; x = numpy.arange(10**6)")
    for name in ("one", "two"):
        _done(home, "checkpoint", name)
    assert "two" in home.cli("checkpoints", "--remove", "two", "-y").stdout
    assert [each["name"] for each in _there(home)] == ["one"]
    assert home.cli("checkpoints", "--remove", "two", "-y").returncode == 1
    _done(home, "restart", "--restore", "one")
    assert _done(home, "exec", "print(x.sum())").strip() == str(sum(range(10**6)))
    _done(home, "checkpoints", "--remove", "one", "-y")
    assert list((home.path / "checkpoints/objects").iterdir()) == []


def test_forgetting_a_session_takes_its_checkpoints_along(home: Home) -> None:
    _done(home, "exec", "x = list(range(1000))")
    _done(home, "checkpoint", "named")
    _done(home, "kill", "--all")
    _done(home, "forget", "project/", "-y")
    assert _there(home) == []
    assert list((home.path / "checkpoints/objects").iterdir()) == []


def test_what_somebody_named_is_not_swept_with_all_else(home: Home) -> None:
    for session in ("named", "other"):
        _done(home, "exec", "-s", session, "x = list(range(1000))")
        _done(home, "checkpoint", *(["mine"] if session == "named" else []), "-s", session)
        _done(home, "save", "-s", session, f"{session}.ipynb")
    _done(home, "kill", "--all")
    _age(home)
    _done(home, "prune", "--older-than", "1", "-y")
    assert [each["name"] for each in _there(home)] == ["mine"]
    assert "named" in _done(home, "sessions")


def _age(home: Home) -> None:
    """All that is kept was used ten days ago."""
    _done(home, "stop")
    past = 10 * 86400.0
    with closing(sqlite3.connect(home.path / "run/records.sqlite")) as db, db:
        db.execute("UPDATE executions SET queued_at = queued_at - ?, finished_at = finished_at - ?", (past, past))
        db.execute("UPDATE sessions SET created_at = created_at - ?", (past,))
        ended = "json_set(record, '$.ended_at', json_extract(record, '$.ended_at') - ?)"
        db.execute(f"UPDATE kernels SET record = {ended} WHERE ended", (past,))
    for path in (home.path / "checkpoints/kept").glob("*/checkpoint.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "at": told["at"] - past}))
    _done(home, "start")


def test_a_session_that_is_saved_by_itself_is_once_it_was_idle_for_a_while(home: Home) -> None:
    _done(home, "exec", "x = 1")
    _done(home, "checkpoint", "--mode", "auto")
    _done(home, "exec", "x = 2")
    end = time.monotonic() + 2 * DEADLINE_S
    while not (mine := [each for each in _there(home) if each["kind"] == "auto"]) and time.monotonic() < end:
        time.sleep(1)
    assert [each["variables"] for each in mine] == [1]
    (kernel,) = home.kernels()
    kernel.kill()
    kernel.wait(DEADLINE_S)
    _done(home, "restart", "--restore", "last")
    assert _done(home, "exec", "print(x)").strip() == "2"


@pytest.mark.parametrize("victim", ["daemon", "kernel", "both"])
def test_a_death_while_it_is_written_leaves_the_last_whole_one(home: Home, victim: str) -> None:
    _done(home, "exec", "x = [1]")
    _done(home, "checkpoint")
    _done(home, "exec", "import os; x = [2]; y = os.urandom(200_000_000)")
    with home.shim() as shim:
        shim.open()
        shim.send("tools/call", {"name": "kernel_checkpoint", "arguments": {}}, id=77)
        kept = home.path / "checkpoints/kept"
        until_now(lambda: len(list(kept.iterdir())) == 2, "it has begun")
        (kernel,) = home.kernels()
        if victim in ("kernel", "both"):
            kernel.kill()
        if victim in ("daemon", "both"):
            home.kill_daemon()
    whole = [path.parent for path in Path(kept).glob("*/checkpoint.json")]
    assert len(whole) in (1, 2)
    _done(home, "start")
    back = home.cli("restart", "--restore", _there(home)[-1]["id"])
    assert back.returncode == 0, back.stderr
    assert _done(home, "exec", "print(x)").strip() == "[1]"


@pytest.mark.parametrize("meanwhile", ["daemon", "no daemon"])
def test_a_kernel_that_others_end_politely_saves_itself_where_that_is_wanted(home: Home, meanwhile: str) -> None:
    _done(home, "exec", "x = 1")
    _done(home, "checkpoint", "--mode", "auto")
    until_now(lambda: list((home.path / "checkpoints/kept").glob("*/expected.json")), "its kernel is ready for it")
    _done(home, "exec", "x = 2")
    (kernel,) = home.kernels()
    if meanwhile == "no daemon":
        _done(home, "stop")
    kernel.terminate()
    kernel.wait(DEADLINE_S)
    _done(home, "start")
    until_now(lambda: "Its variables are gone" in home.cli("status").stdout, "the kernel's death is known")
    _done(home, "restart", "--restore", "last")
    assert _done(home, "exec", "print(x)").strip() == "2"


def test_one_that_is_ended_on_request_saves_nothing_by_itself(home: Home) -> None:
    _done(home, "exec", "x = 1")
    _done(home, "checkpoint", "--mode", "auto")
    until_now(lambda: list((home.path / "checkpoints/kept").glob("*/expected.json")), "its kernel is ready for it")
    _done(home, "exec", "x = 2")
    _done(home, "kill", "--all")
    assert [each["kind"] for each in _there(home)] == ["asked"]
