"""What a cell asks, asked at the terminal: a line, or a password that is not shown."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from kernel_supervisor.cli.session import Command
from kernel_supervisor.client.connection import CallError
from kernel_supervisor.inside.questions import END_OF_FILE

WAITING = "waiting for input"


class Asked(Exception):  # noqa: N818 - no error: it leaves a wait, to ask on the same connection
    """The execution that is followed asked something."""


def open_question(command: Command, number: int) -> dict[str, Any] | None:
    """What an execution asks now; None where that is over, as with a question that is read back from the log."""
    facts: dict[str, Any] = command.tool("kernel_output", execution_id=number)[1]
    return facts if facts["status"] == WAITING else None


def ask(asked: dict[str, Any]) -> str:
    """What the person at the terminal types. Ctrl-D ends the cell's input. Raises KeyboardInterrupt."""
    prompt = asked["question"]
    sys.stdout.flush()
    try:
        return getpass.getpass(prompt, sys.stderr) if asked["password"] else _line(prompt)
    except EOFError:
        return END_OF_FILE


def _line(prompt: str) -> str:
    """`input`, whose prompt does not go where the output may be redirected to."""
    if sys.stdout.isatty():
        return input(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def answer(command: Command, number: int, text: str) -> None:
    """Give it to the cell; where somebody else was quicker, that is said and all goes on."""
    try:
        command.tool("kernel_reply", execution_id=number, text=text, timeout=0)
    except CallError as error:
        print(f"kernel-supervisor: {error}", file=sys.stderr)
