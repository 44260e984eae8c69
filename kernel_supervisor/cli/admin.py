"""status, start, stop, logs, demo: the daemon itself."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from kernel_supervisor.amounts import several, size, span
from kernel_supervisor.cli import service
from kernel_supervisor.cli.codes import DONE, NO_DAEMON, failed
from kernel_supervisor.cli.forgetting import said_of, what_is_kept
from kernel_supervisor.cli.session import Command, print_json
from kernel_supervisor.client.autostart import listening
from kernel_supervisor.client.connection import START_DEADLINE_S, CallError, NoDaemonError, not_running

if TYPE_CHECKING:
    from psutil import Process

_STOP_DEADLINE_S = 30.0
_LOOK_S = 0.1


def status(command: Command) -> int:
    """Whether a daemon runs; 3 where none does."""
    try:
        facts = command.connection().request("supervisor/status", {}, deadline_s=10)
    except NoDaemonError as error:
        if command.options.json:
            print_json({"running": False, "state": command.paths.state, "reason": str(error)})
        else:
            print(f"{error}\nKernels that a daemon left run on; the next one finds them again.")
        return NO_DAEMON
    if command.options.kernel:
        return _status_of(command, command.session_called(command.options.kernel))
    facts = {key: value for key, value in facts.items() if not key.startswith("_") and key != "resultType"}
    kept = what_is_kept(command)
    if command.options.json:
        print_json({"running": True, **facts, **kept, "here": _here(command)[1]})
        return DONE
    print(_here(command)[0], end="\n\n")
    _print_status(facts)
    for line in said_of(kept):
        print(f"kept    {line}")
    return DONE


def _status_of(command: Command, session: str) -> int:
    text, facts = command.tool("kernel_status", session=session)
    print_json(facts) if command.options.json else print(text)
    return DONE


def _here(command: Command) -> tuple[str, dict[str, Any]]:
    """This directory's session; why nobody says, where that is so."""
    try:
        text, facts = command.tool("kernel_status")
        return str(text), dict(facts)
    except (CallError, TimeoutError) as error:
        return f"this directory's session: {error}", {}


def _print_status(facts: dict[str, Any]) -> None:
    up = span(time.time() - facts["started_at"])
    kernels = several(facts["kernels"], "kernel")
    print(f"the daemon runs: version {facts['version']}, pid {facts['pid']}, up {up}, {kernels}")
    for note in filter(None, (facts.get("differences"), facts.get("not_recorded"))):
        print(f"note    {note}")
    print(f"state   {facts['state']}\nsocket  {facts['socket']}\nlog     {facts['log']}")
    for spare in facts.get("standing_by", ()):  # a daemon of a version before this one has none
        python, cost = spare["python"], f"{size(spare['memory_bytes'])}, for {span(time.time() - spare['since'])}"
        print(f"spare   pid {spare['pid']} stands by to be the next kernel of {python}: {cost}")
    for client in facts["clients"]:
        print(f"client  {client['kind']} pid {client['pid']} in {client['directory']}")


def start(command: Command) -> int:
    """Start the daemon and wait until it answers."""
    facts = command.connection(start=True).request("supervisor/status", {}, deadline_s=START_DEADLINE_S)
    print(f"the daemon runs, pid {facts['pid']}")
    return DONE


def stop(command: Command) -> int:
    """Stop the daemon, and its kernels if told so; wait until it is gone."""
    kernels = command.options.kernels
    try:
        connection = command.connection(start=kernels)  # kernels that no daemon holds are found by starting one
    except NoDaemonError:
        if kernels or listening(command.paths):  # nobody has looked for kernels, and one that is silent is not gone
            raise
        print("no daemon is running")
        return DONE
    pid, ours = connection.pid, _processes(command) if kernels else {}
    params = {"kernels": kernels}
    heard = connection.request("supervisor/shutdown", params, deadline_s=_STOP_DEADLINE_S, again=False)
    if kernels and not heard:
        raise NoDaemonError(f"the daemon ended before it had ended its kernels. {not_running(command.paths)}")
    _see_it_go(pid)
    left = [kernel for kernel, process in ours.items() if process is None or _runs(process)]
    if left:
        print("the daemon is gone", flush=True)
        return failed(f"not ended, or out of its reach: {', '.join(left)}")
    print("the daemon and its kernels are gone" if kernels else "the daemon is gone; kernels run on")
    return DONE


def _processes(command: Command) -> dict[str, Process | None]:
    """The processes of our kernels, by what they are called; None for one on a server that does not answer."""
    import psutil

    found: dict[str, Process | None] = {}
    for each in command.tool("kernel_list_running")[1]["kernels"]:
        if each["owned"]:
            with contextlib.suppress(psutil.NoSuchProcess):
                name = f"kernel {each['kernel_id']} of session {each['session']}"
                if each["pid"] is not None:
                    found[name] = psutil.Process(each["pid"])
                elif each["state"] == "unreachable":
                    found[name] = None
    return found


def _runs(process: Process) -> bool:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def restart_daemon(command: Command) -> int:
    """Another daemon in place of this one: it adopts the kernels, and clients find it by themselves."""
    connection = command.connection(start=True)
    pid = connection.pid
    if service.runs_as(pid):  # whose manager would take its end for a stop
        return service.restart(command)
    connection.request("supervisor/hand_over", {}, deadline_s=_STOP_DEADLINE_S, again=False)
    _see_it_go(pid)
    command.close()
    return start(Command(command.options))


def _see_it_go(pid: int) -> None:
    """Wait until the daemon has ended, as one that only waits to be reaped has. Raises TimeoutError."""
    import psutil  # 25 ms, and only where a daemon is stopped

    end = time.monotonic() + _STOP_DEADLINE_S
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while _runs(process):
            if time.monotonic() > end:
                raise TimeoutError("the daemon did not stop; see `kernel-supervisor logs --daemon`")
            time.sleep(_LOOK_S)


def logs(command: Command) -> int:
    """The end of a log, and what is added to it."""
    path, whose = command.paths.daemon_log, "the daemon"
    if not command.options.daemon:
        kernel = command.find_kernel(command.options.kernel, or_dead=True)
        path, whose = kernel["standard_error"], f"kernel {kernel['kernel_id']} of session {kernel['session']}"
    with open(path, encoding="utf-8", errors="replace") as file:
        if not _show_end(file, command.options.lines) and not command.options.daemon:
            words = f"{whose} wrote nothing to its standard error so far"
            print(f"{words}; `kernel-supervisor logs --daemon` shows the daemon's log", file=sys.stderr)
        while command.options.follow:
            if file.tell() > os.fstat(file.fileno()).st_size:  # shortened meanwhile
                file.seek(0)
                _show_end(file, command.options.lines)
            more = file.read()
            print(more, end="", flush=True)
            if not more:
                time.sleep(_LOOK_S)
    return DONE


def _show_end(file: TextIO, count: int) -> bool:
    """Print the last lines; whether there are any."""
    lines = file.readlines()
    print("".join(lines[-count:]), end="", flush=True)
    return bool(lines)


def demo(command: Command) -> int:
    """The main job, on real data."""
    from kernel_supervisor.demo.run import run  # the MCP client that it uses takes most of a second to import

    directory = command.options.directory
    return run(os.path.abspath(directory) if directory else "")
