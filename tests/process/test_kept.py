"""Promise: what is kept has an age and an amount, and who owns it is told and asked before anything goes."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from kernel_supervisor.kernels.standarderror import shorten
from tests.process.test_records_locked import LOCKS, locked
from tests.support import DEADLINE_S, Home, Shim, until_now

pytestmark = pytest.mark.timeout(180)

_DAY_S = 86_400.0


def _sessions(home: Home) -> set[str]:
    return {
        each["name"].removeprefix("project/") for each in json.loads(home.cli("sessions", "--json").stdout)["sessions"]
    }


def _ended(home: Home, *, saved: Mapping[str, float], unsaved: Mapping[str, float] | None = None) -> None:
    """Sessions whose kernels have ended, which nobody used for so many days. Afterwards no daemon runs."""
    of_both = {**saved, **(unsaved or {})}
    for name in of_both:
        assert home.cli("exec", "--session", name, "print('x')").returncode == 0
    for name in saved:
        assert home.cli("save", "--session", name, f"{name}.ipynb").returncode == 0
    assert home.cli("kill", "--all").returncode == 0
    assert home.cli("stop").returncode == 0
    for name, days in of_both.items():
        _age(home, name, days)


def _records(home: Home) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(home.path / "run/records.sqlite"))


def _age(home: Home, name: str, days: float) -> None:
    with _records(home) as db, db:
        for table, column in (("executions", "queued_at"), ("executions", "finished_at"), ("sessions", "created_at")):
            key = "name" if table == "sessions" else "session"
            db.execute(f"UPDATE {table} SET {column} = {column} - ? WHERE {key} = ?", (days * _DAY_S, name))
        ended = "json_set(record, '$.ended_at', json_extract(record, '$.ended_at') - ?)"
        db.execute(f"UPDATE kernels SET record = {ended} WHERE ended AND session = ?", (days * _DAY_S, name))


def _swept(home: Home) -> None:
    """Have it swept, as after each kernel's end."""
    home.cli("exec", "--session", "swept", "1")
    home.cli("kill", "swept")


def at_a_terminal(home: Home, arguments: Sequence[str], typed: str, **env: str) -> tuple[int, str]:
    """What a person sees who answers so; the exit code."""
    here, there = pty.openpty()
    with subprocess.Popen(
        home.cli_command(*arguments), cwd=home.project, env={**home.env, **env}, stdin=there, stdout=there, stderr=there
    ) as process:
        os.close(there)
        os.write(here, typed.encode() + b"\n")
        seen = b""
        try:
            while piece := os.read(here, 4096):
                seen += piece
        except OSError:  # the other end is closed
            pass
        os.close(here)
        return process.wait(DEADLINE_S), seen.decode()


def test_forgetting_asks_and_takes_what_each_start_of_its_kernel_wrote(home: Home) -> None:
    home.cli("exec", "--session", "old", "import os; os.write(2, b'first')")
    home.cli("restart", "old")
    home.cli("exec", "--session", "old", "import os; os.write(2, b'second')")
    home.cli("kill", "old")
    logs = home.path / "logs"
    assert len(list(logs.glob("*.stderr"))) == 2
    untold = home.cli("forget", "old", stdin=subprocess.DEVNULL)
    assert (untold.returncode, "`kernel-supervisor forget old -y` does it" in untold.stderr) == (2, True), untold
    code, seen = at_a_terminal(home, ["forget", "old"], "n")
    assert (code, "project/old" in seen, "nothing was done" in seen) == (1, True, True), seen
    assert _sessions(home) == {"old"}
    code, seen = at_a_terminal(home, ["forget", "old"], "y")
    assert (code, "is forgotten" in seen) == (0, True), seen
    assert _sessions(home) == set()
    assert list(logs.iterdir()) == []


def test_pruning_shows_what_goes_and_takes_that_alone(home: Home) -> None:
    _ended(home, saved={"saved": 100, "young": 10}, unsaved={"unsaved": 100})
    (home.path / "logs/0123456789ab-1.stderr").write_text("of nobody")
    os.utime(home.path / "logs/0123456789ab-1.stderr", (1e9, 1e9))
    home.cli("exec", "--session", "living", "x = 41")
    _age(home, "living", 200)
    with _records(home) as db, closing(db.execute("SELECT id FROM kernels WHERE session = 'saved'")) as found:
        (kernel,) = next(found)
    with subprocess.Popen([sys.executable, "-c", "input()", kernel], stdin=subprocess.PIPE) as lives:
        assert "1 thing to go" in home.cli("prune", "--dry-run").stdout, "whatever is on record of it"
        lives.kill()
    shown = home.cli("prune", "--dry-run")
    assert "2 things to go" in shown.stdout, shown
    assert "project/saved" in shown.stdout
    assert "session project/unsaved" in shown.stdout.split("2 things")[1], "it stays, and why is said"
    refused = home.cli("prune", stdin=subprocess.DEVNULL)
    assert (refused.returncode, "`kernel-supervisor prune -y` does it" in refused.stderr) == (2, True), refused
    assert _sessions(home) == {"saved", "unsaved", "young", "living"}
    assert "2 things gone" in home.cli("prune", "-y").stdout
    assert _sessions(home) == {"unsaved", "young", "living"}
    assert not (home.path / "logs/0123456789ab-1.stderr").exists()
    assert "1 thing gone" in home.cli("prune", "-y", "--keep-total", "1kB").stdout
    assert _sessions(home) == {"unsaved", "living"}
    assert home.cli("exec", "--session", "living", "x + 1").stdout.splitlines()[-1] == "42"
    assert (home.project / "saved.ipynb").exists()
    for wrong in (["--older-than", "-1"], ["--older-than", "90d"], ["--older-than", "nan"], ["--keep-total", "much"]):
        assert home.cli("prune", "-y", *wrong).returncode == 2


