"""Starting the daemon when none answers: through the service manager if it is installed there, else directly.

Many clients may try at the same instant. Each starts a process; the lock file lets one of them live. What was started
is watched: one that ends before it serves leaves its last words, and nobody waits for it in vain.

A service that is being stopped is left alone, and one that was stopped is started for what is asked from then on.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import time
from collections.abc import Mapping

from kernel_supervisor.client import aftermath
from kernel_supervisor.isolation import isolated
from kernel_supervisor.paths import HOME_VARIABLE, Paths, PlaceError, prepare

SYSTEMD_UNIT = "kernel-supervisor.service"
LAUNCHD_LABEL = "io.github.kernel-supervisor"
RETRY_S = 0.05
"""Between two looks at the socket while a daemon starts."""
_SERVICE_S = 5.0
"""How long a service manager has, before a daemon is started without it: its unit may name what is gone."""
_RESTART_S = 10.0
"""How long another daemon may hold the lock and be bound to nothing, before another attempt is made."""
_LOOK_S = 0.002
_STOPPED = (
    "kernel-supervisor's service was stopped; what runs in kernels runs on. The next call starts it again, as "
    "`kernel-supervisor start` does."
)
_FAILURES, _PAUSE_S = 8, 0.25
"""How many daemons in a row may end before they answer, without a word (they were killed), and the growing pause."""
_CRASHES = 3
"""How many in a row may end with an error soon after they answered."""
_STEADY_S = 30.0
"""A daemon that lived for so long failed at something else than its start."""
_DETACHED_S, _ANSWERED_S = 0.5, 2.0
"""How long a daemon may take to detach, and a service manager to answer: something may keep them for ever."""


class StartError(ConnectionError):
    """No daemon can be started; the text says what was tried, how it ended, and what to do."""


def fill_standard_streams() -> None:
    """Put /dev/null where a client closed our standard streams: a socket of ours would get their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def listening(paths: Paths) -> bool:
    """Whether a daemon is bound to the socket. It may be busy; it is there."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(paths.socket)
    except (BlockingIOError, InterruptedError):
        return True  # its backlog is full: alive, and busy
    except OSError:  # or no descriptor is left; nor is one to start a daemon with, and that is told
        return False
    return True


class Starter:
    """Starts a daemon where none listens, and finds out when that is of no use."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._attempt: _Attempt | None = None
        self._failures = self._crashes = 0
        self._service = True
        self._next_at = 0.0

    def step(self, *, anew: bool = True) -> bool:
        """Whether a daemon listens now; where none does, go one step further towards one. Never waits.

        `anew` is for what is asked since the last daemon was there. Raises PlaceError where our folders cannot be had,
        StartError where what was started has ended and nobody holds the lock, or where nothing is asked anew and the
        service was stopped. The next step begins anew.
        """
        now = time.monotonic()
        if listening(self._paths):
            return True
        try:
            if self._attempt is not None and self._attempt.ended(now):
                self._see(self._attempt, now)
            if self._attempt is None:
                self._begin(now, anew)
        except (StartError, PlaceError):
            self.close()
            raise
        return False

    def served(self) -> None:
        """A daemon has answered: what was started is of use."""
        self._failures, self._service = 0, True
        if self._attempt is not None:
            self._attempt.up = True

    def close(self) -> None:
        """Forget what was tried. What was started lives on."""
        self._drop(0.0)
        self._failures = self._crashes = 0
        self._service = True

    def _begin(self, now: float, anew: bool) -> None:
        if now < self._next_at:
            return
        state = _state_of_service() if self._service else ""
        if state == "deactivating":
            self._next_at = now + _PAUSE_S
            return
        if state == "inactive" and not anew:
            raise StartError(_STOPPED)
        prepare(self._paths)
        size = aftermath.size(self._paths)
        by_service = bool(state) and _start_by_service_manager()
        self._attempt = _Attempt(now, size, -1 if by_service else _start_directly(self._paths))

    def _see(self, attempt: _Attempt, now: float) -> None:
        """What is to be done where what was started has ended: wait for another's daemon, try again, or give up."""
        if aftermath.held(self._paths.lock):
            if now - attempt.began > _RESTART_S:
                self._drop(now)
            return
        words = aftermath.words(self._paths, attempt.size)
        if attempt.by_service:
            self._service = attempt.up
        elif not attempt.up:
            self._failures += 1
            if words or self._failures >= _FAILURES:
                raise StartError(aftermath.told(self._paths, _command(), words))
        elif words and now - attempt.began < _STEADY_S:
            self._crashes += 1
            if self._crashes >= _CRASHES:
                raise StartError(aftermath.told(self._paths, _command(), words))
        else:  # it served, and was killed
            self._crashes = 0
        self._drop(now + _PAUSE_S * self._failures)

    def _drop(self, next_at: float) -> None:
        if self._attempt is not None:
            self._attempt.close()
        self._attempt, self._next_at = None, next_at


