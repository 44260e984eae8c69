"""`cli.session`: tables on narrow terminals, and what is printed where nothing was asked."""

from __future__ import annotations

import os

import pytest

from kernel_supervisor.cli import session
from kernel_supervisor.cli.main import main


@pytest.mark.parametrize("text", ["/a/very/long/way/to/the/project", "print('a very long line of code, as they are')"])
def test_a_table_fits_the_terminal(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((40, 24)))
    session.print_table(["kernel", "state", "last"], [["0123456789ab", "idle", text]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 40
    assert lines[-1].endswith("project" if text.startswith("/") else "…")


def test_nothing_is_cut_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    session.print_table(["code"], [["x" * 500]])
    assert "x" * 500 in capsys.readouterr().out


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == session.USAGE
    assert "List the living kernels of all sessions." in capsys.readouterr().err
