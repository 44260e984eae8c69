"""Gives each cell pipes of its own for descriptors 1 and 2: what its children print, however late, belongs to it.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib and the kernel's own ipykernel only, Python 3.8 and later, on
Linux (elsewhere ipykernel's own pipes stay). ipykernel has one pipe for each, read by a thread of its own in pieces of
1,000 bytes that are decoded one by one, and shows what comes in whatever cell runs then. Here a pipe lives as long as
somebody can write into it, and the thread that sends outputs reads them all; what is there when a cell ends is read
before its reply. Workers of process pools outlive cells: what they print belongs to the cell that runs then.

A pipe costs more than the rest of a cell's beginning: where no process was started since the last one was made, it is
empty and nobody else's, and belongs to the next cell.
"""

from __future__ import annotations

import atexit
import codecs
import contextlib
import ctypes
import fcntl
import functools
import inspect
import os
import select
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any, Callable

beside: Any = globals().get("beside")
"""`recorder.beside`, which loads this module and puts itself here before."""
looks: Any = beside("looks") if beside else None
_MOST_PIPES = 256
"""Beyond these a cell's pipes are those of the one before it."""
_PIECE = 1 << 16
"""Bytes that are read at once: what a pipe holds."""
_UNSENT = 1 << 18
"""Bytes that are read before they are sent."""
_WORKERS = {("concurrent.futures.process", "_process_worker"), ("multiprocessing.pool", "worker")}
_WORKERS.add(("joblib.externals.loky.process_executor", "_process_worker"))
_WORKERS.add(("loky.process_executor", "_process_worker"))
"""What the processes of pools run, by module and name."""
_decoder = codecs.getincrementaldecoder("utf-8")


def install(kernel: Any, streams: Any, after: Callable[..., None]) -> Pipes | None:
    """Take over descriptors 1 and 2, which are those of `streams`, where ipykernel has taken them.

    `after` does something to a module once it is imported.
    """
    watched = all(getattr(stream, "_should_watch", False) for stream in streams)
    if watched and hasattr(select, "epoll"):
        pipes = kernel._supervisor_pipes = Pipes(streams)
        pipes.follow_cells(kernel)
        for flush in getattr(kernel, "_supervisor_flushes", ()):
            flush.gather = pipes.read_printed
        after("multiprocessing.process", pipes.follow_workers)
        after("multiprocessing.forkserver", lambda module: pipes.follow_server(module.ForkServer))
        after("multiprocessing.resource_tracker", lambda module: pipes.follow_server(module.ResourceTracker))
        atexit.register(pipes.settle)
        return pipes
    return None


class Pipe:
    """One pipe of ours: who prints into it, and where that belongs."""

    def __init__(self, stream: Any, home: Any) -> None:
        self.stream, self.home = stream, home
        self.is_own = True
        """False where it stays though a process that an earlier cell has begotten may write into it."""
        self.end, self.entrance = os.pipe()
        os.set_blocking(self.end, False)
        self.identity = identity(self.end)
        self.decoder = _decoder("replace")
        self.lock = threading.Lock()

    def take(self, data: bytes) -> None:
        """Show what was read, nothing at the end, where it belongs: in the latest cell where there is no home."""
        text = self.decoder.decode(data, not data)
        if text:
            home = self.stream._parent_header_global if self.home is None else self.home
            token = self.stream._parent_header.set(home)
            try:
                self.stream.write(text)
            finally:
                self.stream._parent_header.reset(token)
        if data:
            os.write(self.stream._original_stdstream_copy, data)


