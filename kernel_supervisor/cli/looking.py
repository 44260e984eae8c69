"""vars, inspect, show: what is in a session, and what was, without running anything."""

from __future__ import annotations

import time
from typing import Any

from kernel_supervisor.amounts import size
from kernel_supervisor.cli.codes import DONE
from kernel_supervisor.cli.questions import WAITING
from kernel_supervisor.cli.screen import of_state, print_table, styled
from kernel_supervisor.cli.session import Command, print_json
from kernel_supervisor.cli.showing import Collected, Shown

UNDER_WAY = ("queued", "running", WAITING)


def variables(command: Command) -> int:
    """The variables of a session."""
    command.known_place()
    options = command.options
    text, facts = command.tool("kernel_list_vars", filter=options.filter, type=options.type)
    if options.json:
        print_json(facts)
    elif facts.get("busy") or not facts["variables"]:
        print(text)
    else:
        print_table(["name", "type", "shape", "size", "value"], list(map(_row, facts["variables"])), ("shape", "size"))
        if more := facts.get("more"):
            print(more)
    return DONE


def _row(row: dict[str, Any]) -> list[Any]:
    return [row["name"], row["type"], row["shape"], size(row["bytes"]), row["value"]]


def inspect(command: Command) -> int:
    """One variable, attribute or item."""
    command.known_place()
    detail = "source" if command.options.source else ""
    text, facts = command.tool("kernel_inspect", var_name=command.options.name, detail=detail)
    print_json(facts) if command.options.json else print(text)
    return DONE


def show(command: Command) -> int:
    """An entry of a history: its code, and all that it has shown."""
    number = command.options.execution
    entry = command.tool("kernel_history", execution_id=number)[1]["entries"][0]
    if not command.options.json:
        print_entry(entry)
    if entry["kind"] != "code":
        print_json(entry) if command.options.json else None
        return DONE
    if entry["status"] in UNDER_WAY:
        text, facts = command.tool("kernel_output", execution_id=number)
        print_json({**entry, **facts, "text": text}) if command.options.json else print(text)
        return DONE
    shown: Shown | Collected = Collected() if command.options.json else Shown(command.paths.cache, number)
    replay(command, number, shown)
    if isinstance(shown, Collected):
        print_json({**entry, **shown.apart()})
    return DONE


def replay(command: Command, number: int, shown: Shown | Collected) -> None:
    """Show all that an execution has shown which is over."""
    outcome: dict[str, Any] = {"place": []}
    while outcome["place"] is not None:
        asked_for = {"executionId": number, "place": outcome["place"]}
        outcome = command.connection().request("supervisor/follow", asked_for)
        for message in outcome["messages"]:
            shown.take(message)
    shown.finish()


def print_entry(entry: dict[str, Any]) -> None:
    """Who ran what when, and its code."""
    state = entry["status"] if entry["kind"] == "code" else entry["kind"]
    when = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry['queued_at']))}"
    who = entry["client"].removeprefix("kernel-supervisor-")
    head = [styled(f"execution {entry['execution_id']}", "bold"), of_state(state), when, f"by {who}" if who else ""]
    print(" · ".join(filter(None, head)))
    for line in entry["code"].splitlines():
        print(styled(f"  {line}", "cyan"))
    print(flush=True)
