"""One client's connection as the tools see it: who asks, under which call, and what it has been told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kernel_supervisor.core.model import ExecutionId, KernelId, SessionName
from kernel_supervisor.core.ways import Words
from kernel_supervisor.keeping import Newest
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import Tasks

_PATIENCE = ("timed out", "timeout", "time-out")
"""In the reasons of clients that cancel because their own time was up."""
_CANCELS = 1000
"""How many of its cancelled calls are known: those that are carried through look whether they still are wanted."""
Generation: TypeAlias = tuple[KernelId | None, int]
"""A kernel, and how many times it had been started; none, and 0."""
OF_ALL = SessionName("")
"""Under which stands what is to be told of no session in particular."""


@dataclass(kw_only=True)
class Whereabouts:
    """Where a client works, as far as that had to be found out."""

    settled: bool = False
    """Whether it is decided."""
    cwd: str = ""
    """Its working directory, before anything else was decided."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is being decided: calls that come together are for one project."""
    asking: asyncio.Task[list[str] | None] | None = None
    """The question for its roots that is under way."""
    changed: bool = False
    """Whether it said that its roots have changed."""
    above: bool = False
    """Whether a command line works in a project above its working directory."""


@dataclass(kw_only=True)
class Caller:
    """The state of one connection; the SDK hands it to each call as `ctx.lifespan_context`."""

    asker: Asker
    supervisor: Supervisor
    ready: asyncio.Event
    """Set once the daemon has opened the records; every call waits for it."""
    admin: Admin
    cancels: Newest[int, str] = field(default_factory=lambda: Newest(_CANCELS))
    """Calls that the client cancelled, with its reason; what is cancelled and not in here lost its client."""
    again: set[int] = field(default_factory=set)
    """Calls that were handed to a daemon before, which may have done what they ask for."""
    noting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while what it has to know is looked for, before its call does anything: calls stay in their order."""
    heard: dict[SessionName, Generation] = field(default_factory=dict)
    """The kernel of each session when this client last heard of it, or anybody last worked there."""
    lost: defaultdict[SessionName, list[tuple[Generation, str]]] = field(default_factory=lambda: defaultdict(list))
    """By session: the kernels that it has no more, and since when, which this client was not told yet."""
    said: set[tuple[object, ...]] = field(default_factory=set)
    """What it was told that is said once: of which sort, and of which session or kernel."""
    places: dict[SessionName, str] = field(default_factory=dict)
    """By session: where its kernel worked when this client came to it, if not in its directory; empty once told."""
    cancelled: defaultdict[SessionName, list[ExecutionId]] = field(default_factory=lambda: defaultdict(list))
    """By session: the executions whose calls it cancelled, until it is told what came of them."""
    told: dict[str, str] = field(default_factory=dict)
    """The notice of each session that went out with its last result."""
    handshake: bool = False
    """Whether it opened its connection by a handshake: news come to it unasked, of what it subscribed to."""
    subscribed: set[str] = field(default_factory=set)
    """The resources that it wants news of, where it speaks of them by a handshake."""
    late: dict[str, int] = field(default_factory=dict)
    """By session: how much of what executions showed after their end it was told of."""
    notices: defaultdict[SessionName, list[Words]] = field(default_factory=lambda: defaultdict(list))
    """By session: what this client is to be told with its next result about it, once; under OF_ALL, with any."""
    gone: bool = False
    """Whether its client has gone: what is carried through for it is no company to others."""
    restarted: bool = False
    """Whether it knew another daemon before."""
    unanswered: set[str] = field(default_factory=set)
    """The questions that it was to ask its user, and had nobody to ask: others answer them."""
    preparing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Held while a result of its is prepared: one client never has all the threads for that."""
    documents: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    """Held while a notebook of its is written or read, likewise."""
    whereabouts: Whereabouts = field(default_factory=Whereabouts)
    """What is known of where it works."""
    tasks: Tasks = field(default_factory=Tasks)
    """What goes on as long as its connection does."""

    def gave_up(self, call: int) -> bool:
        """Whether its client cancelled a call on purpose: it did not only lose patience."""
        reason = self.cancels.get(call)
        return reason is not None and not any(word in reason.lower() for word in _PATIENCE)

    def call_key(self, call: int) -> str:
        """What makes a call the same call when it is sent again."""
        return f"{self.asker.client_id}:{call}"

    def first(self, sort: str, *about: object) -> bool:
        """Whether it is told that for the first time; it is, from now on."""
        new = (sort, *about) not in self.said
        self.said.add((sort, *about))
        return new


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """What the daemon lets its clients ask of itself, by methods that no agent sees."""

    status: Callable[[], dict[str, Any]]
    stop: Callable[[bool, str], None]
    """Stop the daemon soon; True ends the kernels first, and their sessions are told why if nobody asked for it."""
    stopping: asyncio.Event
    """Set when the daemon is about to stop on request: calls that wait answer with what there is."""
    hand_over: Callable[[], None]
    """Make way for another daemon: clients are not told to wait, calls stay open, kernels run on."""
