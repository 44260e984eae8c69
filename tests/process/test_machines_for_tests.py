"""Promise: where no machine with systemd can be had for tests, one line says why, soon, and nothing is left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import DEADLINE_S

APART = ["unshare", "--net", "--mount"]
_SILENT_MIRROR = """
import os, socket, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with open(sys.argv[1], "w") as hosts:
    hosts.write("127.0.0.1 deb.debian.org")
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/hosts"], check=True)
mirror = socket.create_server(("127.0.0.1", 80))
sys.exit(subprocess.run([sys.executable, "-m", "tests.systemd.image"]).returncode)
"""


@pytest.mark.parametrize("lacking", ["tools", "network", "answers"])
def test_what_is_lacking_is_said_in_one_line(tmp_path: Path, lacking: str) -> None:
    command, path = [sys.executable, "-m", "tests.systemd.image"], os.environ["PATH"]
    if lacking == "tools":
        path = ""
    elif shutil.which("unshare") and subprocess.run([*APART, "true"], check=False).returncode == 0:
        silent = [sys.executable, "-c", _SILENT_MIRROR, str(tmp_path / "hosts")]
        command = [*APART, *(silent if lacking == "answers" and shutil.which("ip") else command)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=Path(__file__).parents[2],
        env={"PATH": path, "HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (1, "", 1), (done.stdout, done.stderr)
    assert not list(tmp_path.glob(".cache/*/*"))
