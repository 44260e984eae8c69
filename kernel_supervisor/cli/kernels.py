"""list, kill, restart, interrupt, console, envs, use, attach, detach."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from typing import Any

from kernel_supervisor.amounts import several, size, span
from kernel_supervisor.cli.codes import DONE, FAILED, USAGE, failed
from kernel_supervisor.cli.forgetting import ago, told
from kernel_supervisor.cli.screen import print_table
from kernel_supervisor.cli.session import Command, present_in, print_json
from kernel_supervisor.client.connection import CallError, NoDaemonError
from kernel_supervisor.installer import command_for
from kernel_supervisor.isolation import isolated


def list_kernels(command: Command) -> int:
    """Every living kernel, and the dead ones that stand for their sessions still."""
    try:
        facts = command.tool("kernel_list_running")[1]
    except NoDaemonError as error:
        if not command.options.json:
            raise
        facts = {"kernels": [], "others": [], "dead": [], "troubles": [str(error)]}
    leaving = told(command)
    if command.options.json:
        print_json({**facts, "leaving": leaving} if leaving else facts)
        return DONE
    dead = facts.get("dead", [])  # a daemon of a version before this one says nothing of them
    rows = [*map(_row, facts["kernels"]), *map(_foreign_row, facts["others"]), *map(_dead_row, dead[:_DEAD])]
    saved = [each.get("saved_at") for each in (*facts["kernels"], *facts["others"], *dead[:_DEAD])]
    if any(saved):
        rows = [[*row[:-1], ago(at) if at else "", row[-1]] for row, at in zip(rows, saved, strict=True)]
        print_table((*_HEADS[:-1], "saved", _HEADS[-1]), rows, leave_out=("up", "name", "directory", "cells", "memory"))
    elif rows:
        print_table(_HEADS, rows, leave_out=("up", "name", "directory", "cells"))
    else:
        print("no other kernels are running" if facts["troubles"] else "no kernels are running")
    for each in dead[:_DEAD]:
        back = ["--restore", "last"] if each.get("saved_at") else []
        again = shlex.join(["kernel-supervisor", "restart", each["session"], *back])
        why = each["end_reason"].partition("\n")[0].rstrip(".") or "how it ended is not on record"
        what = f", with its variables of {ago(each['saved_at'])}" if back else ""
        print(f"dead: {each['session']}: {why}; `{again}` starts a fresh kernel{what}")
    if left := len(dead[_DEAD:]):
        print(f"… and {left} more sessions whose kernels are dead: `kernel-supervisor sessions` lists them")
    if spares := facts.get("standing_by"):
        cost = size(sum(each["memory_bytes"] for each in spares))
        print(f"standing by for the next start: {several(len(spares), 'kernel')}, {cost}")
    for trouble in facts["troubles"]:
        print(f"not asked: {trouble}", file=sys.stderr)
    for words in leaving.values():
        print(f"note: {words}", file=sys.stderr)
    return DONE


_HEADS = ("", "kernel", "session", "name", "state", "cells", "memory", "up", "last used", "directory")
_DEAD = 10
"""Of those that are dead, as many as are shown, the latest."""


def _row(kernel: dict[str, Any]) -> list[Any]:
    about = [kernel[key] for key in ("kernel_id", "session", "name", "state", "execution_count")]
    about = ["" if each is None else each for each in about]
    used = (span(kernel["uptime_s"]), ago(kernel["last_used_at"]))
    mark = "→" if kernel["current"] else "*" if present_in(kernel) else ""
    return [mark, *about, size(kernel["memory_bytes"]), *used, kernel["kernel_directory"]]


def _foreign_row(kernel: dict[str, Any]) -> list[Any]:
    where = kernel["notebook"] or kernel["connection_file"] or kernel["server"]
    return ["", kernel["kernel_id"], "(Jupyter's)", kernel["spec"], kernel["state"], "", "", "", "", where]


def _dead_row(kernel: dict[str, Any]) -> list[Any]:
    when = ago(kernel["ended_at"])
    return ["", kernel["kernel_id"], kernel["session"], "", "dead", "", "", "", when, kernel["kernel_directory"]]


def kill(command: Command) -> int:
    """End some kernels, or all of ours: whatever becomes of one, the others are ended."""
    options, code = command.options, DONE
    if bool(options.kernel) == options.all:
        return failed("kernel-supervisor kill: name kernels, or --all", USAGE)
    wanted = options.kernel
    if options.all:
        wanted = [each["kernel_id"] for each in command.tool("kernel_list_running")[1]["kernels"] if each["owned"]]
    for each in dict.fromkeys(wanted):
        try:
            kernel = command.find_kernel(each)
            print(command.tool("kernel_shutdown", kernel_id=kernel["kernel_id"], force=options.force)[0], flush=True)
        except CallError as error:
            code = failed(f"kernel-supervisor: {error}")
    return code


def restart(command: Command) -> int:
    """A fresh process for a session's kernel."""
    options = command.options
    session = _session_to_fill(command) if options.restore else _session_of(command)
    print(command.long_tool("kernel_restart", session=session, restore=options.restore, replay=options.replay)[0])
    return DONE


