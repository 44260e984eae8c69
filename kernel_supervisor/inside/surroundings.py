"""What a kernel's process has around it: the client's limits, arguments and a path as Jupyter's launcher leaves them,
where forks and crashes write, and no history file.

Runs *inside* the target interpreter, loaded by `recorder.py`: stdlib and that interpreter's own ipykernel only, Python
3.8 and later.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import resource
import sys
from typing import Any

beside: Any = globals().get("beside")
"""`recorder.beside`, which loads this module and puts itself here before."""


def apply_client_limits(umask: int | None, limits: dict[str, list[int]]) -> None:
    """The umask and the resource limits that user code sees are those of the client, not the daemon's."""
    for name, (soft, _) in limits.items():
        with contextlib.suppress(AttributeError, OSError, ValueError):  # this system has it not, or not so
            number = getattr(resource, name)
            ceiling = resource.getrlimit(number)[1]
            fits = ceiling == resource.RLIM_INFINITY or (soft != resource.RLIM_INFINITY and soft <= ceiling)
            resource.setrlimit(number, (soft if fits else ceiling, ceiling))
    if umask is not None:
        os.umask(umask)


def make_room() -> None:
    """Let the table of descriptors grow now: once there are threads, the system makes that wait for all processors."""
    os.close(beside("logfile").Held(os.dup(2)).fd)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and the rest, which is ipykernel's."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--log", required=True)
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--umask", type=int)
    parser.add_argument("--limits", type=json.loads, default={})
    parser.add_argument("--overlay")
    parser.add_argument("--owner")
    parser.add_argument("--about")  # read by a daemon that has no record of this kernel, from its command line
    parser.add_argument("-f", dest="connection_file", required=True)
    return parser.parse_known_args(arguments)


def pretend(connection_file: str, rest: list[str]) -> None:
    """`sys.path` and `sys.argv` as `python -m ipykernel_launcher -f FILE` leaves them."""
    here = os.path.dirname(os.path.abspath(__file__))
    if sys.path and os.path.abspath(sys.path[0]) == here:
        del sys.path[0]
    origin = getattr(importlib.util.find_spec("ipykernel_launcher"), "origin", None)
    sys.argv = [origin or "ipykernel_launcher", "-f", connection_file, *rest]


def pipe_through_folder(iostream: Any, base: str) -> None:
    """Let forks send their output through a socket file: ipykernel would listen on a TCP port for it."""
    import zmq

    address = "ipc://%s-fork" % base

    def setup_pipe_in(self: Any) -> None:
        self._pipe_uuid = os.urandom(16)
        pipe_in = self.socket.context.socket(zmq.PULL)
        pipe_in.linger = 0
        try:
            pipe_in.bind(address)
        except zmq.ZMQError:  # the path is too long: forks write to the kernel's log instead
            self._pipe_flag = False
            pipe_in.close()
            return
        self._pipe_in = iostream.ZMQStream(pipe_in, self.io_loop)
        self._pipe_in.on_recv(self._handle_pipe_msg)

    def setup_pipe_out(self: Any) -> Any:
        context = zmq.Context()  # a fork needs one of its own
        pipe_out = context.socket(zmq.PUSH)
        pipe_out.linger = 3000
        pipe_out.connect(address)
        return context, pipe_out

    thread = iostream.IOPubThread
    if all(hasattr(thread, name) for name in ("_setup_pipe_in", "_setup_pipe_out", "_handle_pipe_msg")):
        thread._setup_pipe_in, thread._setup_pipe_out = setup_pipe_in, setup_pipe_out


def keep_history_in_memory() -> None:
    """Code is on record here; IPython would write it to a file of its own, which all kernels lock in turn.

    A person's own `HistoryManager.hist_file` or `enabled` wins: this is what it asks where neither is set.
    """
    from IPython.core import history

    manager: Any = history.HistoryManager
    manager._get_hist_file_name = lambda self, profile="": ":memory:"


def dump_crashes(descriptor: int) -> None:
    """Tracebacks of crashes in C go to the kernel's log, also those that user code asks for on standard error.

    ipykernel's pipe would lose them. No file that a fork opens, which closed what it had, gets the number.
    """
    import faulthandler

    log, enable = os.fdopen(beside("logfile").Held(descriptor).fd, "w"), faulthandler.enable
    enable(file=log, all_threads=False)

    def enabling(file: Any = None, *args: Any, **kwargs: Any) -> None:
        enable(log if file in (None, sys.stderr, sys.__stderr__, 2) else file, *args, **kwargs)

    faulthandler.enable = enabling
