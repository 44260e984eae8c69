"""The ROUTER socket and its clients: who is connected, who has gone, which frame is whose."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from functools import partial
from typing import Any

import zmq
import zmq.asyncio
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import SubscriptionBus

from kernel_supervisor import __version__
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.daemon.connection import Connection
from kernel_supervisor.daemon.openings import Openings
from kernel_supervisor.daemon.version import differences
from kernel_supervisor.envelope import (
    BYE,
    HELLO,
    PROTOCOL,
    RPC,
    STOPPING,
    WELCOME,
    WHO,
    EnvelopeError,
    Frame,
    pack,
    unpack,
)
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.mcp.caller import OF_ALL, Admin, Caller
from kernel_supervisor.sessions.asker import Asker, from_hello
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import Tasks, happens

log = logging.getLogger(__name__)
_FLUSH_S = 1.0
_PARTING_S = 10.0
_LAST_WORDS_S = 1.0
"""How long what a client sent before its end may be on its way: a cancel may be among it."""


class Router:
    """Every connected client of one daemon."""

    def __init__(
        self, socket: Any, supervisor: Supervisor, admin: Admin, server: Server[Caller], news: SubscriptionBus
    ) -> None:
        self._socket, self._supervisor, self._admin, self._server, self._news = socket, supervisor, admin, server, news
        identity = identify(os.getpid())
        assert identity is not None
        self._identity = identity
        self._connections: dict[bytes, Connection] = {}
        self._watches: dict[bytes, asyncio.Task[None]] = {}
        self._gone: set[bytes] = set()  # of the connected, those that are heard out
        self._openings = Openings(supervisor.paths)
        self._tasks, self._partings = Tasks(), Tasks()
        self._outgoing: asyncio.Queue[tuple[bytes, list[bytes]]] = asyncio.Queue()
        self.ready = asyncio.Event()
        """Set when calls may be served."""

    @property
    def clients(self) -> list[Asker]:
        """Who is connected."""
        return [each.caller.asker for identity, each in self._connections.items() if identity not in self._gone]

    async def serve(self) -> None:
        """Take frames until cancelled. Clients take turns: the socket gives one frame of each that sent some, and what
        a frame set off has its turn before the next one."""
        self._tasks.begin(self._send_all(), "frames out")
        while True:
            identity, *parts = await self._socket.recv_multipart()
            try:
                self._take(identity, unpack(parts))
            except (EnvelopeError, RefusedError) as error:
                log.warning("a client was let go of for a frame that is not one of ours: %s", error)
                self._let_go(identity)
            except Exception:  # whatever it is, it concerns one client alone
                log.exception("a client was let go of for a frame that could not be taken")
                self._let_go(identity)
            await asyncio.sleep(0)

    def _take(self, identity: bytes, frame: Frame) -> None:
        if frame.kind == HELLO:
            self._welcome(identity, from_hello(frame.header), frame.header.get("known") or [])
        elif frame.kind == BYE:
            self._drop(identity)
        elif frame.kind == RPC:
            connection = self._connections.get(identity)
            if connection is None:
                self.send(identity, WHO, {})
            else:
                connection.take(frame.header.get("call"), frame.body, again=bool(frame.header.get("again")))

    def _let_go(self, identity: bytes) -> None:
        """Drop a client, and tell it so that it says hello again, should it go on as it is to."""
        if identity in self._connections:
            self._drop(identity)
            self.send(identity, WHO, {})

    def _welcome(self, identity: bytes, asker: Asker, known: list[int]) -> None:
        self._supervisor.kernels.servers.learn(asker.surroundings.env)
        pid, start = self._identity.pid, self._identity.start
        self.send(identity, WELCOME, {"protocol": PROTOCOL, "version": __version__, "pid": pid, "start": start})
        if identity in self._connections:
            return  # a hello that was said again because the first answer took its time
        caller = Caller(asker=asker, supervisor=self._supervisor, ready=self.ready, admin=self._admin)
        caller.restarted = bool(known) and known != [pid, start]
        if odd := differences(asker.version):
            caller.notices[OF_ALL].append(odd)
        send, incarnation = partial(self.send, identity), f"{pid}.{start}"
        over = partial(self._let_go, identity)
        self._connections[identity] = Connection(
            caller, self._server, self._news, self._openings, send, incarnation, over
        )
        self._watches[identity] = self._tasks.begin(self._see_off(identity, asker.pid), "watch of a client")

    async def _see_off(self, identity: bytes, pid: int) -> None:
        """Part from a client once it has ended: a ROUTER is not told that a killed one is gone."""
        known = identify(pid)
        with contextlib.suppress(ProcessLookupError):
            if known is not None:
                with contextlib.closing(Process(known)) as process:
                    await process.ended()
        self._part(identity)

    def _part(self, identity: bytes) -> None:
        """A client is gone without a word: nobody has it for company any more, and it is heard out."""
        connection = self._connections.get(identity)
        if connection is not None and identity not in self._gone:
            self._gone.add(identity)
            self._goodbye(connection.caller)
            self._tasks.begin(self._drop_once_heard(identity), "the last words of a client")

    async def _drop_once_heard(self, identity: bytes) -> None:
        await asyncio.sleep(_LAST_WORDS_S)
        self._drop(identity)

    def _drop(self, identity: bytes) -> None:
        """Forget a client. What it has under way is let go of meanwhile: nobody else waits for that."""
        watch = self._watches.pop(identity, None)
        if watch is not None:
            watch.cancel()
        connection = self._connections.pop(identity, None)
        self._gone.discard(identity)
        if connection is not None:
            self._goodbye(connection.caller)
            self._partings.begin(connection.close(), "parting from a client")

    def _goodbye(self, caller: Caller) -> None:
        """A client works nowhere any more, unless it is connected anew."""
        caller.gone, asker = True, caller.asker
        if asker.client_id not in {each.client_id for each in self.clients}:
            self._supervisor.sessions.goodbye(asker.client_id)

    def send(self, identity: bytes, kind: bytes, header: dict[str, Any], body: bytes = b"") -> None:
        """Queue a frame to a client; one that is gone is dropped."""
        self._outgoing.put_nowait((identity, pack(kind, header, body)))

    async def _send_all(self) -> None:
        """The only sender: a send beside asyncio's, on the raw socket, would strand what is being received."""
        while True:
            identity, parts = await self._outgoing.get()
            try:
                await self._socket.send_multipart([identity, *parts])
            except zmq.ZMQError as error:  # EHOSTUNREACH: ROUTER_MANDATORY says so
                log.info("a client is not there any more: %s", error)
                self._part(identity)
            finally:
                self._outgoing.task_done()

    async def answered(self, deadline_s: float) -> None:
        """Wait until no call is open, `deadline_s` at most."""
        await asyncio.gather(*(happens(each.answered, deadline_s) for each in self._connections.values()))

    async def close(self, *, told: bool) -> None:
        """Let go of all clients. `told`: they are to start a daemon again only when asked for something."""
        if told:
            for identity in list(self._connections):
                self.send(identity, STOPPING, {})
        for identity in list(self._connections):
            self._drop(identity)
        await self._partings.close(_PARTING_S)
        await self._openings.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._outgoing.join(), _FLUSH_S)
        await self._tasks.close()
