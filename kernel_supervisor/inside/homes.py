"""Sees to it that what a thread, a pool's worker or a task prints belongs to the cell that gave it the work.

Runs *inside* the kernel, loaded by `recorder.py`: stdlib and the kernel's own ipykernel (6.29 and later) only, Python
3.8 and later. ipykernel keeps in context variables which request outputs belong to, their *home*, and new threads begin
without: 6.x looks for a thread's oldest ancestor (displays, timers and threads that override `run` belong to the latest
cell), 7 takes the latest cell. Here work carries the context in which it was given, of which our variables alone are
taken: the user's own stay as they are. Output whose home nobody knows, such as a signal handler's, stays without one.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import functools
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Callable, Mapping

_TASKS = 4096
"""Tasks and futures whose homes are known, the latest ones: what is raised in them is told of when they are freed."""
Home = Mapping["contextvars.ContextVar[Any]", Any]
_HOME = "_supervisor_home"
_NOWHERE = "kernel"
"""The request that is named where the kernel itself complains, as it does of a client's message: there is none."""


def install(kernel: Any, streams: Any, after: Callable[..., None]) -> None:
    """Give work its home in this kernel, whose standard output and standard error are `streams`.

    `after` does something to a module once it is imported.
    """
    homes = Homes(kernel, streams)
    for follow in (homes.follow_threads, homes.follow_futures, homes.follow_loops):
        with contextlib.suppress(Exception):  # a Python that does it in another way: ipykernel's own homes are left
            follow()
    after("concurrent.futures.thread", homes.follow_executors)
    after("multiprocessing.pool", homes.follow_pools)
    for stream in streams:
        atexit.register(stream.flush)  # behind all that user code registers: nobody would send what that prints


