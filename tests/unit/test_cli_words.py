"""`cli.screen`: tables on narrow terminals, colour where it is wanted; and what is perhaps meant."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernel_supervisor.cli import commands, screen
from kernel_supervisor.cli.clients import CLIENTS
from kernel_supervisor.cli.codes import DONE, USAGE
from kernel_supervisor.cli.main import function_called, main
from kernel_supervisor.installer import command_for
from kernel_supervisor.wording import cells


@pytest.mark.parametrize("text", ["/a/very/long/way/to/the/project", "print('a very long line of code, as they are')"])
def test_a_table_fits_the_terminal(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda fallback=(80, 24): os.terminal_size((40, 24)))
    screen.print_table(["kernel", "state", "last"], [["0123456789ab", "idle", text]])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 40
    assert lines[-1].endswith("project" if text.startswith("/") else "…")


def test_nothing_is_cut_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_table(["code"], [["x" * 500]])
    assert "x" * 500 in capsys.readouterr().out


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == DONE
    assert "list the kernels of all sessions" in capsys.readouterr().out


@pytest.mark.parametrize("width", [30, 40, 60, 80, 140])
def test_a_table_of_many_columns_is_no_wider_than_the_terminal(width: int) -> None:
    heads = ["kernel", "session", "name", "state", "directory"]
    rows = [["0123456789ab", "a-project/a-session", "default", "busy", "/home/somebody/projects/a-project"]]
    rows += [["0123456789ac", "分析/モデル", "default", "idle", "/tmp/\x1b[31m\n"]]
    lines = screen.table(heads, rows, ("name", "directory"), width)
    assert len(lines) == 4, "one line for each row"
    assert all(cells(line) <= width for line in lines), lines
    assert "0123456789ab" in lines[2] or width < 60
    assert ("/home/somebody/projects/a-project" in lines[2]) == (width == 140)


def test_a_list_is_laid_out_without_a_library_for_what_is_wide() -> None:
    code = "from kernel_supervisor.wording import aligned\n"
    code += "print(*aligned([['→', 'a…', '2×3'], ['', 'abc', '–']]), sep='|')"
    code += "\nimport sys\nassert 'wcwidth' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown == "→  a…   2×3|   abc  –\n"


def test_columns_go_before_what_they_stand_beside_is_cut() -> None:
    heads, rows = ["kernel", "session", "name"], [["0123456789ab", "project/session", "default"]]
    (*_, row) = screen.table(heads, rows, ("name",), 30)
    assert row.split() == ["0123456789ab", "project/session"]


@pytest.mark.parametrize(
    ("set_to", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"NO_COLOR": ""}, True)],
)
def test_colour_is_for_terminals_that_want_it(
    set_to: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm", **set_to}.items():
        monkeypatch.setenv(name, value)
    assert "\x1b" not in screen.of_state("busy"), "pytest reads what is printed: that is no terminal"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert ("\x1b" in screen.of_state("busy")) == coloured
    assert ("\x1b" in screen.table(["state"], [["idle"]])[2]) == coloured


def _all(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(each for found in choices for own in found.values() for each in _all(own))]


def test_every_command_runs_something_that_there_is() -> None:
    runs = {str(each.get_default("run")) for each in _all(commands.all_commands()) if each.get_default("run")}
    assert len(runs) > 30
    assert all(callable(function_called(each)) for each in runs)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["exce", "1"], "exec"),
        (["lst"], "list"),
        (["service", "satus"], "status"),
        (["save", "--theme", "drak"], "dark"),
        (["save", "--overwirte"], "--overwrite"),
        (["exec", "--no-wiat", "1"], "--no-wait"),
        (["help", "histroy"], "history"),
        (["register", "cluade"], "claude"),
    ],
)
def test_what_was_perhaps_meant_is_said(typed: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed)
    assert ended.value.code == USAGE
    said = capsys.readouterr().err
    assert f"did you mean `{meant}`" in said
    assert "`kernel-supervisor help" in said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["completion", "tcsh"], "there is no 'tcsh' here; there is bash, zsh, fish"),
        (["history", "--last", "x"], "argument -n/--last: x is no number from 1 to 500"),
        (["history", "--last", "0"], "argument -n/--last: 0 is no number from 1 to 500"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(
    typed: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(typed)
    assert ended.value.code == USAGE
    assert said in capsys.readouterr().err


def test_help_on_a_command_is_that_of_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (["help", "kill"], ["kill", "--help"], ["help", "service", "logs"], ["service", "logs", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == DONE
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] != shown[2] == shown[3]


def test_clients_that_can_be_registered_are_those_that_are_known() -> None:
    assert tuple(CLIENTS) == commands.CLIENTS


def test_what_is_missing_is_installed_by_the_tool_that_installed_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    assert command_for("jupyterlab", str(tmp_path)) == f"uv pip install --python {sys.executable} jupyterlab"
    monkeypatch.delitem(sys.modules, "pip")
    (tmp_path / "pip.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert command_for("jupyterlab", str(tmp_path)) == f"{sys.executable} -m pip install jupyterlab"
    (tmp_path / "pipx_metadata.json").touch()
    assert command_for("jupyterlab", str(tmp_path)) == "pipx inject kernel-supervisor jupyterlab"
    receipt = tmp_path / "uv-receipt.toml"
    receipt.write_text('[tool]\nrequirements = [{ name = "kernel-supervisor" }]\n')
    assert command_for("jupyterlab", str(tmp_path)) == "uv tool install --with jupyterlab kernel-supervisor"
    ours = '{ name = "kernel-supervisor", directory = "/a checkout" }'
    receipt.write_text(f'requirements = [\n    {ours},\n    {{ name = "pandas" }},\n]\n')
    assert command_for("x", str(tmp_path)) == "uv tool install --with pandas --with x '/a checkout'"
    pdf = command_for("kernel-supervisor[pdf]", str(tmp_path))
    assert pdf == "uv tool install --with pandas '/a checkout[pdf]'"
