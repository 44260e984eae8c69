"""The life of the daemon, read downwards: lock, bind, serve, adopt, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import logging.handlers
import os
import resource
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from kernel_supervisor import __version__, keeping
from kernel_supervisor.client.autostart import is_ending, listening
from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.daemon.lock import Lock
from kernel_supervisor.daemon.notify import keep_watchdog_fed, notify
from kernel_supervisor.daemon.place import Place
from kernel_supervisor.daemon.version import differences
from kernel_supervisor.isolation import VARIABLES
from kernel_supervisor.paths import Paths, PlaceError, find, prepare, vacate
from kernel_supervisor.tasks import Tasks

if TYPE_CHECKING:
    from kernel_supervisor.daemon.assembly import Parts
    from kernel_supervisor.mcp.caller import Admin

log = logging.getLogger(__name__)
_FEWEST, _DESCRIPTORS = 100, 8192
_LOCK_DEADLINE_S, _HANDED_OVER_S = 20.0, 3.0
_LOOK_S = 0.02
_ANSWERS_S = 2.0
"""How long a daemon that was told to stop waits for the answers that it owes."""


def main(*, service: bool) -> int:
    """Run until told to stop; 0 where another daemon is there already and nobody insists on this one."""
    os.umask(0o077)
    if (descriptors := _take_descriptors()) < _FEWEST:
        few = f"only {descriptors} file descriptors are allowed (ulimit -Hn)"
        return _end_with(f"{few}, and a daemon with a kernel takes {_FEWEST}")
    paths = find()
    try:
        prepare(paths)
        lock = Lock(paths)
        if not lock.acquire():
            if not service and not _outlast(paths, lock):
                return 0
            if service and not _take_over(paths, lock):
                return _end_with(f"another daemon (pid {lock.holder()}) does not hand over")
        _log_to(paths)
    except OSError as error:
        return _end_with(_said(error))
    for name in ("JPY_PARENT_PID", *VARIABLES):  # a stale one would kill every kernel; what we start is isolated
        os.environ.pop(name, None)
    try:
        return asyncio.run(Daemon(paths, lock).run())
    except Exception as error:
        log.exception("the daemon failed")
        return _end_with(_said(error))


def _take_descriptors() -> int:
    """Have as many descriptors as are enough for hundreds of kernels, where a shell may allow a few; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            return most
    return most if soft == resource.RLIM_INFINITY else soft


def _end_with(words: str) -> int:
    """The last words of a daemon that came to nothing: whoever started it hands them on."""
    print(words, file=sys.stderr, flush=True)
    return 1


def _said(error: Exception) -> str:
    if isinstance(error, PlaceError | SupervisorError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _outlast(paths: Paths, lock: Lock) -> bool:
    """Whether the lock is ours after all: where nobody is bound, its holder may be on its way out.

    One that gave up then would leave its client without a daemon until that tries again, seconds later.
    """
    end = time.monotonic() + _LOCK_DEADLINE_S
    while not listening(paths) and time.monotonic() < end:
        time.sleep(_LOOK_S)
        if lock.acquire():
            return True
    return False


def _take_over(paths: Paths, lock: Lock) -> bool:
    """Ask the daemon that a client started to make way for the service manager's; kernels stay."""
    from kernel_supervisor.client.connection import ask  # only here: a daemon is nobody's client

    end = time.monotonic() + _LOCK_DEADLINE_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError, RuntimeError):  # it is gone already, or about to
            ask(paths, "supervisor/hand_over", {}, deadline_s=5.0, start=False)
        soon = time.monotonic() + _HANDED_OVER_S
        while time.monotonic() < soon:  # closely: a client may start another daemon at once
            if lock.acquire():
                return True
            time.sleep(0.001)
    return False