class Homes:
    """The context variables that say where output belongs in one kernel, and who sets them."""

    def __init__(self, kernel: Any, streams: Any) -> None:
        shell, owners = kernel.shell, [*streams, kernel.shell.display_pub, kernel.shell.displayhook]
        for owner in owners:
            if not isinstance(getattr(owner, "_parent_header", None), contextvars.ContextVar):
                give_context(owner)
        if isinstance(getattr(shell, "_parent_header", None), contextvars.ContextVar):
            owners.append(shell)
        self.request: contextvars.ContextVar[Any] = contextvars.ContextVar("request")
        self.variables = [self.request, *(owner._parent_header for owner in owners)]
        self.parent_of, self.be_parent = kernel.get_parent, kernel.set_parent
        kernel.get_parent, kernel.set_parent = self.get_parent, self.set_parent
        nowhere = {stream._parent_header: {"msg_id": _NOWHERE} for stream in streams}
        with contextlib.suppress(AttributeError):  # ipykernel 6: requests are taken in the main thread
            kernel.shell_channel_thread_main = self.staying(kernel.shell_channel_thread_main, nowhere)

    def get_parent(self, channel: Any = None) -> Any:
        """The request that this works for, by which widgets tell outputs of theirs. Of a channel, the latest there."""
        return (self.request.get(None) if channel is None else None) or self.parent_of(channel)

    def set_parent(self, ident: Any, parent: Any, channel: str = "shell", **more: Any) -> None:
        """What comes is for this request."""
        if channel == "shell":
            self.request.set(parent)
        self.be_parent(ident, parent, channel, **more)

    def here(self) -> Home:
        """Where this is at home. Of the context our variables alone are kept: the user's may hold what is large."""
        return {each: value for each in self.variables if (value := each.get(None)) is not None}

    def enter(self, home: Home) -> list[Any]:
        """Be at home there from now on; what takes this back."""
        return [(each.reset, each.set(home[each])) for each in self.variables if each in home]

    @contextlib.contextmanager
    def within(self, home: Home | None) -> Iterator[None]:
        """Be at home there meanwhile; where that is not known, stay."""
        changes = [] if home is None else self.enter(home)
        try:
            yield
        finally:
            for reset, token in changes:
                reset(token)

    def staying(self, do: Callable[..., Any], home: Home) -> Callable[..., Any]:
        """What a coroutine function does, at home there."""

        @functools.wraps(do)
        async def doing(*args: Any, **kwargs: Any) -> Any:
            with self.within(home):
                return await do(*args, **kwargs)

        return doing

    def follow_threads(self) -> None:
        """A thread is at home where it was started."""
        cls: Any = threading.Thread
        start, bootstrap = cls.start, cls._bootstrap_inner

        @functools.wraps(start)
        def starting(thread: Any) -> None:
            thread.__dict__[_HOME] = self.here()
            start(thread)

        @functools.wraps(bootstrap)
        def bootstrapping(thread: Any) -> None:
            home, own = thread.__dict__.pop(_HOME, None), getattr(thread, "_context", None)
            if home is not None and isinstance(own, contextvars.Context):  # from Python 3.14 on it runs in that
                own.run(self.enter, home)
            elif home is not None:
                self.enter(home)
            bootstrap(thread)

        cls.start, cls._bootstrap_inner = starting, bootstrapping

    def follow_futures(self) -> None:
        """What is called when a future is done is at home where it was given."""
        cls: Any = concurrent.futures.Future
        add = cls.add_done_callback

        @functools.wraps(add)
        def adding(future: Any, callback: Any) -> None:
            home = self.here()

            @functools.wraps(callback, updated=())
            def calling(done: Any) -> Any:
                with self.within(home):
                    return callback(done)

            add(future, calling)

        cls.add_done_callback = adding

    def follow_executors(self, threads: Any) -> None:
        """What an executor's thread does is at home where it was given."""
        self._carry(threads._WorkItem, "run")

    def follow_pools(self, pool: Any) -> None:
        """What a ThreadPool's thread does, and what is called with its result, is at home where it was given."""
        for each in (pool.ApplyResult, pool.MapResult, pool.IMapIterator):
            self._carry(each, "_set")
        set_up = pool.ThreadPool._setup_queues

        @functools.wraps(set_up)
        def setting_up(threads: Any) -> None:
            set_up(threads)
            threads._inqueue = Jobs(threads._inqueue, weakref.ref(threads), self)

        pool.ThreadPool._setup_queues = setting_up

    def _carry(self, work: Any, method: str) -> None:
        """Have each `work` know where it was made, and be at home there in `method`."""
        make, do = work.__init__, getattr(work, method)

        @functools.wraps(make)
        def making(this: Any, *args: Any, **kwargs: Any) -> None:
            this.__dict__[_HOME] = self.here()  # before others know it
            make(this, *args, **kwargs)

        @functools.wraps(do)
        def doing(this: Any, *args: Any, **kwargs: Any) -> Any:
            with self.within(this.__dict__.get(_HOME)):
                return do(this, *args, **kwargs)

        work.__init__ = making
        setattr(work, method, doing)

    def follow_loops(self) -> None:
        """What a loop, the kernel's or another, complains of is at home where the task, the future or the callback was
        made."""
        loops: Any = asyncio.BaseEventLoop
        complain = loops.default_exception_handler
        made: dict[int, Home] = {}

        def noting(make: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(make)
            def making(*args: Any, **kwargs: Any) -> Any:
                thing = make(*args, **kwargs)
                made.pop(id(thing), None)
                made[id(thing)] = self.here()
                if len(made) > _TASKS:
                    with contextlib.suppress(RuntimeError, StopIteration):  # another thread's loop does so, too
                        made.pop(next(iter(made)), None)
                return thing

            return making

        @functools.wraps(complain)
        def complaining(loop: Any, context: Any) -> None:
            thing = context.get("task") or context.get("future")
            with self.within(getattr(context.get("handle"), "_context", None) or made.get(id(thing))):
                complain(loop, context)

        loops.create_task, loops.create_future = noting(loops.create_task), noting(loops.create_future)
        loops.default_exception_handler = complaining


class Jobs:
    """The queue from which a pool's threads take their jobs: whoever takes one is at home where it was given."""

    def __init__(self, queue: Any, pool: Any, homes: Homes) -> None:
        self.queue, self.pool, self.homes = queue, pool, homes

    def get(self, *args: Any, **kwargs: Any) -> Any:
        """The next job."""
        job = self.queue.get(*args, **kwargs)
        with contextlib.suppress(AttributeError, TypeError):  # it is the end, or the pool is gone
            self.homes.enter(getattr(self.pool()._cache.get(job[0]), _HOME))
        return job

    def __getattr__(self, name: str) -> Any:
        return getattr(self.queue, name)


def give_context(owner: Any) -> None:
    """Have an object of ipykernel 6 keep its parent per context, as that of 7 does."""
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("parent_header")
    latest = [owner.parent_header]

    def get(_: Any) -> Any:
        return variable.get(latest[0])

    def put(_: Any, value: Any) -> None:
        variable.set(value)
        latest[0] = value

    type(owner).parent_header = property(get, put)
    owner._parent_header = variable