def test_nothing_is_pruned_while_that_cannot_be_recorded(home: Home) -> None:
    _ended(home, saved={"saved": 100})
    with locked(home, LOCKS["one that excludes"]):
        assert home.cli("start").returncode == 0
        assert "0 things gone" in home.cli("prune", "-y").stdout
        home.kill_daemon()
    _age(home, "saved", -100)
    assert home.cli("start").returncode == 0
    assert home.cli("output", "1").stdout.splitlines()[-1] == "x"


def test_what_is_old_goes_by_itself_and_a_history_that_no_notebook_has_once_that_was_said_for_long(home: Home) -> None:
    _ended(home, saved={"saved": 100}, unsaved={"unsaved": 100})
    _swept(home)
    until_now(lambda: _sessions(home) == {"unsaved", "swept"}, "what a notebook has is gone")
    for verb in ("list", "status", "sessions"):
        done = home.cli(verb)
        assert "session project/unsaved was not used for 100 days" in done.stdout + done.stderr, verb
    with home.shim() as shim:
        shim.open()
        said = "session project/unsaved was not used for"
        assert said in shim.call("kernel_status")["content"][0]["text"]
        assert said not in shim.call("kernel_status")["content"][0]["text"], "once"
    home.cli("stop")
    with _records(home) as db, db:
        assert db.execute("UPDATE told SET at = at - ?", (31 * _DAY_S,)).rowcount == 1
    _swept(home)
    until_now(lambda: _sessions(home) == {"swept"}, "it is gone, too")


def test_what_somebody_uses_again_is_not_said_to_go(home: Home) -> None:
    _ended(home, saved={}, unsaved={"unsaved": 100})
    _swept(home)
    until_now(lambda: "project/unsaved" in home.cli("status").stdout, "it is said")
    home.cli("restart", "unsaved")
    home.cli("exec", "--session", "unsaved", "1")
    assert "project/unsaved" not in home.cli("status").stdout