def _session_to_fill(command: Command) -> str:
    """The session that gets variables, which may have no kernel yet, or be new."""
    try:
        return _session_of(command)
    except CallError:
        return str(command.options.kernel)


def interrupt(command: Command) -> int:
    """Stop what runs."""
    text, facts = command.tool("kernel_interrupt", session=_session_of(command), force=command.options.force)
    print(text)
    return DONE if facts["stopped"] or "execution_id" not in facts else FAILED


def _session_of(command: Command) -> str:
    """The session whose present kernel is meant; a dead kernel has only its session's name."""
    wanted = command.options.kernel
    if not wanted:
        place = command.say_where()
        if place.get("why"):
            raise CallError(f"nothing was run in session {place['session']} yet; `kernel-supervisor exec` runs code")
        return str(place["session"])
    try:
        kernel = command.find_kernel(wanted)
    except CallError as error:
        try:
            return command.session_called(wanted)
        except CallError:
            raise error from None
    return _present_in(kernel, wanted)


def _present_in(kernel: dict[str, Any], wanted: str) -> str:
    """The session that works in a kernel. Raises CallError where that is in another one meanwhile."""
    sessions = present_in(kernel)
    if not sessions:
        away = f"kernel {kernel['kernel_id']} is not the present one of session {kernel['session']}"
        back = shlex.join(["kernel-supervisor", "attach", "--session", kernel["session"], kernel["kernel_id"]])
        raise CallError(f"{away}: `{back}` returns to it")
    return kernel["session"] if kernel["session"] in sessions else sessions[0]


def console(command: Command) -> int:
    """Become a Jupyter console: where it can, this process is replaced by it."""
    if importlib.util.find_spec("jupyter_console") is None:
        return failed(
            "kernel-supervisor console needs jupyter_console. Install it beside kernel-supervisor:\n"
            f"    {command_for('jupyter_console')}"
        )
    connection_file = command.find_kernel(command.options.kernel)["connection_file"]
    if not connection_file:
        return failed("that kernel is on a server: a console needs a connection file on this machine")
    command.close()
    print("Ctrl-D, exit and quit leave; the kernel runs on.", file=sys.stderr, flush=True)
    os.execv(sys.executable, isolated("kernel_supervisor.cli.console", "--existing", connection_file))
    return FAILED  # it cannot get here


def envs(command: Command) -> int:
    """Environments."""
    text, facts = command.tool("kernel_list_envs", start=True)
    print_json(facts) if command.options.json else print(text)
    return DONE


def use(command: Command) -> int:
    """Another environment for the session."""
    options = command.options
    chosen = {"env_name": options.env, "fresh": options.fresh, "install_ipykernel": options.install_ipykernel}
    carry = [name for name in options.carry.replace(",", " ").split() if name]
    print(command.long_tool("kernel_use_env", **chosen, carry=carry)[0])
    return DONE


def attach(command: Command) -> int:
    """A kernel that runs already, for the session."""
    print(command.long_tool("kernel_attach", kernel_id=command.options.kernel)[0])
    return DONE


def detach(command: Command) -> int:
    """Back to the session's default kernel."""
    print(command.tool("kernel_detach")[0])
    return DONE
