"""status, start, stop, logs, demo: the daemon itself."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from kernel_supervisor.cli.session import DONE, NO_DAEMON, Command, print_json, span
from kernel_supervisor.client.connection import START_DEADLINE_S, NoDaemonError, not_running

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
    facts = {key: value for key, value in facts.items() if not key.startswith("_") and key != "resultType"}
    if command.options.json:
        print_json({"running": True, **facts})
    else:
        _print_status(facts)
    return DONE


def _print_status(facts: dict[str, Any]) -> None:
    up = span(time.time() - facts["started_at"])
    kernels = f"{facts['kernels']} kernel" + "s" * (facts["kernels"] != 1)
    print(f"the daemon runs: version {facts['version']}, pid {facts['pid']}, up {up}, {kernels}")
    print(f"state   {facts['state']}\nsocket  {facts['socket']}\nlog     {facts['log']}")
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
        if kernels:  # whether there are any, nobody has looked
            raise
        print("no daemon is running")
        return DONE
    pid = connection.pid
    params = {"kernels": kernels}
    heard = connection.request("supervisor/shutdown", params, deadline_s=_STOP_DEADLINE_S, again=False)
    if kernels and not heard:
        raise NoDaemonError(f"the daemon ended before it had ended its kernels. {not_running(command.paths)}")
    _see_it_go(pid)
    print("the daemon and its kernels are gone" if kernels else "the daemon is gone; kernels run on")
    return DONE


def restart_daemon(command: Command) -> int:
    """Another daemon in place of this one: it adopts the kernels, and clients find it by themselves."""
    connection = command.connection(start=True)
    pid = connection.pid
    connection.request("supervisor/hand_over", {}, deadline_s=_STOP_DEADLINE_S, again=False)
    _see_it_go(pid)
    command.close()
    return start(Command(command.options))


def _see_it_go(pid: int) -> None:
    """Wait until the daemon has ended, as one that only waits to be reaped has. Raises TimeoutError."""
    import psutil  # 25 ms, and only where a daemon is stopped

    end = time.monotonic() + _STOP_DEADLINE_S
    try:
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > end:
                raise TimeoutError("the daemon did not stop; see `kernel-supervisor logs`")
            time.sleep(_LOOK_S)
    except psutil.NoSuchProcess:
        return


def logs(command: Command) -> int:
    """The end of a log, and what is added to it."""
    path = command.paths.daemon_log
    if command.options.kernel:
        path = command.find_kernel(command.options.kernel)["standard_error"]
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
        if not lines and command.options.kernel:
            print(f"kernel {command.options.kernel} wrote nothing to its standard error so far", file=sys.stderr)
        print("".join(lines[-command.options.lines :]), end="", flush=True)
        while command.options.follow:
            more = file.read()
            print(more, end="", flush=True)
            if not more:
                time.sleep(_LOOK_S)
    return DONE


def demo(command: Command) -> int:
    """The main job, on real data."""
    from kernel_supervisor.demo.run import run  # the MCP client that it uses takes most of a second to import

    return run(os.path.abspath(command.options.directory))