def test_a_policy_that_cannot_be_understood_takes_nothing(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    (home.path / "keep.json").write_text('{"days": -1}')
    _ended(home, saved={"saved": 100})
    _swept(home)
    until_now(lambda: "nothing is swept" in (home.path / "daemon.log").read_text(), "it was looked at")
    assert "nothing goes by itself" in home.cli("status").stdout
    assert home.cli("prune", "-y").returncode == 1
    assert _sessions(home) == {"saved", "swept"}
    (home.path / "keep.json").rename(home.path / "elsewhere.json")
    (home.path / "keep.json").symlink_to("not-mounted/keep.json")
    assert "leads nowhere" in home.cli("prune", "-y").stderr
    (home.path / "keep.json").unlink()
    (home.path / "elsewhere.json").unlink()
    (home.path / "keep.json").write_text('{"days": 365, "gigabytes": null}')
    assert "0 things to go" in home.cli("prune", "-y").stdout
    (home.path / "keep.json").write_text('{"days": 30}')
    assert "1 thing gone" in home.cli("prune", "-y").stdout


def test_what_a_kernel_wrote_to_its_standard_error_is_bounded_once_it_has_ended(home: Home) -> None:
    flood = "import os; [os.write(2, b'x' * (1 << 20)) for _ in range(12)]; os.write(2, b'the end')"
    home.cli("exec", "--session", "loud", flood)
    (path,) = (home.path / "logs").glob("*.stderr")
    assert path.stat().st_size > 12 << 20, "of a living kernel twice as much is kept"
    home.cli("kill", "loud")
    until_now(lambda: path.stat().st_size == 8 << 20, "its beginning and its end are left")
    assert path.read_bytes().endswith(b"the end")


def test_the_standard_error_of_a_living_kernel_is_bounded_and_tells_of_its_crash_all_the_same(home: Home) -> None:
    with home.shim() as shim:
        shim.open()
        shim.run("import os; os.write(2, b'the beginning'); flood = b'x' * (40 << 20)")
        (path,) = (home.path / "logs").glob("*.stderr")
        for _ in range(3):
            shim.run("_ = [os.write(2, flood) for _ in range(3)], os.write(2, b'the end')")
            until_now(lambda: path.stat().st_size <= 16 << 20, "it was shortened")
            kept = path.read_bytes()
            assert kept.startswith(b"the beginning")
            assert b"left out" in kept
            assert kept.endswith(b"the end")
        _follow_while_it_is_shortened(home, path, shim)
        told = shim.call("kernel_exec", code="import ctypes; ctypes.string_at(0)")["content"][0]["text"]
    assert "Fatal Python error: Segmentation fault" in told


def _follow_while_it_is_shortened(home: Home, path: Path, shim: Shim) -> None:
    """A person who follows a log sees what comes after that."""
    kernel = path.name.split("-")[0]
    with (home.project / "followed").open("w+b") as out:
        follower = subprocess.Popen(home.cli_command("logs", "-f", kernel), cwd=home.project, env=home.env, stdout=out)
        shim.run("_ = os.write(2, flood[: 1 << 20]), os.write(2, b'the last')")
        until_now(lambda: Path(out.name).read_bytes().endswith(b"the last"), "it follows")
        shorten(str(path))
        shim.run("_ = os.write(2, b'what comes after')")
        until_now(lambda: b"what comes after" in Path(out.name).read_bytes()[-20:], "it follows on")
        follower.kill()
        follower.wait()


def test_what_is_written_while_a_file_is_shortened_stays_in_order(tmp_path: Path) -> None:
    (path := tmp_path / "stderr").write_bytes(b"")
    command = "i=0; while [ $i -lt 400000 ]; do echo line $i; i=$((i+1)); done"
    with path.open("ab") as file:
        writer = subprocess.Popen(["sh", "-c", f"yes 'what came before' | head -c {20 << 20}; {command}"], stdout=file)
    while writer.poll() is None:
        shorten(str(path), above=10 << 20)
    assert writer.returncode == 0
    shorten(str(path), above=10 << 20)
    assert path.stat().st_size <= 10 << 20
    lines = path.read_bytes().splitlines()
    assert lines[0] == b"what came before"
    assert lines[-1] == b"line 399999"
    counts = [int(line[5:]) for line in lines if line.startswith(b"line ")]
    assert counts == sorted(set(counts))


def test_it_is_said_how_much_there_is_and_where_that_is_too_much(home: Home) -> None:
    home.path.mkdir(mode=0o700)
    (home.path / "keep.json").write_text('{"gigabytes": 0.0001}')
    home.cli("exec", "print('x' * 300_000)")
    facts = json.loads(home.cli("sessions", "--json").stdout)["room"]
    assert facts["total"] > facts["limit"] == 100_000
    for verb in ("status", "sessions"):
        assert "100 kB at most" in home.cli(verb).stdout
        assert "nothing of living kernels or of today goes by itself" in home.cli(verb).stdout


def test_a_part_of_a_history_in_a_notebook_is_not_taken_for_all_of_it(home: Home) -> None:
    for code in ("a = 1", "b = 2"):
        home.cli("exec", "--session", "part", code)
    last = str(json.loads(home.cli("history", "--session", "part", "--json").stdout)["entries"][-1]["execution_id"])
    for part in (["--first", last], ["--only", "ok"]):
        assert home.cli("save", "--session", "part", "--overwrite", *part, "part.ipynb").returncode == 0
    home.cli("kill", "--all")
    home.cli("stop")
    _age(home, "part", 100)
    home.cli("start")
    shown = home.cli("prune", "-y").stdout
    assert "session project/part " in shown.split("0 things to go")[1], "it stays until that was said for long"
    assert home.cli("save", "--session", "part", "--overwrite", "part.ipynb").returncode == 0
    assert "1 thing gone" in home.cli("prune", "-y").stdout


def test_nothing_goes_of_what_links_lead_to(home: Home, tmp_path: Path) -> None:
    theirs = {
        name: tmp_path / name for name in ("linked", "of the daemon", "of two names", "cache/old/file", "old-1.txt")
    }
    for path in theirs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (9 << 20))
        for each in (path, path.parent):
            os.utime(each, (1.7e9, 1.7e9))
    home.cli("start")
    home.cli("stop")
    logs = home.path / "logs"
    (logs / "0123456789ab-1.stderr").symlink_to(theirs["linked"])
    (home.path / "daemon.log.err").unlink(missing_ok=True)
    (home.path / "daemon.log.err").symlink_to(theirs["of the daemon"])
    os.link(theirs["of two names"], logs / "ba9876543210-1.stderr")
    shutil.rmtree(home.path / "cache", ignore_errors=True)
    (home.path / "cache").symlink_to(tmp_path / "cache")
    own = logs / "abababababab-1.stderr"
    own.write_bytes(b"x" * (9 << 20))
    _swept(home)
    until_now(lambda: own.stat().st_size == 8 << 20, "it was swept")
    logs.rename(home.path / "logs.before")
    logs.symlink_to(tmp_path)
    assert "0 things" in home.cli("prune", "-y").stdout
    assert {path.stat().st_size for path in theirs.values()} == {9 << 20}
