"""Promise: `uninstall` lists all that is of ours, asks, and leaves nothing of it; what is a person's own stays."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.process.test_kept import at_a_terminal
from tests.support import Home, until_now

pytestmark = pytest.mark.timeout(180)


def _cli(home: Home, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """For a user whose own files are in the project's folder."""
    return home.cli(*arguments, env={**home.env, "HOME": str(home.project), "JUPYTER_DATA_DIR": ""}, **more)


def _furnish(home: Home) -> Path:
    """All that can be there; the file that registers it."""
    assert _cli(home, "exec", "--session", "saved", "x = 41").returncode == 0
    assert _cli(home, "save", "--session", "saved", "mine.ipynb").returncode == 0
    assert _cli(home, "exec", "--session", "unsaved", "x = 41").returncode == 0
    assert _cli(home, "kernelspec", "install").returncode == 0
    (home.path / "notes.txt").write_text("mine")
    (home.path / "servers.json").write_text("{}")
    claude = home.project / ".claude.json"
    ours, theirs = {"command": "python", "args": []}, {"command": "other"}
    claude.write_text(json.dumps({"mcpServers": {"kernel-supervisor": ours, "other": theirs}}))
    return claude


def test_it_lists_asks_and_leaves_nothing_but_what_is_a_persons_own(home: Home) -> None:
    claude = _furnish(home)
    listed = _cli(home, "uninstall", stdin=subprocess.DEVNULL)
    assert (listed.returncode, "`kernel-supervisor uninstall -y` does it" in listed.stderr) == (2, True), listed
    for part in ("registration in", "kernelspec", "2 processes", f"folder {home.path}", "servers.json"):
        assert part in listed.stdout, part
    assert "; 1 session without a notebook" in listed.stdout
    assert f"saved notebooks stay where they are: {home.project}/mine.ipynb" in listed.stdout
    env = {"HOME": str(home.project), "JUPYTER_DATA_DIR": ""}
    code, seen = at_a_terminal(home, ["uninstall"], "no", **env)
    assert (code, "nothing was done" in seen) == (1, True), seen
    assert len(home.kernels()) == 2
    code, seen = at_a_terminal(home, ["uninstall"], "yes", **env)
    assert code == 0, seen
    assert not home.kernels()
    assert not home.daemons()
    assert [path.name for path in home.path.iterdir()] == ["notes.txt"], "it is not ours"
    assert list(json.loads(claude.read_text())["mcpServers"]) == ["other"]
    assert not list(home.project.rglob("kernel.json"))
    assert (home.project / "mine.ipynb").exists()
    again = _cli(home, "uninstall", "-y")
    assert again.returncode == 0
    assert [path.name for path in home.path.iterdir()] == ["notes.txt"]


def test_a_daemon_that_hangs_keeps_its_folder(home: Home) -> None:
    home.cli("exec", "x = 41")
    daemon = home.daemon()
    assert daemon is not None
    daemon.suspend()
    try:
        refused = _cli(home, "uninstall", "-y")
    finally:
        daemon.resume()
    assert refused.returncode == 1
    assert "not removed: the daemon and its kernels" in refused.stderr
    assert home.cli("exec", "print(x + 1)").stdout.splitlines()[-1] == "42"


def test_the_folder_of_sockets_elsewhere_goes_too(home: Home) -> None:
    far = replace(home, path=home.path.parent / ("far" * 40))
    assert far.cli("exec", "x = 41").returncode == 0
    place = Path(json.loads(far.cli("status", "--json").stdout)["socket"]).parent
    try:
        assert _cli(far, "uninstall", "-y").returncode == 0
        assert not far.path.exists()
        until_now(lambda: not list(place.parent.glob(f"{place.name}*")), "it is gone")
        assert not far.daemons()
    finally:
        far.sweep()
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.parametrize("words", [["uninstall", "-y"], ["doctor", "--fix"]])
def test_a_folder_that_is_no_supervisors_is_left_as_it_is(home: Home, words: list[str]) -> None:
    for name in ("run", "logs", "cache", "jupyter", "work"):
        (home.path / name).mkdir(parents=True)
        (home.path / name / "mine.txt").write_text("mine")
    home.path.chmod(0o755)
    done = _cli(home, *words)
    assert "other files" in done.stdout, done
    assert len(list(home.path.glob("*/mine.txt"))) == 5
    assert home.path.stat().st_mode & 0o777 == 0o755


def test_two_at_a_time_both_say_that_it_is_gone(home: Home) -> None:
    assert _cli(home, "exec", "x = 41").returncode == 0
    with ThreadPoolExecutor() as both:
        done = list(both.map(lambda _: _cli(home, "uninstall", "-y"), range(2)))
    assert [each.returncode for each in done] == [0, 0], done
    assert not home.path.exists()
