"""Promise: every command's help, table and error reads well on a terminal of 80 and of 140 columns.

Each was read by eye. `python -m tests.process.test_cli_golden` writes them anew, to be read again. What differs from
run to run is compared by its kind, and so is the layout, which Python's versions and lengths of numbers change.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

import pexpect
import pyte
import pytest

from kernel_supervisor.cli.commands import all_commands
from tests.support import DEADLINE_S, Home, fresh_home, until_now

GOLDEN = Path(__file__).with_name("golden_cli")
WIDTHS = (80, 140)
_LINES = 200
_TABLES = {
    "list": ["list"],
    "history": ["history"],
    "sessions": ["sessions"],
    "status": ["status"],
    "vars": ["vars"],
    "inspect": ["inspect", "numbers"],
    "show": ["show", "1"],
    "top": ["top", "--once"],
    "output": ["output", "1"],
    "detach": ["detach"],
    "interrupt": ["interrupt"],
    "prune": ["prune", "--dry-run"],
}
_ERRORS = {
    "no-such-command": ["exce", "1"],
    "no-such-option": ["save", "--overwirte"],
    "no-such-verb": ["service", "sttop"],
    "no-such-session": ["history", "-s", "projekt"],
    "no-such-kernel": ["restart", "nope"],
    "no-such-execution": ["output", "99"],
    "no-such-variable": ["inspect", "numbrs"],
    "short-id": ["kill", "0a"],
    "kill-nothing": ["kill"],
    "raised": ["exec", "1 / 0"],
    "dead": ["exec", "-s", "a-longer-name", "1"],
}
_CHANCE = (
    (r"(?s)interpreter /.*?\)", "interpreter …"),
    (r"In ?\[\d+\]", "In [N]"),
    (r"\b[0-9a-f]{12}\b", "ID"),
    (r"(-\w) ([A-Z]+), (--[\w-]+) \2\b", r"\1, \3 \2"),
    (r"\d+(\.\d+)? (bytes|[kMG]B)", "SIZE"),
    (r"\d+(\.\d+)? (ms|s|min|h|days)\b( \d+ (s|min|h)\b)?", "T"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d\d-\d\d \d\d:\d\d|\b\d\d:\d\d:\d\d\b", "WHEN"),
    (r"\bpid \d+", "pid N"),
    (r"/\S*/ks-\w+", "/tmp/…"),
    (r"\d+%", "N%"),
    (r"-{2,}", "--"),
    (r"\s+", " "),
)


def _commands() -> list[str]:
    parsers = next(each for each in all_commands()._actions if isinstance(each, argparse._SubParsersAction))
    return list({id(parser): name for name, parser in reversed(parsers.choices.items())}.values())[::-1]


def cases() -> dict[str, list[str]]:
    """What is typed, by the name of its file."""
    helps = {"help": ["help"], **{f"help-{name}": ["help", name] for name in _commands()}}
    tables = {f"table-{name}": words for name, words in _TABLES.items()}
    return {**helps, **tables, **{f"error-{name}": words for name, words in _ERRORS.items()}}


def captured(home: Home, words: list[str], width: int) -> str:
    """What a terminal shows of a command, line by line."""
    command, *rest = home.cli_command(*words)
    dropped = ("COLUMNS", "LINES", "LC_TERMINAL", "TERM_PROGRAM")
    env = {name: value for name, value in home.env.items() if name not in dropped}
    terminal = pexpect.spawn(
        command,
        rest,
        cwd=str(home.project),
        env={**env, "TERM": "xterm", "NO_COLOR": "1"},
        dimensions=(_LINES, width),
        timeout=DEADLINE_S,
    )
    terminal.expect(pexpect.EOF)
    terminal.close()
    screen = pyte.Screen(width, _LINES)
    pyte.ByteStream(screen).feed(terminal.before)
    return "\n".join(line.rstrip() for line in screen.display).strip("\n") + "\n"


def told(text: str) -> str:
    """Without what differs from run to run."""
    for pattern, instead in _CHANCE:
        text = re.sub(pattern, instead, text)
    return text.strip()


def prepare(home: Home) -> None:
    """Something to show: a kernel with a variable, and one that is dead; none stands by, which takes its time."""
    env = {**home.env, "KERNEL_SUPERVISOR_PREWARM": "0"}
    assert home.cli("exec", "numbers = list(range(5))\nprint('first')\nnumbers", env=env).returncode == 0
    home.cli("exec", "-s", "a-longer-name", "import os; os._exit(3)", env=env)
    until_now(lambda: "dead: project/a-longer-name" in home.cli("list").stdout, "its death is on record")


@pytest.fixture(scope="module")
def prepared(standing_home: Home) -> Home:
    """A home with something to show."""
    prepare(standing_home)
    return standing_home


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", cases())
def test_what_a_terminal_shows_is_what_was_read(prepared: Home, name: str, width: int) -> None:
    golden = (GOLDEN / f"{name}-{width}.txt").read_text("utf-8")
    assert told(captured(prepared, cases()[name], width)) == told(golden)


def test_there_are_files_for_these_alone() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {f"{name}-{width}" for name in cases() for width in WIDTHS}


def main() -> None:
    """Write them anew."""
    for path in GOLDEN.iterdir():
        path.unlink()
    with fresh_home() as home:
        prepare(home)
        for name, words in cases().items():
            for width in WIDTHS:
                text = captured(home, words, width).replace(str(home.project.parent), "/tmp/ks-01234567")
                text = text.replace(sys.prefix, "/opt/venv")
                (GOLDEN / f"{name}-{width}.txt").write_text(text, "utf-8")


if __name__ == "__main__":
    os.umask(0o022)
    main()
