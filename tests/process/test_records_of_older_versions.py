"""Promise: sessions of versions that knew no projects are found where they belong; going back to one loses nothing."""

from __future__ import annotations

import binascii
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import Home, until, until_now

pytestmark = pytest.mark.anyio
OLD = Path(__file__).parents[1] / "records/schema-1.sql"
OLD_NAME = re.compile(r"[\w.@+ -]{1,80}")
"""What those versions take for a session's name."""
CELL: dict[str, Any] = {
    "cell_type": "code",
    "id": "1",
    "metadata": {},
    "outputs": [],
    "execution_count": None,
    "source": "x += 1; x",
}
NOTEBOOK = {"cells": [CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
MODEL = ("supervised-session-model", "supervised-session-project-model")
OLD_KERNEL = {
    "id",
    "session",
    "generation",
    "interpreter",
    "connection_file",
    "directory",
    "channel_identity",
    "process",
    "overlay",
    "owned",
    "recorded",
    "message_log",
    "standard_error",
    "language_info",
    "ipykernel",
    "server",
    "server_kernel",
    "provisioner_state",
    "started_at",
    "ended_at",
    "end_reason",
}
"""What those versions take for a kernel's record."""
OLD_COLUMNS = "name, directory, kernel_id, previous_kernel_id, created_at, notebooks, autosave, notice, loaded"


def _database(home: Home) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(home.path / "run/records.sqlite"))


def _write_old_records(home: Home) -> Path:
    """The records of an older version, as it left them; the directory that its projects are in."""
    root = home.project
    for each in ("one/analysis", "two/analysis", "billing", "here/moved"):
        (root / each).mkdir(parents=True)
    (home.path / "run").mkdir(mode=0o700, parents=True)
    crc = f"{binascii.crc32(str(root / 'two/analysis').encode()):08x}"
    with _database(home) as db:
        db.executescript(OLD.read_text().replace("ROOT", str(root)).replace("CRC", crc))
    return root


async def _forget_projects(home: Home) -> None:
    """End the daemon, which no client needs now, and make its records those of an older version."""
    home.kill_daemon()
    await until(lambda: not home.daemons(), "the daemon is gone")
    with _database(home) as db, db:
        db.execute("DROP TABLE names")


def _said(home: Home, *arguments: str, cwd: Path) -> Any:
    done = home.cli(*arguments, "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _notes(home: Home, cwd: Path, *session: str) -> list[str]:
    return [each["code"] for each in _said(home, "history", *session, cwd=cwd)["entries"]]


def test_old_sessions_are_found_in_the_projects_that_they_are_recorded_for(home: Home) -> None:
    root = _write_old_records(home)
    home.cli("start")
    one, two, billing = root / "one/analysis", root / "two/analysis", root / "billing"
    assert _notes(home, one) == ["of analysis"]
    assert _notes(home, two)[0].startswith("of analysis-")
    assert _notes(home, one, "--session", "explore") == ["of explore"]
    assert _notes(home, billing, "--session", "x.ipynb") == ["of x.ipynb"]
    assert _notes(home, billing, "--session", "analysis/explore") == ["of explore"]
    unknown = home.cli("history", "--session", "explore", cwd=two)
    assert (unknown.returncode, "did you mean `analysis/explore`?" in unknown.stderr) == (1, True), unknown
    names = [each["name"] for each in _said(home, "sessions", cwd=root)["sessions"]]
    assert [re.sub(r"-[0-9a-f]{8}", "-CRC", each) for each in names] == [
        "moved/", "billing/x.ipynb", "analysis/explore", "analysis-CRC/", "analysis/",
    ]  # fmt: skip


async def test_a_kernel_that_lives_is_its_projects_and_others_are_told_once_how_it_is_spelled(home: Home) -> None:
    other = home.project / "other"
    other.mkdir()
    async with home.client() as session:
        await session.run("x = 41", session="explore")
        (pid,) = [each.pid for each in home.kernels()]
    await _forget_projects(home)
    async with home.client() as session:
        assert (await session.run("x", session="explore")).text.splitlines()[-1] == "41"
        assert (await session.client.read_resource("kernel://explore/variables")).contents, "an old URI"
    async with home.client(cwd=other) as session:
        looked = await session.call("kernel_list_vars", session="explore")
        ran = await session.run("'x' in globals()", session="explore")
        later = await session.run("1", session="explore")
        theirs = await session.run("x", session="project/explore")
    assert 'session "explore" is this project\'s own' in looked.text
    assert '"project/explore"' in looked.text
    assert looked.facts["notices"]
    assert ran.facts["session"] == "other/explore"
    assert ran.text.splitlines()[-1] == "False"
    assert theirs.text.splitlines()[-1] == "41"
    async with home.client(cwd=other) as session:
        again = await session.run("1", session="explore")
    for each in (ran, later, again):
        assert "project/explore" not in each.text, "once"
    assert [each.pid for each in home.kernels() if each.pid == pid] == [pid]


async def test_a_kernelspec_of_an_older_version_joins_the_session_that_it_named(home: Home, tmp_path: Path) -> None:
    other = home.project / "other"
    other.mkdir()
    installed = {**home.env, **{f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("RUNTIME", "DATA", "CONFIG")}}
    home.cli("exec", "--session", "model", "x = 41")
    home.cli("kernelspec", "install", "--session", "model", env=installed)
    spec = tmp_path / "DATA/kernels/supervised-session-project-model/kernel.json"
    fields = json.loads(spec.read_text())
    config = fields["metadata"]["kernel_provisioner"]["config"]
    assert config == {"session": "project/model", "project": str(home.project)}
    for config_of in (config, {"session": "model"}):
        await _forget_projects(home)
        fields["metadata"]["kernel_provisioner"]["config"] = config_of
        spec.write_text(json.dumps(fields))
        (other / "run.ipynb").write_text(json.dumps(NOTEBOOK))
        code = (
            "import nbformat, nbclient; n = nbformat.read('run.ipynb', 4); "
            "nbclient.NotebookClient(n, kernel_name='supervised-session-project-model').execute()"
        )
        subprocess.run([sys.executable, "-c", code], cwd=other, env=installed, timeout=100, check=True)
    assert home.cli("exec", "--session", "model", "x").stdout.splitlines()[-1] == "43"


async def test_what_people_have_of_an_older_version_leads_to_the_same_session(home: Home) -> None:
    """A kernelspec that their notebooks name, and news that they subscribe to."""
    home.cli("exec", "--session", "model", "x = 41")
    specs = home.path / "jupyter/kernels"
    home.cli("jupyterlab", "--print")
    (specs / MODEL[1]).rename(specs / MODEL[0])
    await _forget_projects(home)
    home.cli("exec", "--session", "other", "1")
    home.cli("jupyterlab", "--print")
    found = {path.parent.name: json.loads(path.read_text()) for path in specs.glob("*/kernel.json")}
    assert set(found) == {"supervised", "supervised-session-project-other", *MODEL}
    for name in MODEL:
        assert found[name]["display_name"] == "session project/model (supervised)"
        assert found[name]["metadata"]["kernel_provisioner"]["config"] == {"session": "project/model"}
    with home.shim() as shim:
        shim.open()
        shim.request("resources/subscribe", {"uri": "kernel://model/notebook"})
        shim.send("tools/call", {"name": "kernel_exec", "arguments": {"code": "x", "session": "model"}}, id="exec")
        while (message := shim.message()) is not None:
            if message.get("method") == "notifications/resources/updated":
                break
        assert message is not None
        assert message["params"]["uri"] == "kernel://model/notebook"


async def test_a_project_that_was_moved_is_offered_its_session_and_nothing_is_taken(home: Home) -> None:
    before, after = home.project / "before", home.project / "after"
    before.mkdir()
    async with home.client(cwd=before) as session:
        await session.run("x = 41")
    before.rename(after)
    async with home.client(cwd=after) as session:
        looked = await session.call("kernel_history")
        own = await session.run("'x' in globals()")
        theirs = await session.run("x", session="before/")
        later = await session.run("1")
    assert "before, which is gone" in looked.text, "its kernel works here"
    assert "name before/ as the session to go on there" in looked.text
    assert own.facts["session"] == "after/"
    assert [each.text.splitlines()[-1] for each in (own, theirs, later)] == ["False", "41", "1"]
    assert "before/" not in own.text + later.text, "once"


def test_a_moved_project_is_known_by_its_name_or_by_a_notebook_that_it_wrote(home: Home) -> None:
    root = _write_old_records(home)
    renamed, bystander = root / "renamed", root / "bystander"
    renamed.mkdir()
    bystander.mkdir()
    (renamed / "report.ipynb").touch()
    told = {each: home.cli("exec", "1", cwd=each).stderr for each in (root / "here/moved", renamed, bystander)}
    assert ["name moved/ as the session to go on there" in said for said in told.values()] == [True, True, False]
    assert "moved/" not in home.cli("exec", "1", cwd=renamed).stderr, "once"


# Back to a version that knows no projects


async def test_an_older_version_finds_everything_under_words_that_it_takes(home: Home) -> None:
    one, two = home.project / "one/analysis", home.project / "two/analysis"
    for each in (one, two):
        each.mkdir(parents=True)
        for name in ("", "explore", "y" * 80):
            done = home.cli("exec", "--session", name, "'x'", cwd=each)
            assert done.returncode == 0, done.stderr
    home.kill_daemon()
    await until(lambda: not home.daemons(), "the daemon is gone")
    with _database(home) as db, closing(sqlite3.connect(":memory:")) as old:
        old.executescript(OLD.read_text())
        assert db.execute("PRAGMA user_version").fetchone() == (1,), "a newer one is set aside whole"
        for (table,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"):
            layout = f"PRAGMA table_info({table})"
            before, now = old.execute(layout).fetchall(), db.execute(layout).fetchall()
            assert now[: len(before)] == before
            assert all(default is not None for *_, default, _ in now[len(before) :]), "it writes no such columns"
        sessions = dict(db.execute(f"SELECT name, directory FROM (SELECT {OLD_COLUMNS} FROM sessions)").fetchall())
        assert all(OLD_NAME.fullmatch(name) for name in sessions)
        crc = f"{binascii.crc32(os.fsencode(two)):08x}"
        assert (sessions["analysis"], sessions[f"analysis-{crc}"]) == (str(one), str(two)), "as it names them itself"
        assert sessions["explore"] == str(one)
        for name in sessions:
            query = (
                "SELECT count(*) FROM executions JOIN kernels ON kernels.id = kernel_id WHERE executions.session = ?"
            )
            assert db.execute(query, (name,)).fetchone() == (1,), name
            record = json.loads(db.execute("SELECT record FROM kernels WHERE session = ?", (name,)).fetchone()[0])
            assert record["session"] == name
            assert set(record) <= OLD_KERNEL, "it does not start over a field that it does not know"
        with db:  # it writes each session whole, without what it does not know, and makes and forgets some
            rows = db.execute(f"SELECT {OLD_COLUMNS} FROM sessions").fetchall()
            db.executemany(f"INSERT OR REPLACE INTO sessions ({OLD_COLUMNS}) VALUES (?{', ?' * 8})", rows)
            db.execute(
                f"INSERT INTO sessions ({OLD_COLUMNS}) VALUES ('late', ?, NULL, NULL, 9, '{{}}', '', '', '')",
                (str(two),),
            )
    home.cli("start")
    for each in (one, two):
        for name in ("", "explore", "y" * 80):
            entries = _said(home, "history", "--session", name, cwd=each)["entries"]
            assert [entry["code"] for entry in entries] == ["'x'"], (each, name)
    names = {each["name"] for each in _said(home, "sessions", cwd=one)["sessions"]}
    assert len(names) == 7
    assert f"analysis-{crc}/late" in names


async def test_a_word_that_an_older_version_forgot_and_used_again_is_the_new_session(home: Home) -> None:
    one, two = home.project / "one", home.project / "two"
    for each in (one, two):
        each.mkdir()
    home.cli("exec", "--session", "explore", "1", cwd=one)
    home.kill_daemon()
    await until(lambda: not home.daemons(), "the daemon is gone")
    with _database(home) as db, db:
        db.execute("UPDATE sessions SET directory = ? WHERE name = 'explore'", (str(two),))
    home.cli("start")
    assert [each["name"] for each in _said(home, "sessions", cwd=one)["sessions"]] == ["two/explore"]


# Odd records


def test_odd_words_of_an_older_version_become_names_that_can_be_given(home: Home) -> None:
    _write_old_records(home)
    odd = [" spaced ", "a/b", "a-b", "/", "", "x\ny", "w" * 200, "\u212b", b"\xff", None, 7, "-", ".."]
    project = str(home.project / "billing")
    with _database(home) as db, db:
        insert = f"INSERT INTO sessions ({OLD_COLUMNS}) VALUES (?, ?, NULL, NULL, 9, '{{}}', '', '', '')"
        db.executemany(insert, [(word, project) for word in odd])
        db.execute(
            "INSERT INTO executions (session, generation, kind, source, status, client, queued_at, reason, place) "
            "SELECT name, 0, 'note', 'of ' || name, 'ok', 'x', 9, '', 1 FROM sessions WHERE typeof(name) = 'text'"
        )
    assert home.cli("start").returncode == 0
    sessions = _said(home, "sessions", cwd=home.project)["sessions"]
    theirs = [each["name"] for each in sessions if each["directory"] == project]
    assert len(set(theirs)) == len(odd) - 1 + len(["x.ipynb"]), "all but the one without a name"
    found = [note for name in theirs for note in _notes(home, home.project, "--session", name)]
    assert {f"of {word}" for word in odd if isinstance(word, str)} <= set(found)


def test_an_odd_name_on_record_spoils_only_itself(home: Home) -> None:
    """Twice the same one, a folder of another project, two of one project, and what is none."""
    root = _write_old_records(home)
    home.cli("start")
    home.kill_daemon()
    until_now(lambda: not home.daemons(), "the daemon is gone")
    rows: list[tuple[str, str, Any, Any]] = [
        ("a", "one", "one", "x"), ("b", "two", "one", "x"), ("c", "two", "one", "z"), ("d", "three", "a/b", b"\xff"),
        ("e", "four", "four", "x"), ("f", "four", "elsewhere", "y"), ("g", "four", "four", "a/b"),
        ("h", "four", "", ""),
    ]  # fmt: skip
    with _database(home) as db, db:
        for session, project, folder, name in rows:
            where = str(root / project)
            insert = f"INSERT INTO sessions ({OLD_COLUMNS}) VALUES (?, ?, NULL, NULL, 9, '{{}}', '', '', '')"
            db.execute(insert, (session, where))
            db.execute("INSERT INTO names VALUES (?, ?, ?, ?, 0)", (session, where, folder, name))
            db.execute(
                "INSERT INTO executions (session, generation, kind, source, status, client, queued_at, reason, place) "
                "VALUES (?, 0, 'note', 'of ' || ?, 'ok', 'x', 9, '', 1)",
                (session, session),
            )
    assert home.cli("start").returncode == 0
    sessions = _said(home, "sessions", cwd=home.project)["sessions"]
    found = {each["name"]: _notes(home, home.project, "--session", each["name"]) for each in sessions}
    theirs = {name: note for name, (note,) in found.items() if name.split("/")[0] in ("one", "two", "three", "four")}
    assert theirs == {
        "one/x": "of a", "two/b": "of b", "two/c": "of c", "three/d": "of d",
        "four/x": "of e", "four/f": "of f", "four/g": "of g", "four/h": "of h",
    }  # fmt: skip
