"""What every sub-command has at hand: its options, a connection that is opened when it is needed, and printing."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from kernel_supervisor.cli.ways import COMMANDS
from kernel_supervisor.client.connection import CallError, Connection
from kernel_supervisor.paths import find

DONE, FAILED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 130
_QUICK_S = 60.0


class Command:
    """One run of the command line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.paths = find()
        self._connection: Connection | None = None
        self._said: set[str] = set()
        self._is_told_where = not getattr(options, "works_in_session", False) or options.json

    def connection(self, *, start: bool = False) -> Connection:
        """The connection to the daemon, which is started if `start` says so. Raises NoDaemonError."""
        if self._connection is None:
            who = {name: getattr(self.options, name, "") for name in ("session", "python")}
            connection = Connection(self.paths, ways=COMMANDS, **who)
            connection.open(start=start)
            self._connection = connection
        return self._connection

    def tool(self, name: str, *, start: bool = False, deadline_s: float | None = _QUICK_S, **arguments: Any) -> Any:
        """A tool's text and facts. Raises CallError."""
        if not self._is_told_where:
            self.say_where(start=start)
        return self.connection(start=start).call_tool(name, arguments, deadline_s=deadline_s)

    def long_tool(self, name: str, **arguments: Any) -> Any:
        """A tool that may take minutes; standard error shows how it goes. The daemon is started. Raises CallError."""
        said = [""]

        def show(words: str) -> None:
            if words != said[0]:
                said[0] = words
                print(words, file=sys.stderr, flush=True)

        self.connection(start=True).on_progress = show
        return self.tool(name, start=True, deadline_s=None, **arguments)

    def say_where(self, *, start: bool = False) -> dict[str, Any]:
        """The session that is about to be worked in; standard error says what is not to be expected of it."""
        self._is_told_where = True
        place = self.ask("supervisor/place", start=start, session=getattr(self.options, "session", ""))
        self._say_above(place)
        if place["notice"]:
            print(f"kernel-supervisor: {place['notice']}", file=sys.stderr)
        return place

    def _say_above(self, place: dict[str, Any]) -> None:
        if place["above"] and place["session"] not in self._said:
            self._said.add(place["session"])
            print(f"kernel-supervisor: in session {place['session']} of {place['directory']}", file=sys.stderr)

    def ask(self, method: str, *, start: bool = False, session: str = "") -> dict[str, Any]:
        """What the daemon says of a session. Raises CallError with what it refuses."""
        return self.connection(start=start).request(method, {"session": session}, deadline_s=_QUICK_S)

    def session_called(self, wanted: str) -> str:
        """The session on record that is meant by a name: this project's, else the only one of it. Raises CallError."""
        found = self._which(wanted)
        if not found["session"]:
            raise CallError(found["why"])
        return str(found["session"])

    def _which(self, wanted: str) -> dict[str, Any]:
        """What `supervisor/which` says; standard error says it where that is a project's above."""
        found = self.ask("supervisor/which", session=wanted)
        self._say_above(found)
        return found

    def find_kernel(self, wanted: str) -> dict[str, Any]:
        """The living kernel with that id, session, or beginning of an id. Raises CallError."""
        kernels: list[dict[str, Any]] = self.tool("kernel_list_running")[1]["kernels"]
        matches = [each for each in kernels if each["kernel_id"] == wanted]
        if not matches:
            session = self._which(wanted)["session"]
            matches = [each for each in kernels if each["session"] == session]
            if session and session != wanted and not matches:
                raise CallError(f"no kernel lives in session {session}; `kernel-supervisor list` shows those that do")
        matches = matches or [each for each in kernels if wanted and each["kernel_id"].startswith(wanted)]
        if not matches:
            raise CallError(f"there is no kernel {wanted!r}; `kernel-supervisor list` shows them")
        if len(matches) > 1:
            names = ", ".join(f"{each['kernel_id']} ({each['session']})" for each in matches)
            raise CallError(f"{wanted!r} could be several kernels: {names}")
        return matches[0]

    def close(self) -> None:
        """Say goodbye to the daemon."""
        if self._connection is not None:
            self._connection.close()


def failed(words: str, code: int = FAILED) -> int:
    """Say on standard error why it was not done; the exit code."""
    print(words, file=sys.stderr)
    return code


def agreed(options: argparse.Namespace, question: str) -> int:
    """DONE where a person at the terminal says yes, or `-y` did before; what to end with where nobody does."""
    if options.yes:
        return DONE
    if not sys.stdin.isatty():
        line = shlex.join(["kernel-supervisor", *sys.argv[1:], "-y"])
        return failed(f"kernel-supervisor: {question} There is no terminal to ask at: `{line}` does it", USAGE)
    print(f"{question} Is it to be done? [y/N] ", end="", file=sys.stderr, flush=True)
    return DONE if sys.stdin.readline().strip().lower() in ("y", "yes") else failed("nothing was done")


def print_json(value: Any) -> None:
    """For programs: one document, sorted by nothing, indented for the person who looks at it anyway."""
    print(json.dumps(value, indent=2, default=str))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """For people: on a terminal, the last column gives way where a row is wider than that."""
    import tabulate  # 12 ms, and only where there is a table

    tabulate.MIN_PADDING = 0
    texts = [[str(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        texts = _narrowed(headers, texts, shutil.get_terminal_size().columns)
    print(tabulate.tabulate(texts, headers, tablefmt="simple", disable_numparse=True))


def _narrowed(headers: Sequence[str], rows: list[list[str]], width: int) -> list[list[str]]:
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    room = max(len(headers[-1]), width - sum(widths[:-1]) - 2 * (len(headers) - 1))
    for row in rows:
        if len(text := row[-1]) > room:  # of a path the end says most, of code the beginning
            row[-1] = "…" + text[1 - room :] if text.startswith("/") else text[: room - 1] + "…"
    return rows
