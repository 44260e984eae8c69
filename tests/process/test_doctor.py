"""Promise: `doctor` says what is wrong whatever is broken, names what mends it, and mends what loses nothing."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.cli import service
from kernel_supervisor.isolation import isolated
from tests.support import Home

pytestmark = pytest.mark.timeout(180)
GONE = "/nowhere/bin/python"


def _look(home: Home, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """What is found for a user whose own files are in the project's folder."""
    done = home.cli("doctor", "--json", *options, env={**home.env, "HOME": str(home.project), "JUPYTER_DATA_DIR": ""})
    assert done.stderr == "", done.stderr
    return done.returncode, json.loads(done.stdout)["findings"]


def _troubles(found: list[dict[str, Any]]) -> list[str]:
    return [f"{each['about']}: {each['words']} → {each['mend']}" for each in found if each["state"] == "trouble"]


def _about(found: list[dict[str, Any]], about: str) -> list[dict[str, Any]]:
    return [each for each in found if each["about"] == about]


def test_nothing_is_wrong_with_one_that_works_or_that_was_never_used(home: Home) -> None:
    code, found = _look(home)
    assert (code, _troubles(found)) == (0, [])
    assert not home.path.exists(), "looking leaves nothing behind"
    assert home.cli("exec", "x = 41").returncode == 0
    code, found = _look(home)
    assert (code, _troubles(found)) == (0, [])
    assert _about(found, "kernels")[0]["words"] == "1 kernel here"
    assert sys.executable in _about(found, "interpreter")[0]["words"]
    assert home.cli("doctor").stdout.count("\n") >= len(found), "people read it, too"


@contextmanager
def _hanging(home: Home) -> Iterator[int]:
    daemon = home.daemon()
    assert daemon is not None
    daemon.send_signal(signal.SIGSTOP)
    try:
        yield daemon.pid
    finally:
        daemon.send_signal(signal.SIGCONT)


def test_a_daemon_that_hangs_is_named_with_what_ends_it(home: Home) -> None:
    home.cli("start")
    with _hanging(home) as pid:
        code, found = _look(home)
    assert code == 1
    (trouble,) = _about(found, "daemon")
    assert "does not answer" in trouble["words"]
    assert f"kill -9 {pid}" in trouble["mend"]


def test_a_home_that_is_no_folder_keeps_nothing_else_from_being_looked_at(home: Home) -> None:
    home.path.write_text("a file")
    code, found = _look(home)
    assert code == 1
    assert any("is something else" in each for each in _troubles(found))
    assert {"versions", "disk", "registration"} <= {each["about"] for each in found}


def test_rights_that_others_have_are_taken_away(home: Home) -> None:
    home.cli("start")
    (home.path / "servers.json").write_text("{}")
    for path, mode in ((home.path / "logs", 0o755), (home.path / "servers.json", 0o644)):
        path.chmod(mode)
    code, found = _look(home)
    assert (code, len(_troubles(found))) == (1, 2), found
    assert f"chmod 600 {home.path}/servers.json" in [each["mend"] for each in found]
    code, found = _look(home, "--fix")
    assert (code, [each["mended"] for each in found if each["state"] == "trouble"]) == (0, [True, True])
    assert stat.S_IMODE((home.path / "logs").stat().st_mode) == 0o700
    assert stat.S_IMODE((home.path / "servers.json").stat().st_mode) == 0o600


def test_registrations_that_lead_nowhere_or_are_of_an_older_version_are_written_anew(home: Home) -> None:
    file = home.project / ".claude.json"
    theirs = {"command": "other", "args": ["é"]}
    ours = {"type": "stdio", "command": GONE, "args": ["-m", "mcp_shim", "--session", "model"], "env": {"A": "b"}}
    older = {"command": sys.executable, "args": ["-m", "mcp_shim"]}
    content = {
        "mcpServers": {"kernel-supervisor": ours, "other": theirs},
        "projects": {"/there": {"mcpServers": {"kernel-supervisor": older}}, "/odd": None},
        "theme": "dark",
    }
    file.write_text(json.dumps(content))
    file.chmod(0o600)
    code, found = _look(home)
    assert (code, len(_troubles(found))) == (1, 2), found
    assert json.loads(file.read_text()) == content, "looking changes nothing"
    assert _look(home, "--fix")[0] == 0
    mended = json.loads(file.read_text())
    command, *arguments = isolated("mcp_shim")
    assert mended["mcpServers"] == {
        "kernel-supervisor": {**ours, "command": command, "args": [*arguments, "--session", "model"]},
        "other": theirs,
    }
    assert mended["projects"]["/there"]["mcpServers"]["kernel-supervisor"] == {"command": command, "args": arguments}
    assert (mended["theme"], stat.S_IMODE(file.stat().st_mode)) == ("dark", 0o600)
    assert _troubles(_look(home)[1]) == []


def test_kernelspecs_that_lead_nowhere_are_written_anew(home: Home) -> None:
    env = {**home.env, "HOME": str(home.project), "JUPYTER_DATA_DIR": ""}
    assert home.cli("kernelspec", "install", env=env).returncode == 0
    (file,) = home.project.rglob("kernel.json")
    spec = json.loads(file.read_text())
    file.write_text(json.dumps({**spec, "argv": [GONE, "-m", "something"]}))
    assert len(_troubles(_look(home)[1])) == 1
    assert _look(home, "--fix")[0] == 0
    assert json.loads(file.read_text()) == spec


def test_a_unit_of_an_older_version_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, fake = tmp_path / "asked", tmp_path / "systemctl"
    fake.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    unit = tmp_path / "units/kernel-supervisor.service"
    service.write(unit)
    assert not service.outdated(str(unit))
    unit.write_text(unit.read_text().replace(sys.executable, GONE))
    assert service.outdated(str(unit))
    service.rewrite(str(unit))
    assert not service.outdated(str(unit))
    assert sys.platform == "darwin" or asked.read_text() == "--user daemon-reload\n", "what runs is not restarted"


def test_a_kernel_that_the_daemon_does_not_know_is_named(home: Home) -> None:
    home.cli("start")
    words = [sys.executable, "-c", "input()", "-f", f"{home.path}/run/kernels/0123.json"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as stray:
        code, found = _look(home)
        stray.kill()
    assert code == 1
    assert [each for each in _troubles(found) if f"kill {stray.pid}" in each]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_what_cannot_be_encoded_is_shown_all_the_same(home: Home, encoding: str) -> None:
    claude = {"projects": {"/a\ud800": {"mcpServers": {"kernel-supervisor": {"command": "/gone"}}}}}
    (home.project / ".claude.json").write_text(json.dumps(claude))
    env = {"CLAUDE_CONFIG_DIR": str(home.project), "PYTHONIOENCODING": f"{encoding}:strict"}
    for words in (["doctor"], ["uninstall", "-y"]):
        done = home.cli(*words, env={**home.env, **env})
        assert "for /a\\ud800" in done.stdout, done
        assert "Traceback" not in done.stderr
