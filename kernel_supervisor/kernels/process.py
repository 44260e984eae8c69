"""Processes that cannot be mistaken for others: identity, death, exit status, signals.

A pid alone is never trusted: it is pinned first (pidfd where there is one), then its start is compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from kernel_supervisor.core.model import ProcessIdentity

_LINUX = sys.platform == "linux"
_POLL_S = 0.2
_MOMENT_S, _LOOKS = 0.1, 10
_PIDFD_GET_INFO = 0xC040FF0B
"""`_IOWR(0xFF, 11, struct pidfd_info)` of 64 bytes; Linux 6.13, exit status since 6.15."""
_PIDFD_INFO_EXIT = 1 << 3


def descriptors_left() -> int:
    """How many file descriptors this process may still open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(os.listdir("/dev/fd"))


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has `pid` now, or None where there is none (a zombie is none)."""
    if not _LINUX:
        return _identify_by_psutil(pid)
    fields = _stat(pid)
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return ProcessIdentity(pid=pid, start=int(fields[19]), boot=_boot())


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() if _LINUX else ""


def restarted_since(identity: ProcessIdentity) -> float | None:
    """When this machine was restarted that ran the process, in seconds since the epoch; None where it was not."""
    return psutil.boot_time() if identity.boot and identity.boot != _boot() else None


def mentioned(words: Collection[str]) -> set[str]:
    """Which of these words stand in the command line of any process. Blocks on /proc."""
    lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    return {word for word in words if any(word in line for line in lines)}


def is_stopped(identity: ProcessIdentity) -> bool:
    """Whether a process stands still, by SIGSTOP or for a debugger; False where that cannot be known."""
    try:
        return psutil.Process(identity.pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False


async def is_computing(identity: ProcessIdentity) -> bool:
    """Whether a process has a thread that runs, or waits for a processor alone, each time it is looked at within a
    moment: one that wakes up now and then does not. False where that cannot be known."""
    try:
        process = psutil.Process(identity.pid)
        before = _used_s(process)
        for _ in range(_LOOKS):
            if _LINUX and not _has_work(identity.pid):
                return False
            await asyncio.sleep(_MOMENT_S / _LOOKS)
        return _LINUX or _used_s(process) > before
    except (OSError, psutil.Error):
        return False


def _has_work(pid: int) -> bool:
    """Whether a thread of it is on a processor, or in the queue for one. Raises OSError."""
    return any(_stat(int(thread))[:1] == [b"R"] for thread in os.listdir(f"/proc/{pid}/task"))


def _used_s(process: psutil.Process) -> float:
    """Seconds of a processor that it has used."""
    return float(sum(process.cpu_times()[:2]))


def _stat(pid: int) -> list[bytes]:
    """The fields of `/proc/PID/stat`, a thread's too, from the third on; none where there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _status_of_zombie(identity: ProcessIdentity) -> int | None:
    fields = _stat(identity.pid) if _LINUX else []
    is_it = len(fields) > 49 and fields[0] == b"Z" and int(fields[19]) == identity.start
    return int(fields[49]) if is_it else None