class _Attempt:
    """One start of a daemon. `lifeline` is at its end when the process is; -1 where a service manager has it."""

    __slots__ = ("began", "lifeline", "size", "up")

    def __init__(self, began: float, size: int, lifeline: int) -> None:
        self.began, self.size, self.lifeline = began, size, lifeline
        self.up = False  # a daemon has answered since

    @property
    def by_service(self) -> bool:
        return self.lifeline < 0

    def ended(self, now: float) -> bool:
        """Whether what was started has ended; of a service's daemon, whether it had its time."""
        if self.by_service:
            return self.up or now - self.began > _SERVICE_S
        try:
            return os.read(self.lifeline, 1) == b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        if not self.by_service:
            os.close(self.lifeline)


def service_file() -> str:
    """Where the installed service is, or would be: a systemd user unit, or launchd's agent."""
    if sys.platform == "darwin":
        return os.path.expanduser(f"~/Library/LaunchAgents/{LAUNCHD_LABEL}.plist")
    return os.path.expanduser(f"~/.config/systemd/user/{SYSTEMD_UNIT}")


def is_installed() -> bool:
    """Whether there is a service. One that was masked is a link to /dev/null, and none."""
    return os.path.isfile(service_file())


def has_service() -> bool:
    """Whether a service manager is to look after the daemon: not after that of a second instance."""
    return is_usual() and is_installed()


def is_usual() -> bool:
    """Whether it is the user's own instance that we are about, not a second one."""
    return not os.environ.get(HOME_VARIABLE)


def _state_of_service() -> str:
    """What the service manager says of our service: `inactive` after a stop, `deactivating` while that, or the stop
    before a start, goes on; empty where it is not installed, or where nobody answers.
    """
    if not has_service():
        return ""
    if sys.platform == "darwin":
        return "unknown"
    told = _output(["systemctl", "--user", "show", "--property=ActiveState,Job", SYSTEMD_UNIT])
    said = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    state = said.get("ActiveState", "")
    return "deactivating" if state == "inactive" and said.get("Job", "0") not in ("", "0") else state


def is_ending() -> bool:
    """Whether the login or the machine is about to end: the user's service manager is stopping, or the machine's."""
    return stops("--user") or stops("--system")


def stops(which: str) -> bool:
    """Whether systemd's manager of the user, or of the system, says that it is stopping, as while it ends what it
    runs (systemctl(1), is-system-running); False where there is none that says so."""
    return _output(["systemctl", which, "show", "--property=SystemState", "--value"]).strip() == "stopping"


def _start_by_service_manager() -> bool:
    if sys.platform == "darwin":
        command = ["launchctl", "kickstart", f"gui/{os.getuid()}/{LAUNCHD_LABEL}"]
    else:
        command = ["systemctl", "--user", "start", "--no-block", SYSTEMD_UNIT]
    try:
        return _run(command, _ANSWERED_S) == 0
    except OSError:
        return False


def _start_directly(paths: Paths) -> int:
    """`--detach` makes the new process fork once more and lead a session of its own, so that nothing that
    a client does to its process tree, group or session reaches the daemon.

    The end of a pipe that is at its end when the daemon is, whichever way it goes. Raises StartError.
    """
    command, environ = _command(), dict(os.environ)
    if environ.get(HOME_VARIABLE):  # it means the same in the daemon's working directory then
        environ[HOME_VARIABLE] = paths.state
    try:
        lifeline, held = os.pipe()
    except OSError as error:
        raise StartError(_not_run(paths, command, error)) from None
    os.set_blocking(lifeline, False)
    try:
        os.set_inheritable(held, True)
        _run(command, _DETACHED_S, environ, stderr=aftermath.standard_error(paths))
    except OSError as error:
        os.close(lifeline)
        raise StartError(_not_run(paths, command, error)) from None
    finally:
        os.close(held)
    return lifeline


def _not_run(paths: Paths, command: list[str], error: OSError) -> str:
    """Why `command` was not even begun. An interpreter that is gone or no program is the installation's fault alone."""
    fault = isinstance(error, FileNotFoundError | PermissionError) or error.errno == errno.ENOEXEC
    anew = ": kernel-supervisor has to be installed anew" if fault else ""
    return aftermath.told(paths, command, f"{sys.executable} cannot be run ({error.strerror}){anew}")


def _command() -> list[str]:
    return isolated("kernel_supervisor.daemon", "--detach")


def _output(command: list[str]) -> str:
    """The little that `command` says; nothing where it fails, cannot be run, or takes too long."""
    heard, said = os.pipe()
    os.set_blocking(heard, False)
    try:
        return os.read(heard, 4096).decode() if _run(command, _ANSWERED_S, stdout=said) == 0 else ""
    except OSError:
        return ""
    finally:
        os.close(heard)
        os.close(said)


def _run(
    command: list[str],
    limit_s: float,
    environ: Mapping[str, str] = os.environ,
    stderr: str = "/dev/null",
    stdout: int | None = None,
) -> int | None:
    """Run `command` without a descriptor of ours that was not made for it; its exit code, or None where it takes longer
    than `limit_s`. Raises OSError where it cannot be started.

    posix_spawn: `import subprocess` would cost 15 ms, and forking beside ZeroMQ's threads is unsafe.
    """
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0) if stdout is None else (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 2, stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600),
    ]
    pid = os.posix_spawnp(command[0], command, environ, file_actions=actions)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOK_S)
    return None
