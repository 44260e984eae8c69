"""checkpoint, checkpoints: variables that outlive their kernel."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from kernel_supervisor.amounts import size
from kernel_supervisor.cli.codes import DONE, FAILED
from kernel_supervisor.cli.forgetting import ago
from kernel_supervisor.cli.screen import print_table
from kernel_supervisor.cli.session import Command, agreed, print_json
from kernel_supervisor.wording import printable

_HEADS = ("session", "name", "made", "variables", "size", "by", "python")


def checkpoint(command: Command) -> int:
    """Save a session's variables."""
    options = command.options
    text, facts = command.long_tool("kernel_checkpoint", name=options.name, mode=options.mode, session=options.session)
    print_json(facts) if options.json else print(text)
    return DONE


def checkpoints(command: Command) -> int:
    """What was saved, of all sessions or of one; or have some of it gone."""
    options = command.options
    if options.remove:
        return _remove(command)
    if options.checkpoint:
        return _held(command)
    there = command.ask("supervisor/checkpoints", session=options.session)["checkpoints"]
    if options.json:
        print_json({"checkpoints": there})
    elif there:
        print_table(_HEADS, list(map(_row, there)), leave_out=("python", "by", "size"))
    else:
        print("nothing was saved yet: `kernel-supervisor checkpoint` saves the variables of this directory's session")
    return DONE


def _held(command: Command) -> int:
    """What is in one."""
    options = command.options
    command.known_place()
    asked = {"session": options.session, "checkpoint": options.checkpoint}
    found = command.connection().request("supervisor/held", asked)
    if options.json:
        print_json(found)
        return DONE
    about, rows = found["checkpoint"], [_held_row(each) for each in found["held"]]
    name = about["name"] or about["id"]
    made = f"made {ago(about['at'])}, by Python {about['python']}"
    print(f"checkpoint {name} of session {about['session']}: {_count(about)} variables, {size(about['bytes'])}; {made}")
    if rows:
        print_table(("name", "type", "size", "execution"), rows, ("size", "execution"))
    for missing, why in about["missing"].items():
        maker = f", made by execution {why['execution_id']}" if why["execution_id"] else ""
        print(f"not in it: {printable(missing)} ({printable(why['reason'])}{maker})")
    again = shlex.join(["kernel-supervisor", "restart", about["session"], "--restore", name])
    print(f"`{again}` brings them back to a fresh kernel")
    return DONE


def _held_row(each: dict[str, Any]) -> list[Any]:
    return [printable(each["name"]), each["type"], size(each["bytes"]), each["execution_id"] or ""]


def _count(each: dict[str, Any]) -> str:
    return f"{each['variables']}" if each["variables"] == each["total"] else f"{each['variables']} of {each['total']}"


def _row(each: dict[str, Any]) -> list[Any]:
    by = "itself" if each["kind"] == "auto" else "request"
    return [
        each["session"],
        each["name"] or each["id"],
        ago(each["at"]),
        _count(each),
        size(each["bytes"]),
        by,
        each["python"],
    ]


def _remove(command: Command) -> int:
    options = command.options
    there = command.ask("supervisor/checkpoints", session=options.session)["checkpoints"]
    wanted = [each for each in there if {each["name"] or each["id"], each["id"]}.intersection(options.remove)]
    known = {name for each in wanted for name in (each["name"], each["id"])}
    if unknown := [name for name in options.remove if name not in known]:
        print(f"kernel-supervisor: there is no checkpoint {', '.join(unknown)}", file=sys.stderr)
        return FAILED
    for each in wanted:
        print(f"{each['session']}: {each['name'] or each['id']}, {size(each['bytes'])}, made {ago(each['at'])}")
    if refused := agreed(options, "They are to be deleted."):
        return refused
    ids = [each["id"] for each in wanted]
    gone = command.connection().request("supervisor/drop", {"wanted": ids}, deadline_s=None)
    print(f"gone, and {size(gone['size_bytes']) or '0 bytes'} with them")
    return DONE