class Pipes:
    """The pipes of one kernel."""

    def __init__(self, streams: Any) -> None:
        self.streams, self.pid = streams, os.getpid()
        self.poll = select.epoll()
        self.live: dict[int, Pipe] = {}
        self.identities: set[tuple[int, int] | None] = set()
        self.current: dict[int, Pipe] = {}
        self.shared: list[Pipe] = []
        self.at_work = threading.local()
        self.ends, self.are_whole = looks.Ends(), False
        self.flush_c = c_flush()
        self.births = looks.Births()
        self.holding = ctypes.PyDLL(None)
        for stream in streams:
            take_over(stream)
            self.renew(stream, always=True)
            stream.close = functools.partial(self.give_back, stream, stream.close)
        thread = streams[0].pub_thread
        thread.schedule(lambda: thread.io_loop.add_handler(self.poll, self.read_ready, thread.io_loop.READ))
        os.register_at_fork(after_in_child=self.forget)

    def follow_cells(self, kernel: Any) -> None:
        """Renew the pipes before each cell; read them before its reply."""
        execute, main = kernel.do_execute, threading.main_thread().ident
        if not inspect.iscoroutinefunction(execute):
            return

        @functools.wraps(execute)
        async def do_execute(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != main:  # a subshell's, beside a cell
                return await execute(*args, **kwargs)
            attempt(self.begin)
            try:
                return await execute(*args, **kwargs)
            finally:
                attempt(self.settle)

        kernel.do_execute = do_execute

    def begin(self) -> None:
        """Have both descriptors belong to what runs here from now on."""
        if self.are_whole and self.births.none() and os.getpid() == self.pid:
            for stream in self.streams:
                pipe = self.current[stream._original_stdstream_fd]
                if pipe.is_own:
                    pipe.home = stream.parent_header
                else:
                    self.renew(stream)
            return
        self.births.count()
        for stream in self.streams:
            self.renew(stream)

    def renew(self, stream: Any, *, always: bool = False) -> None:
        """Give a stream's descriptor a pipe that belongs to what runs here, unless it is no pipe of ours."""
        number = stream._original_stdstream_fd
        before = self.current.get(number)
        if before is not None:
            before.is_own = False
        if os.getpid() != self.pid or not (always or self.is_ours(number)):
            return
        if before is not None and len(self.live) >= _MOST_PIPES:
            before.home = stream.parent_header
            return
        pipe = self.current[number] = Pipe(stream, stream.parent_header)
        self.watch(pipe)
        if before is not None:
            self.stop_looking(before)
        self.ends.register(pipe.end, select.POLLIN)
        self.ends.register(number, 0)
        if before is None or self.live.get(before.end) is not before or identity(before.end) != before.identity:
            self.put(pipe, number)
            return
        self.poll.unregister(before.end)  # its end would wake the thread: most have no one else who writes
        try:
            self.put(pipe, number)
            self.read(before, _PIECE)
        finally:
            if self.live.get(before.end) is before:
                self.poll.register(before.end, select.EPOLLIN)
                with contextlib.suppress(OSError):  # closed meanwhile
                    self.bring_along(before, number)

    def stop_looking(self, pipe: Pipe) -> None:
        """Read it no longer where a cell ends."""
        with contextlib.suppress(KeyError):
            self.ends.unregister(pipe.end)

    def put(self, pipe: Pipe, number: int) -> None:
        """Have a descriptor be the way into a pipe, and the only one."""
        os.dup2(pipe.entrance, number)
        os.close(pipe.entrance)

    def bring_along(self, before: Pipe, number: int) -> None:
        """Have what this process itself has open of the pipe before, such as a log's `/dev/stderr`, lead where the
        descriptor leads now.

        Looked and done without letting go of the interpreter: no other thread closes it, and has its number for a file.
        """
        named, where = b"pipe:[%d]" % before.identity[1] if before.identity else b"", ctypes.create_string_buffer(64)
        for held in map(int, os.listdir("/proc/self/fd")):
            if held in (before.end, number) or identity(held) != before.identity:
                continue
            flags = fcntl.fcntl(held, fcntl.F_GETFL), fcntl.fcntl(held, fcntl.F_GETFD)
            size = self.holding.readlink(b"/proc/self/fd/%d" % held, where, len(where))
            if flags[0] & os.O_ACCMODE != os.O_RDONLY and where.raw[: max(size, 0)] == named:
                self.holding.dup3(number, held, os.O_CLOEXEC if flags[1] & fcntl.FD_CLOEXEC else 0)

    def watch(self, pipe: Pipe) -> None:
        """Have what comes out of a pipe be read."""
        self.live[pipe.end] = pipe
        self.identities.add(pipe.identity)
        self.poll.register(pipe.end, select.EPOLLIN)

    def is_ours(self, number: int) -> bool:
        """Whether a descriptor is a pipe of ours: not so where user code has redirected it."""
        return identity(number) in self.identities

    def read_ready(self, *_: Any) -> None:
        """In the thread that sends outputs: read what there is."""
        for end, _event in self.poll.poll(0):
            pipe = self.live.get(end)
            if pipe is not None:
                with contextlib.suppress(Exception):
                    if self.read(pipe, _UNSENT) >= _UNSENT:
                        pipe.stream._flush()

    def read(self, pipe: Pipe, most: int) -> int:
        """Show what is in a pipe, about so many bytes of it at most; how many it was."""
        count = 0
        with pipe.lock:
            if identity(pipe.end) != pipe.identity:  # user code has closed it: the number is somebody else's
                self.live.pop(pipe.end, None)
            while count < most and self.live.get(pipe.end) is pipe:
                try:
                    data = os.read(pipe.end, min(_PIECE, most - count))
                except BlockingIOError:
                    break
                count += len(data)
                if not data:
                    self.drop(pipe)
                pipe.take(data)
        return count

    def drop(self, pipe: Pipe) -> None:
        """Let go of a pipe that nobody can write into."""
        del self.live[pipe.end]
        self.identities.discard(pipe.identity)
        self.stop_looking(pipe)
        with contextlib.suppress(OSError):  # it is not watched just then
            self.poll.unregister(pipe.end)
        os.close(pipe.end)

    def settle(self) -> None:
        """Read what the cell that ends has printed until now, and what C or Python's own streams hold of it."""
        if os.getpid() != self.pid:
            return
        for own in (sys.__stdout__, sys.__stderr__):
            attempt(own.flush)  # type: ignore[union-attr]
        self.flush_c()
        self.read_current()

    def read_current(self) -> None:
        """Read what is in the latest cell's pipes, and those of pools' workers; see whether that cell's are whole."""
        self.are_whole = True
        for number, event in self.ends.ready():
            pipe = self.live.get(number)
            if pipe is None or event & ~select.POLLIN:  # user code has closed one end, or it is an entrance without one
                self.are_whole = False
            if pipe is not None:
                waiting = int.from_bytes(fcntl.ioctl(number, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
                self.read(pipe, waiting)
                self.are_whole = self.are_whole and not pipe.decoder.getstate()[0]

    def read_printed(self) -> bool:
        """Read what is in the latest cell's pipes, for whoever flushes and may be about to end this process; whether
        somebody reads one of them now, who is not waited for: it may be what a signal has interrupted."""
        is_read = False
        for number, event in self.ends.ready():
            pipe = self.live.get(number)
            if pipe is not None and event & select.POLLIN:
                is_read = is_read or pipe.lock.locked()
                if not is_read:
                    attempt(functools.partial(self.read, pipe, _PIECE))
        return is_read

    def leave(self) -> None:
        """The kernel ends: what is printed from now on is no cell's."""
        self.settle()
        for pipe in self.current.values():
            pipe.home = {}

    def give_back(self, stream: Any, close: Callable[[], None]) -> None:
        """Put back what the descriptor was before, and close the stream."""
        if os.getpid() == self.pid:
            with contextlib.suppress(Exception):
                self.settle()
            if self.is_ours(stream._original_stdstream_fd):
                os.dup2(stream._original_stdstream_copy, stream._original_stdstream_fd)
        close()

    def forget(self) -> None:
        """In a fork: the pipes are the kernel's to read. A pool's worker prints into them as other programs do."""
        self.poll.close()
        for end, pipe in self.live.items():
            if identity(end) == pipe.identity:  # else user code has closed it, and the number is somebody else's
                os.close(end)
        self.live, self.identities = {}, set()
        if getattr(self.at_work, "shared", False):
            for stream in self.streams:
                stream.write = functools.partial(write_all, stream._original_stdstream_fd)
                stream.flush = lambda: None

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Start here what outlives cells: descriptors 1 and 2 are pipes that belong to the latest cell meanwhile."""
        ours = os.getpid() == self.pid and all(self.is_ours(each._original_stdstream_fd) for each in self.streams)
        if not ours or getattr(self.at_work, "shared", False):
            yield
            return
        if not self.shared:
            for stream in self.streams:
                self.shared.append(Pipe(stream, None))
                self.watch(self.shared[-1])
                self.ends.register(self.shared[-1].end, select.POLLIN)
        numbers = [stream._original_stdstream_fd for stream in self.streams]
        saved = [os.dup(number) for number in numbers]
        self.at_work.shared = True
        try:
            for pipe, number in zip(self.shared, numbers):  # noqa: B905 - Python 3.8
                os.dup2(pipe.entrance, number)
            yield
        finally:
            self.at_work.shared = False
            for before, number in zip(saved, numbers):  # noqa: B905 - Python 3.8
                os.dup2(before, number)
                os.close(before)

    def follow_workers(self, processes: Any) -> None:
        """Start pools' processes with the shared pipes."""
        cls = processes.BaseProcess
        start = cls.start

        @functools.wraps(start)
        def starting(process: Any) -> Any:
            target = getattr(process, "_target", None)
            name = getattr(target, "__module__", ""), getattr(target, "__name__", "")
            with self.sharing() if name in _WORKERS else contextlib.nullcontext():
                return start(process)

        cls.start = starting

    def follow_server(self, server: Any) -> None:
        """Start what starts processes for all cells with the shared pipes."""
        ensure = server.ensure_running

        @functools.wraps(ensure)
        def ensuring(this: Any) -> Any:
            runs = getattr(this, "_fd", getattr(this, "_forkserver_pid", None)) is not None  # it is asked for often
            with contextlib.nullcontext() if runs else self.sharing():
                return ensure(this)

        server.ensure_running = ensuring


def attempt(do: Callable[[], Any]) -> None:
    """Do what must not fail a cell; a context manager's own cost is several times that of what is done here."""
    try:
        do()
    except Exception:  # noqa: BLE001 - whatever it is, the cell goes on
        return


def identity(number: int) -> tuple[int, int] | None:
    """Which file a descriptor is."""
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def take_over(stream: Any) -> None:
    """End ipykernel's own watch of a stream's descriptor."""
    stream._should_watch = False
    os.write(stream._original_stdstream_fd, b"\0")
    stream.watch_fd_thread.join()
    os.close(stream._fid)
    stream._fid = None


def write_all(number: int, text: str) -> int:
    """Write to a descriptor, as a stream's `write`."""
    data = text.encode("utf-8", "replace")
    while data:
        data = data[os.write(number, data) :]
    return len(text)


def c_flush() -> Callable[[], Any]:
    """Flushes the standard output of C, which has the whole of it in a buffer where it is a pipe."""
    try:
        library, holding = ctypes.CDLL(None), ctypes.PyDLL(None)
        out, pending = ctypes.c_void_p.in_dll(library, "stdout"), holding.__fpending
        return lambda: pending(out) and library.fflush(out)
    except Exception:  # noqa: BLE001 - a C library that calls it otherwise
        return lambda: None
