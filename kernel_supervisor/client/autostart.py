"""Starting the daemon when none answers: through the service manager if it is installed there, else directly.

Many clients may try at the same instant. Each starts a process; the lock file lets one of them live.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from kernel_supervisor.paths import HOME_VARIABLE, Paths, prepare

SYSTEMD_UNIT = "kernel-supervisor.service"
LAUNCHD_LABEL = "io.github.kernel-supervisor"
RETRY_S = 0.05
"""Between two looks at the socket while a daemon starts."""
RESTART_S = 10.0
"""How long a started daemon may take to bind before another attempt is made."""


def listening(paths: Paths) -> bool:
    """Whether a daemon is bound to the socket. It may be busy; it is there."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.setblocking(False)
        probe.connect(paths.socket)
    except (BlockingIOError, InterruptedError):
        return True  # its backlog is full: alive, and busy
    except OSError:
        return False
    finally:
        probe.close()
    return True


def start(paths: Paths, *, by_service: bool = True) -> None:
    """Start a daemon and return at once; it is up when `listening` says so.

    Where a service is installed its manager starts it; `by_service=False`, for a second attempt, does without: a
    service whose interpreter is gone must not keep anybody from working.

    Raises OSError where not even the interpreter can be started.
    """
    prepare(paths)
    if not (by_service and _start_by_service_manager()):
        _start_directly(paths)


def ensure(paths: Paths, deadline_s: float) -> bool:
    """Start a daemon if none is bound, and wait for it. Whether one is there in the end."""
    end = time.monotonic() + deadline_s
    next_start = 0.0
    while not listening(paths):
        now = time.monotonic()
        if now >= end:
            return False
        if now >= next_start:
            start(paths, by_service=next_start == 0.0)
            next_start = now + RESTART_S
        time.sleep(RETRY_S)
    return True


def unit_file() -> str:
    """Where the installed systemd user unit is, or would be."""
    return os.path.expanduser(f"~/.config/systemd/user/{SYSTEMD_UNIT}")


def launch_agent() -> str:
    """Where the installed launchd agent is, or would be."""
    return os.path.expanduser(f"~/Library/LaunchAgents/{LAUNCHD_LABEL}.plist")


def _start_by_service_manager() -> bool:
    if os.environ.get(HOME_VARIABLE):  # a second instance: the service is not about it
        return False
    if sys.platform == "darwin":
        command = ["launchctl", "kickstart", f"gui/{os.getuid()}/{LAUNCHD_LABEL}"]
        installed = os.path.exists(launch_agent())
    else:
        command = ["systemctl", "--user", "start", "--no-block", SYSTEMD_UNIT]
        installed = os.path.exists(unit_file())
    return installed and _run(command) == 0


def _start_directly(paths: Paths) -> None:
    """`--detach` makes the new process fork once more and lead a session of its own, so that nothing that
    a client does to its process tree, group or session reaches the daemon."""
    _run([sys.executable, "-m", "kernel_supervisor.daemon", "--detach"], stderr=paths.daemon_log + ".err")


def _run(command: list[str], stderr: str = "/dev/null") -> int:
    """Run `command` without a descriptor of ours; its exit code, or 127 where it cannot be started.

    posix_spawn: `import subprocess` would cost 15 ms, and forking beside ZeroMQ's threads is unsafe.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
    ]
    try:
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    except OSError:
        return 127
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
