"""list, kill, restart, interrupt, console, envs, use, attach, detach."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from kernel_supervisor.amounts import size, span
from kernel_supervisor.cli.forgetting import ago, told
from kernel_supervisor.cli.session import DONE, FAILED, USAGE, Command, failed, print_json, print_table
from kernel_supervisor.client.connection import CallError, NoDaemonError
from kernel_supervisor.isolation import isolated


def list_kernels(command: Command) -> int:
    """Every living kernel."""
    try:
        facts = command.tool("kernel_list_running")[1]
    except NoDaemonError as error:
        if not command.options.json:
            raise
        facts = {"kernels": [], "others": [], "troubles": [str(error)]}
    leaving = told(command)
    if command.options.json:
        print_json({**facts, "leaving": leaving} if leaving else facts)
        return DONE
    rows = [_row(each) for each in facts["kernels"]] + [_foreign_row(each) for each in facts["others"]]
    if rows:
        print_table(["kernel", "session", "name", "state", "cells", "memory", "up", "last used", "directory"], rows)
    else:
        print("no other kernels are running" if facts["troubles"] else "no kernels are running")
    for trouble in facts["troubles"]:
        print(f"not asked: {trouble}", file=sys.stderr)
    for words in leaving.values():
        print(f"note: {words}", file=sys.stderr)
    return DONE


def _row(kernel: dict[str, Any]) -> list[Any]:
    about = [kernel[key] for key in ("kernel_id", "session", "name", "state", "execution_count")]
    used = (span(kernel["uptime_s"]), ago(kernel["last_used_at"]))
    return [*about, size(kernel["memory_bytes"]), *used, kernel["kernel_directory"]]


def _foreign_row(kernel: dict[str, Any]) -> list[Any]:
    where = kernel["notebook"] or kernel["connection_file"] or kernel["server"]
    return [kernel["kernel_id"], "(Jupyter's)", kernel["spec"], kernel["state"], "", "", "", "", where]


def kill(command: Command) -> int:
    """End some kernels, or all of ours."""
    options = command.options
    if bool(options.kernel) == options.all:
        return failed("kernel-supervisor kill: name kernels, or --all", USAGE)
    if options.all:
        kernels = [each for each in command.tool("kernel_list_running")[1]["kernels"] if each["owned"]]
    else:
        kernels = [command.find_kernel(wanted) for wanted in options.kernel]
    for kernel in kernels:
        print(command.tool("kernel_shutdown", kernel_id=kernel["kernel_id"], force=options.force)[0])
    return DONE


def restart(command: Command) -> int:
    """A fresh process for a kernel."""
    print(command.tool("kernel_restart", session=_session_of(command))[0])
    return DONE


def interrupt(command: Command) -> int:
    """Stop what runs."""
    text, facts = command.tool("kernel_interrupt", session=_session_of(command))
    print(text)
    return DONE if facts["stopped"] or "execution_id" not in facts else FAILED


def _session_of(command: Command) -> str:
    """The session whose current kernel is meant; a dead kernel has only its session's name."""
    try:
        return str(command.find_kernel(command.options.kernel)["session"])
    except RuntimeError as error:
        try:
            return command.session_called(command.options.kernel)
        except CallError:
            raise error from None


def console(command: Command) -> int:
    """Become a Jupyter console: where it can, this process is replaced by it."""
    if importlib.util.find_spec("jupyter_console") is None:
        return failed(
            "kernel-supervisor console needs jupyter_console. Install it beside kernel-supervisor:\n"
            f"    {sys.executable} -m pip install jupyter_console"
        )
    if command.options.kernel:
        connection_file = command.find_kernel(command.options.kernel)["connection_file"]
    else:
        command.say_where()
        facts = command.tool("kernel_status")[1]
        if "connection_file" not in facts:
            return failed("this directory's session has no kernel yet; `kernel-supervisor exec` starts one")
        connection_file = facts["connection_file"]
    if not connection_file:
        return failed("that kernel is on a server: a console needs a connection file on this machine")
    command.close()
    print("Ctrl-D leaves the kernel running; quit and exit end it, with its variables.", file=sys.stderr, flush=True)
    os.execv(sys.executable, isolated("jupyter_console", "--existing", connection_file))
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
    print(command.long_tool("kernel_use_env", **chosen)[0])
    return DONE


def attach(command: Command) -> int:
    """A kernel that runs already, for the session."""
    print(command.long_tool("kernel_attach", kernel_id=command.options.kernel)[0])
    return DONE


def detach(command: Command) -> int:
    """Back to the session's default kernel."""
    print(command.tool("kernel_detach")[0])
    return DONE
