"""Promise: bash, zsh and fish complete commands, options, sessions and kernels, and start no daemon for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.support import DEADLINE_S, Home

SHELLS = {
    "bash": (["--noprofile", "--norc", "-i"], 'eval "$(kernel-supervisor completion bash)"'),
    "zsh": (["-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(kernel-supervisor completion zsh)"'),
    "fish": (["--no-config", "-i"], "kernel-supervisor completion fish | source"),
}  # fmt: skip


@contextmanager
def _shell(home: Home, name: str) -> Iterator[pexpect.spawn]:
    """A shell at a terminal that completes, with nobody's own set-up."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    arguments, prepared = SHELLS[name]
    folder = home.project.parent / f"home-of-{name}"
    folder.mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**home.env, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PATH": path, "TERM": "xterm"}
    terminal = pexpect.spawn(
        program, arguments, cwd=str(home.project), env=env, timeout=DEADLINE_S, encoding="utf-8", dimensions=(40, 200)
    )
    try:
        terminal.sendline(f"{prepared}; echo rea''dy")
        terminal.expect("ready")
        yield terminal
    finally:
        terminal.close(force=True)


@pytest.fixture(scope="module")
def worked_in(standing_home: Home) -> Home:
    """A home with a session that has a kernel."""
    assert standing_home.cli("exec", "--session", "model", "1").returncode == 0
    return standing_home


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_sessions_and_kernels(worked_in: Home, shell: str) -> None:
    (kernel,) = json.loads(worked_in.cli("list", "--json").stdout)["kernels"]
    with _shell(worked_in, shell) as terminal:
        for typed, completed in (
            ("kernel-supervisor restart-d", "aemon"),
            ("kernel-supervisor save --overw", "rite"),
            ("kernel-supervisor history --session proj", "ect/model"),
            ("kernel-supervisor kill proj", "ect/model"),
            (f"kernel-supervisor kill {kernel['kernel_id'][:4]}", kernel["kernel_id"][4:]),
        ):
            terminal.send(f"{typed}\t")
            terminal.expect_exact(completed)
            terminal.send("\x15")  # Ctrl-U: away with the line


@pytest.mark.parametrize("shell", SHELLS)
def test_completing_starts_no_daemon(home: Home, shell: str) -> None:
    with _shell(home, shell) as terminal:
        terminal.send("kernel-supervisor kill \t")
        terminal.send("\x15")
        terminal.send("kernel-supervisor interr\t")
        terminal.expect_exact("upt")
        assert not home.daemons()
        assert not (home.path / "run").exists()
