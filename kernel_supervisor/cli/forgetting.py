"""sessions, forget: what is kept of sessions, and doing away with it."""

from __future__ import annotations

import time
from typing import Any

from kernel_supervisor.amounts import size, span
from kernel_supervisor.cli.session import DONE, USAGE, Command, failed, print_json, print_table
from kernel_supervisor.client.connection import CallError

_DAY_S = 86_400.0


def sessions(command: Command) -> int:
    """What is kept of each session."""
    kept = _kept(command)
    if command.options.json:
        print_json({"sessions": kept})
    elif not kept:
        print("there are no sessions")
    else:
        print_table(["session", "entries", "size", "last used", "state", "directory"], [_row(each) for each in kept])
    return DONE


def _kept(command: Command) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = command.connection().request("supervisor/sessions", {})["sessions"]
    return found


def _row(kept: dict[str, Any]) -> list[Any]:
    state, ago = "in use" if kept["at_work"] else "", span(time.time() - kept["last_used"]) + " ago"
    return [kept["name"], kept["entries"], size(kept["size_bytes"]), ago, state, kept["directory"]]


def forget(command: Command) -> int:
    """Forget some sessions, or those that nobody used for long."""
    options = command.options
    if bool(options.sessions) == (options.older_than is not None):
        return failed("kernel-supervisor forget: name sessions, or --older-than DAYS", USAGE)
    if options.older_than is None:
        wanted = options.sessions
    else:
        before = time.time() - options.older_than * _DAY_S
        wanted = [each["name"] for each in _kept(command) if not each["at_work"] and each["last_used"] < before]
    code = DONE
    for name in wanted:
        try:
            done = command.connection().request("supervisor/forget", {"session": name})
            print(f"session {done['session']} is forgotten ({size(done['size_bytes'])})")
        except CallError as error:
            code = failed(f"kernel-supervisor: {error}")
    if not wanted:
        print("no session is as old as that and out of use")
    return code