def _log_to(paths: Paths) -> None:
    """Log to our own file; where that cannot be had, errors to standard error. Neither keeps a daemon from working."""
    level = logging.getLevelName(os.environ.get("KERNEL_SUPERVISOR_LOG", "INFO").upper())
    handler: logging.Handler
    try:
        handler = logging.handlers.RotatingFileHandler(
            paths.daemon_log, maxBytes=keeping.LOG_BYTES, backupCount=keeping.LOG_FILES
        )
    except OSError:
        handler = logging.StreamHandler()
        handler.setLevel(logging.ERROR)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level if isinstance(level, int) else logging.INFO, handlers=[handler])
    logging.getLogger("mcp").setLevel(logging.WARNING)


class Daemon:
    """One incarnation."""

    def __init__(self, paths: Paths, lock: Lock) -> None:
        self._paths, self._lock = paths, lock
        self._tasks = Tasks()
        self._started = time.time()
        self._stop, self._stopping = asyncio.Event(), asyncio.Event()
        self._end_kernels, self._why = False, ""
        self._told = False
        self._parts: Parts | None = None

    async def run(self) -> int:
        """Bind, serve, adopt, drain. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, self._stop.set)
        place = Place(self._paths, self._lock)
        serving = asyncio.create_task(self._serve(place.socket), name="router")
        self._tasks.begin(keep_watchdog_fed(), "watchdog")
        self._tasks.keep(lambda: self._keep(place), "place")
        serving.add_done_callback(lambda _: self._stop.set())
        try:
            await self._stop.wait()
            if serving.done():
                serving.result()  # it never ends by itself: this raises
        finally:
            notify("STOPPING=1")
            await self._tasks.close()
            await self._drain(serving)
            place.socket.close(500)
            if self._end_kernels:
                vacate(self._paths)
        return 0

    async def _keep(self, place: Place) -> None:
        """Have our place, and make way where another daemon has it."""
        while True:
            await place.missed()
            if not place.keep():
                log.error("another daemon has taken this one's place")
                self._stop.set()
                return
            with contextlib.suppress(SupervisorError):  # it is in the log, and tried again
                if self._parts is not None:
                    await self._parts.supervisor.records.keep()

    async def _serve(self, socket: Any) -> None:
        assemble, admin = await asyncio.to_thread(_import)  # so that a hello is answered meanwhile
        self._parts = assemble(
            self._paths,
            socket,
            admin(status=self._status, stop=self._be_stopped, stopping=self._stopping, hand_over=self._stop.set),
        )
        log.info("daemon %s, pid %s, in %s", __version__, os.getpid(), self._paths.state)
        await self._parts.serve()

    async def _drain(self, serving: asyncio.Task[None]) -> None:
        """Let go: of kernels (or end them), so that calls are answered; of clients; of the records."""
        if self._parts is not None and (self._why or (not self._told and await asyncio.to_thread(is_ending))):
            await self._parts.save_all()
        if self._parts is not None and self._end_kernels:
            await self._parts.supervisor.end_all(self._why)
        if self._parts is not None and self._told:
            self._stopping.set()
            self._parts.supervisor.executions.call_attention()
            await self._parts.router.answered(_ANSWERS_S)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        if self._parts is not None:
            await self._parts.close(told=self._told)
        if self._told:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._paths.socket)
        log.info("daemon stopped%s", " with its kernels" if self._end_kernels else "; kernels run on")

    def _status(self) -> dict[str, Any]:
        clients = self._parts.router.clients if self._parts is not None else []
        return {
            "pid": os.getpid(),
            "version": __version__,
            "differences": differences(),
            "started_at": self._started,
            "state": self._paths.state,
            "socket": self._paths.socket,
            "log": self._paths.daemon_log,
            "clients": [{"pid": each.pid, "kind": each.kind, "directory": each.directory} for each in clients],
        }

    def _be_stopped(self, end_kernels: bool, why: str) -> None:
        self._told, self._end_kernels, self._why = True, end_kernels, why
        self._stop.set()


def _import() -> tuple[type[Parts], type[Admin]]:
    """Without the collector, which would look at all of it again and again; what was imported is kept from it."""
    gc.disable()
    try:
        from kernel_supervisor.daemon.assembly import Parts  # most of a second
        from kernel_supervisor.mcp.caller import Admin
    finally:
        gc.freeze()
        gc.enable()
    return Parts, Admin
