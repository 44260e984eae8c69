"""sessions, forget, prune: what is kept of sessions and beside them, and doing away with it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from kernel_supervisor.amounts import several, size, span
from kernel_supervisor.cli.codes import DONE, USAGE, failed
from kernel_supervisor.cli.screen import print_table
from kernel_supervisor.cli.session import Command, agreed, print_json
from kernel_supervisor.client.connection import CallError, NoDaemonError
from kernel_supervisor.keeping import DAY_S, TOLD_S

_KEPT_S = 5.0
"""How long a daemon may take to say how much is kept, where that is said beside other things."""


def sessions(command: Command) -> int:
    """What is kept of each session, and of all."""
    kept, more = _kept(command), what_is_kept(command)
    if command.options.json:
        print_json({"sessions": kept, **more})
        return DONE
    if kept:
        _print_sessions(kept)
    else:
        print("there are no sessions")
    if kept and more:
        own = sum(each["size_bytes"] for each in kept)
        beside = size(max(0, more["room"]["total"] - own))
        print(f"{size(own)} of what they showed, {beside} of records, checkpoints and the daemon's log")
    for line in said_of(more):
        print(line)
    return DONE


def _kept(command: Command) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = command.connection().request("supervisor/sessions", {})["sessions"]
    return found


def _print_sessions(kept: list[dict[str, Any]]) -> None:
    heads = ["session", "entries", "size", "last used", "state", "directory"]
    print_table(heads, list(map(_row, kept)), leave_out=("directory", "entries"))


def _row(kept: dict[str, Any]) -> list[Any]:
    state = "in use" if kept["at_work"] else ""
    return [kept["name"], kept["entries"], size(kept["size_bytes"]), ago(kept["last_used"]), state, kept["directory"]]


def ago(at: float) -> str:
    """When that was, by how long it is past."""
    return span(time.time() - at) + " ago"


def what_is_kept(command: Command) -> dict[str, Any]:
    """How much is kept (`room`), and what is to be said of histories that go (`leaving`); nothing where nobody says."""
    with contextlib.suppress(CallError, TimeoutError, NoDaemonError):
        found = command.connection().request("supervisor/kept", {}, deadline_s=_KEPT_S)
        return {"room": found["room"], "leaving": found["leaving"]}
    return {}


def said_of(kept: dict[str, Any]) -> list[str]:
    """What is kept, in lines; none where nobody said."""
    return [*room(kept["room"]), *kept["leaving"].values()] if kept else []


def told(command: Command) -> dict[str, str]:
    """By session, what is to be said of histories that go."""
    return dict(what_is_kept(command).get("leaving", {}))


def room(facts: dict[str, Any]) -> list[str]:
    """How much is kept, in lines."""
    limit = "" if facts["limit"] is None else f", of {size(facts['limit'])} at most"
    lines = [f"{size(facts['total'])} in all{limit}"]
    if facts["trouble"]:
        lines.append(f"nothing goes by itself: {facts['trouble']}")
    if facts["over"]:
        more = f"{size(facts['over'])} too much, and nothing of living kernels or of today goes by itself"
        lines.append(f"{more}: end some (`kernel-supervisor list`), or `kernel-supervisor forget` sessions")
    return lines


def forget(command: Command) -> int:
    """Forget some sessions, or those that nobody used for long."""
    options = command.options
    if bool(options.sessions) == (options.older_than is not None):
        return failed("kernel-supervisor forget: name sessions, or --older-than DAYS", USAGE)
    doomed, code = _named(command) if options.older_than is None else (_old(command), DONE)
    if not doomed:
        if code == DONE:
            print("no session is as old as that and out of use")
        return code
    if not options.yes:
        _print_sessions(doomed)
    amount = size(sum(each["size_bytes"] for each in doomed))
    if refused := agreed(options, f"That deletes what is kept of {several(len(doomed), 'session')}, {amount}."):
        return refused
    for each in doomed:
        try:
            done = command.connection().request("supervisor/forget", {"session": each["name"]})
            print(f"session {done['session']} is forgotten ({size(done['size_bytes'])})")
        except CallError as error:
            code = failed(f"kernel-supervisor: {error}")
    return code


def _named(command: Command) -> tuple[list[dict[str, Any]], int]:
    """What is kept of the sessions that are named; what is said of those that are not there makes the exit code."""
    kept, found, code = {each["name"]: each for each in _kept(command)}, [], DONE
    for wanted in command.options.sessions:
        try:
            found.append(kept[command.session_called(wanted)])
        except CallError as error:
            code = failed(f"kernel-supervisor: {error}")
    return found, code


def _old(command: Command) -> list[dict[str, Any]]:
    before = time.time() - command.options.older_than * DAY_S
    return [each for each in _kept(command) if not each["at_work"] and each["last_used"] < before]


def prune(command: Command) -> int:
    """Show what is to go, and have it go."""
    options = command.options
    policy = {"days": options.older_than, "total": options.keep_total}
    found = command.connection().request("supervisor/due", policy)
    ready = [each for each in found["due"] if each["at"] <= time.time()]
    _show(ready, [each for each in found["due"] if each not in ready], found["over"])
    if options.dry_run or not ready:
        return DONE
    amount = size(sum(each["size"] for each in ready))
    if refused := agreed(options, f"That deletes {several(len(ready), 'thing')}, {amount}; saved notebooks stay."):
        return refused
    wanted = {**policy, "wanted": [each["name"] for each in ready]}
    gone = command.connection().request("supervisor/prune", wanted)["gone"]
    print(f"{several(len(gone), 'thing')} gone, {size(sum(each['size'] for each in gone))}")
    return DONE


_WHY = {"unused": "unused for long", "room": "to make room"}


def _show(ready: list[dict[str, Any]], waiting: list[dict[str, Any]], over: int) -> None:
    rows = [
        [each["kind"], size(each["size"]), ago(each["last_used"]), _WHY[each["why"]], each["name"]] for each in ready
    ]
    if rows:
        print_table(["what", "size", "last used", "why", "name"], rows)
    print(f"{several(len(ready), 'thing')} to go, {size(sum(each['size'] for each in ready))}")
    for each in waiting:
        told = f"no notebook has its history, and it has to be told for {TOLD_S / DAY_S:.0f} days that it goes"
        print(f"session {each['name']} ({size(each['size'])}) stays: {told}. `save` it, or `forget` it")
    if over:
        print(f"{size(over)} too much are left: what lives, or was used within a day, stays")