def _identify_by_psutil(pid: int) -> ProcessIdentity | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return ProcessIdentity(pid=pid, start=int(process.create_time() * 1e6), boot="")
    except psutil.Error:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended."""

    code: int | None = None
    """Its exit code, negative for a signal; None where nobody can know any more."""
    peak_bytes: int | None = None
    """The largest resident memory of it or of a process it waited for, for a child of ours: wait4 tells no more."""

    def __str__(self) -> str:
        if self.code is None or self.code >= 0:
            return "ended" if self.code is None else f"exit code {self.code}"
        try:
            return f"killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"killed by signal {-self.code}"


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


_LAYOUT = (23, 25, 45, 47)
"""Where in `_stat` it says how memory is laid out: where code, stack, arguments and environment begin (proc(5), fields
26, 28, 48 and 50). A fork has that of its parent until it executes another program."""
_ROUNDS = 5
_LEAVE_S = 1.0
"""How long a copy has to end by itself."""
_NO_PROCESS = (errno.ESRCH, errno.ENOENT, errno.EINVAL)
"""What `pidfd_open` says of a number that no process has. It may be that of a thread, or no possible one."""


def _pinned(pid: int) -> int:
    """A pidfd; -1 where the system gives none, so that the identity alone tells. Raises ProcessLookupError."""
    if pid <= 1 or not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(pid)
    except OverflowError:
        raise ProcessLookupError(f"there is no process {pid}") from None
    except OSError as error:  # EPERM and ENOSYS come from sandboxes, EMFILE from a limit
        if error.errno in _NO_PROCESS:
            raise ProcessLookupError(f"there is no process {pid}") from None
        return -1


def _others(pid: int, is_meant: Callable[[list[bytes]], bool]) -> set[ProcessIdentity]:
    """The processes but this one that run and of which `/proc/PID/stat` says what is meant."""
    found = set()
    for name in os.listdir("/proc"):
        fields = _stat(int(name)) if name.isdigit() and int(name) != pid else []
        if len(fields) > max(_LAYOUT) and fields[0] not in (b"Z", b"X") and is_meant(fields):
            found.add(ProcessIdentity(pid=int(name), start=int(fields[19]), boot=_boot()))
    return found


def _members(group: int) -> set[ProcessIdentity]:
    """The processes of a group but its leader."""
    return _others(group, lambda fields: int(fields[2]) == group)


def _began_before(identity: ProcessIdentity, moment: float) -> bool:
    """Whether a process began before a moment in seconds since the epoch. Its start is in ticks, rounded down."""
    ago = time.time() - moment
    return (identity.start + 1) / os.sysconf("SC_CLK_TCK") < time.clock_gettime(time.CLOCK_BOOTTIME) - ago


def _signal_once(identity: ProcessIdentity, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError), contextlib.closing(Process(identity)) as process:
        process.signal(number)


class Process:
    """One process, ours by birth or by adoption; it is signalled only while it is the one that was recorded."""

    def __init__(self, identity: ProcessIdentity, child: subprocess.Popen[bytes] | None = None) -> None:
        """Pin `identity`. Raises ProcessLookupError where that process is gone."""
        self.identity = identity
        self._child = child
        self._inherited = _peak(resource.getrusage(resource.RUSAGE_SELF))
        self._fd = _pinned(identity.pid)
        self._exit: Exit | None = None
        self._layout: list[bytes] = []
        if child is None and (identity.pid <= 1 or identify(identity.pid) != identity):
            self.close()
            raise ProcessLookupError(f"process {identity.pid} is not the one that was recorded")

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        if self._exit is not None:
            return False
        if self._fd >= 0:
            return not select.select([self._fd], [], [], 0)[0]
        if self._child is not None:
            return self._child.poll() is None
        return identify(self.identity.pid) == self.identity

    async def ended(self) -> None:
        """Return once it has: told by its pidfd, else by looking. One waits for it at a time, and no longer than it
        is open."""
        if self._fd < 0:
            while self.alive():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(_POLL_S)
            return
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._fd, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._fd)

    def exit(self) -> Exit:
        """How it ended; only for a process that is not alive, so that nothing is waited for."""
        if self._exit is None:
            self._exit = self._exit_of_child() if self._child is not None else self._exit_of_other()
        return self._exit

    def _exit_of_child(self) -> Exit:
        """`wait4` instead of `Popen.wait`: it tells how much memory the child had at its peak.

        That begins with what the parent had: of a child that never had more it is not known.
        """
        assert self._child is not None
        if self._child.returncode is not None:
            return Exit(code=self._child.returncode)
        try:
            _, status, usage = os.wait4(self.identity.pid, 0)
        except ChildProcessError:
            return Exit()
        self._child.returncode = os.waitstatus_to_exitcode(status)
        peak = _peak(usage)
        return Exit(code=self._child.returncode, peak_bytes=peak if peak > self._inherited else None)

    def _exit_of_other(self) -> Exit:
        """A zombie's status stands in /proc (proc(5), field 52); once it is reaped, Linux 6.15 and later keep
        it for whoever holds its pidfd."""
        status = _status_of_zombie(self.identity)
        if status is None:
            status = self._status_by_pidfd()
        return Exit(code=None if status is None else os.waitstatus_to_exitcode(status))

    def _status_by_pidfd(self) -> int | None:
        if self._fd < 0:
            return None
        info = ctypes.create_string_buffer(64)
        ctypes.c_uint64.from_buffer(info, 0).value = _PIDFD_INFO_EXIT
        try:
            fcntl.ioctl(self._fd, _PIDFD_GET_INFO, info, True)
        except OSError:
            return None
        known = ctypes.c_uint64.from_buffer(info, 0).value & _PIDFD_INFO_EXIT
        return ctypes.c_int32.from_buffer(info, 60).value if known else None

    def signal(self, number: int) -> None:
        """Send a signal to this very process. Raises ProcessLookupError where it is gone."""
        if self._fd >= 0:
            signal.pidfd_send_signal(self._fd, number)
        elif self.alive():
            os.kill(self.identity.pid, number)
        else:
            raise ProcessLookupError(self.identity.pid)

    def look(self) -> None:
        """Note by what its forks are known, while it runs. Blocks on /proc."""
        fields = _stat(self.identity.pid) if _LINUX and self.alive() else []
        if len(fields) > max(_LAYOUT) and fields[0] not in (b"Z", b"X"):
            self._layout = [fields[at] for at in _LAYOUT]

    def end_copies(self) -> None:
        """End the forks that are left of it, once it has ended itself. Blocks, for some seconds at the most."""
        for number in (signal.SIGTERM, *[signal.SIGKILL] * _ROUNDS):
            copies = self._copies() or self._copies()  # one may have forked, and ended, between two looks at /proc
            for each in copies:
                _signal_once(each, number)
            end = time.monotonic() + _LEAVE_S
            while any(identify(each.pid) == each for each in copies) and time.monotonic() < end:
                time.sleep(0.01)
            if not copies:
                return

    def _copies(self) -> set[ProcessIdentity]:
        """Its forks in the session that it leads or led, by its memory's layout."""
        pid, layout = self.identity.pid, self._layout

        def is_fork(fields: list[bytes]) -> bool:
            return int(fields[3]) == pid and [fields[at] for at in _LAYOUT] == layout

        return _others(pid, is_fork) if any(map(int, layout)) else set()

    def interrupt(self, since: float | None) -> None:
        """SIGINT to it and to what runs in its group, as a terminal does, but for what ran there before `since`, in
        seconds since the epoch; to all of them where the system does not tell. Blocks on /proc.

        Raises ProcessLookupError where it is gone.
        """
        pid = self.identity.pid
        if since is None or not _LINUX or not any(_began_before(each, since) for each in _members(pid)):
            self.signal_group(signal.SIGINT)
            return
        self.signal(signal.SIGINT)
        told: set[ProcessIdentity] = set()
        for _ in range(2):  # some may have come while the others were looked for
            for each in _members(pid) - told:
                told.add(each)
                if not _began_before(each, since):
                    _signal_once(each, signal.SIGINT)

    def signal_group(self, number: int) -> None:
        """Send a signal to the session that this process leads, if it is alive and does lead one.

        While its leader lives (pinned, and just checked) a group's number cannot be another's.
        Raises ProcessLookupError where it is gone.
        """
        if not self.alive():
            raise ProcessLookupError(self.identity.pid)
        if os.getpgid(self.identity.pid) == self.identity.pid:
            os.killpg(self.identity.pid, number)
        else:
            self.signal(number)

    async def wait(self, deadline_s: float) -> bool:
        """Whether it has ended within `deadline_s`."""
        end = asyncio.get_running_loop().time() + deadline_s
        while self.alive():
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.01)
        return True

    def close(self) -> None:
        """Let go of the pidfd; the process goes on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
