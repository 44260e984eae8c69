"""Sees to it that a fork ends with the work in which it was made, and that its parent alone ends a cell.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib only, Python 3.8 and later. `os.fork()` in a cell returns
twice: what comes behind the cell's code would happen twice as well, hooks, history and reply, and a copy of the kernel
would stay that listens where its parent does. Here a fork does what is left of its work, says on standard error what it
failed with, and ends. What it must not say, such as a reply, `recorder.py` does not send.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import inspect
import io
import os
import sys
import threading
import types
from typing import Any, Callable

_NO_LOOP = "this is a fork: the event loop runs in its parent"
_NO_ANSWER = "this is a fork: its parent alone can ask"


def install(kernel: Any, streams: Any, after: Callable[..., None]) -> None:
    """End what this kernel's cells and threads fork, whose standard output and standard error are `streams`.

    `after` does something to a module once it is imported.
    """
    if inspect.iscoroutinefunction(kernel.do_execute):
        forks = Forks(kernel, streams)
        forks.follow_cells()
        ending(threading.Thread, "_bootstrap_inner", forks)
        after("concurrent.futures.thread", lambda threads: ending(threads._WorkItem, "run", forks))
        after("multiprocessing.pool", forks.follow_pools)
        os.register_at_fork(before=forks.send, after_in_child=forks.begin)


class Forks:
    """What the forks of one kernel do."""

    def __init__(self, kernel: Any, streams: Any) -> None:
        self.kernel, self.streams = kernel, streams
        self.loop: Any = asyncio.get_event_loop()
        self.running = threading.local()
        self.status = 0

    def follow_cells(self) -> None:
        """A fork ends where its cell's code does: before what IPython and others do then."""
        kernel, shell = self.kernel, self.kernel.shell
        execute, run = kernel.do_execute, shell.run_ast_nodes

        @functools.wraps(execute)
        async def do_execute(*args: Any, **kwargs: Any) -> Any:
            pid, outside, self.running.depth = os.getpid(), getattr(self.running, "depth", 0), 0
            try:
                return await execute(*args, **kwargs)
            finally:
                self.running.depth = outside
                if os.getpid() != pid:
                    self.end()

        @functools.wraps(run)
        def run_ast_nodes(*args: Any, **kwargs: Any) -> Any:
            return self.run(run(*args, **kwargs))

        kernel.do_execute, shell.run_ast_nodes = do_execute, run_ast_nodes

    @types.coroutine
    def run(self, code: Any) -> Any:
        """What the coroutine of a cell's code does; a fork ends with it, but not with that of a cell within the cell.

        In a fork it is an error to wait: what it waits for never comes.
        """
        pid, running, step, argument = os.getpid(), self.running, code.send, None
        running.depth = depth = getattr(running, "depth", 0) + 1
        try:
            while True:
                awaited, step, argument = step(argument), code.send, None
                if os.getpid() == pid:
                    try:
                        argument = yield awaited
                    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the code's
                        step, argument = code.throw, error
                elif awaited is not None:  # else it only lets others go first
                    step, argument = code.throw, RuntimeError(_NO_LOOP)
        except StopIteration as end:
            return end.value
        finally:
            running.depth = depth - 1
            if depth == 1 and os.getpid() != pid:
                self.end()

    def follow_pools(self, pool: Any) -> None:
        """A fork made by a thread of a ThreadPool takes no next job."""
        work = pool.worker

        @functools.wraps(work)
        def worker(jobs: Any, *args: Any, **kwargs: Any) -> Any:
            pid = os.getpid()

            def get() -> Any:
                if os.getpid() != pid:
                    self.end()
                return jobs.get()

            is_process = hasattr(jobs, "_writer")
            return work(jobs if is_process else types.SimpleNamespace(get=get), *args, **kwargs)

        pool.worker = worker

    def send(self) -> None:
        """Before a fork: send what was printed, so that it stands before what the fork prints."""
        for stream in self.streams:
            with contextlib.suppress(Exception):
                if stream._buffers:
                    stream._flush()
        self.flush_others()

    def flush_others(self) -> None:
        """Write what Python's own streams, or C, hold: a fork has a copy of it."""
        for stream in (sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()  # type: ignore[union-attr]
        with contextlib.suppress(AttributeError):  # there are none
            self.kernel._supervisor_pipes.flush_c()

    def begin(self) -> None:
        """In a fork: have nothing of the parent's that is on its way, and nothing of what the parent's loop was to do.

        What is displayed in a fork is sent through its parent.
        """
        self.status, kernel = 0, self.kernel
        kernel.session.pid = os.getpid()
        kernel._input_request, kernel.shell._showtraceback = refuse, self.show_error
        for stream in self.streams:
            stream._buffer_lock, stream._buffers = threading.RLock(), collections.defaultdict(io.StringIO)
            stream._flush_pending = stream._subprocess_flush_pending = False
        with contextlib.suppress(AttributeError):  # a loop of another kind
            if self.loop._thread_id == threading.get_ident() and not hasattr(self.loop, "_nest_patched"):
                others = len(self.loop._ready)
                self.loop._ready.clear()
                for _ in range(others + 1):  # it goes through as many as there were
                    self.loop.call_soon(self.end)

    def show_error(self, kind: Any, error: Any, lines: list[str]) -> None:
        """What IPython calls with an exception and its traceback: an error message would be the parent's."""
        if isinstance(error, SystemExit):
            self.leave(error.code)
        self.status = 1
        print("\n".join(lines), file=sys.stderr)

    def leave(self, code: Any) -> None:
        """End as `sys.exit(code)` does."""
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
        self.status = 0 if code is None else code & 0xFF if isinstance(code, int) else 1
        self.end()

    def end(self) -> None:
        """End this fork, once its own threads have ended and what it printed is sent. What its parent has to clean up
        stays."""
        try:
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            self.flush_others()
        finally:
            os._exit(self.status)


def ending(work: Any, method: str, forks: Forks) -> None:
    """End what is forked in a `method` of `work` where that ends."""
    do = getattr(work, method)

    @functools.wraps(do)
    def doing(*args: Any, **kwargs: Any) -> Any:
        pid = os.getpid()
        try:
            return do(*args, **kwargs)
        finally:
            if os.getpid() != pid:
                forks.end()

    setattr(work, method, doing)


def refuse(*_: Any, **__: Any) -> str:
    """What a fork's `input()` does."""
    raise EOFError(_NO_ANSWER)
