"""What every sub-command has at hand: its options, a connection that is opened when it is needed, and printing."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import Any

from kernel_supervisor.cli.codes import DONE, USAGE, failed
from kernel_supervisor.cli.ways import COMMANDS
from kernel_supervisor.client.connection import CallError, Connection
from kernel_supervisor.paths import find

_QUICK_S = 60.0
LEAST = 4
"""Characters that stand for an id, as its beginning."""


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

    def tool(self, name: str, /, *, start: bool = False, deadline_s: float | None = _QUICK_S, **arguments: Any) -> Any:
        """A tool's text and facts. Raises CallError."""
        if not self._is_told_where:
            self.say_where(start=start)
        return self.connection(start=start).call_tool(name, arguments, deadline_s=deadline_s)

    def long_tool(self, name: str, /, **arguments: Any) -> Any:
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

    def known_place(self) -> dict[str, Any]:
        """The session that is about to be looked at. Raises CallError for one that was named and is not there."""
        place = self.ask("supervisor/place", session=getattr(self.options, "session", ""))
        if place.get("why") and getattr(self.options, "session", ""):
            raise CallError(f"{place['why']}; `kernel-supervisor sessions` lists those there are")
        if not self._is_told_where:
            self._is_told_where = True
            self._say_above(place)
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

    def find_kernel(self, wanted: str, *, or_dead: bool = False) -> dict[str, Any]:
        """The living kernel of an id, its beginning, or a session; this directory's for nothing. Raises CallError.

        With `or_dead` one that is gone and still stands for its session will do.
        """
        there = self.tool("kernel_list_running")[1]
        dead: list[dict[str, Any]] = there.get("dead", [])  # a daemon of a version before this one says nothing of them
        kernels: list[dict[str, Any]] = [*there["kernels"], *(dead if or_dead else ())]
        if not wanted:
            return self._kernel_here(kernels, dead)
        matches = [each for each in kernels if wanted in _ids(each)]
        if not matches:
            session = self._which(wanted)["session"]
            matches = [each for each in kernels if session in present_in(each)]
            matches = matches or [each for each in kernels if each["session"] == session]
            if session and not matches:
                raise CallError(f"no kernel lives in session {session}; `kernel-supervisor list` shows those that do")
        if not matches and len(wanted) >= LEAST:
            matches = [each for each in kernels if any(name.startswith(wanted) for name in _ids(each))]
        if not matches:
            short = f" (the beginning of an id needs {LEAST} characters)" if len(wanted) < LEAST else ""
            raise CallError(f"there is no kernel or session {wanted!r}{short}; `kernel-supervisor list` shows them")
        if len(matches) > 1:
            names = ", ".join(f"{each['kernel_id']} ({each['session']})" for each in matches)
            raise CallError(f"{wanted!r} could be several kernels: {names}")
        return matches[0]

    def _kernel_here(self, kernels: list[dict[str, Any]], dead: list[dict[str, Any]]) -> dict[str, Any]:
        place = self.say_where()
        for each in kernels:
            if place["session"] in present_in(each):
                return each
        why = f"session {place['session']}, that of this directory, has no living kernel"
        is_dead = any(each["session"] == place["session"] for each in dead)
        starts = "`kernel-supervisor restart` starts a fresh one" if is_dead else "`kernel-supervisor exec` works here"
        raise CallError(f"{why}: `kernel-supervisor list` shows those of others, {starts}")

    def close(self) -> None:
        """Say goodbye to the daemon."""
        if self._connection is not None:
            self._connection.close()


def _ids(kernel: dict[str, Any]) -> list[str]:
    """Its own id, and those by which Jupyter knows it."""
    return [kernel["kernel_id"], *kernel.get("known_as", ())]


def present_in(kernel: dict[str, Any]) -> list[str]:
    """The sessions that work in a kernel; a daemon of a version before this one says which it is of alone."""
    found: list[str] = kernel.get("present_in", [kernel["session"]])
    return found


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
