"""A kernel's channels through a server's WebSocket, with the verbs of `kernels/channels.py:Channels`.

The connection is taken up again when it breaks, under the same session id: a server gives what it kept for that id
meanwhile, and a kernel's reply finds it. Nothing is sent twice: what became of a request whose connection broke is
for the owner of the kernel to find out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from jupyter_client.session import Session
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, WebSocketClosedError, WebSocketError, websocket_connect

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import Channel, Message, OnMessage
from kernel_supervisor.servers import framing, rest
from kernel_supervisor.servers.rest import FindServer, KernelGoneError, Server, ServerError
from kernel_supervisor.tasks import Tasks, happens

log = logging.getLogger(__name__)
_OPEN_S = 70.0
"""How long a WebSocket may take to open: a server asks the kernel first, and gives it 60 s."""
_SEND_S = 30.0
"""How long a request waits for a connection that is broken."""
_BACKOFF_S = (0.1, 5.0)
"""The first and the longest pause between two tries: a server that is back is noticed soon."""
_PING_S = 20.0
_LONGEST_MESSAGE = 1 << 29


class NotSentError(UnavailableError):
    """A request was certainly not sent."""


class ServerChannels:
    """A kernel's channels as its server gives them. `on_message` is called on the loop for each message, in order."""

    ask_again_s = 1.0

    def __init__(
        self,
        find_server: FindServer,
        kernel_id: str,
        identity: str,
        on_message: OnMessage,
        *,
        on_resumed: Callable[[str], None],
        on_gone: Callable[[str], None],
    ) -> None:
        """Begin to connect. `find_server` is asked before each try.

        `on_resumed` is called on the loop when a broken connection is up again, with what is to be said of the time
        between; `on_gone` when the server has the kernel no more, with why.
        """
        self._find_server, self._kernel_id = find_server, kernel_id
        self._on_message, self._on_resumed, self._on_gone = on_message, on_resumed, on_gone
        self.session = Session(session=identity, username="supervisor", key=os.urandom(16))  # the server signs
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._connection: WebSocketClientConnection | None = None
        self._up = asyncio.Event()
        self._writing = asyncio.Lock()
        self.trouble = "it is being connected to"
        """Why there is no connection; empty where there is one."""
        self._gone = ""
        self._keeper = Tasks()
        self._keeper.keep(self._keep, f"connection to kernel {kernel_id}")

    async def connected(self, deadline_s: float) -> WebSocketClientConnection:
        """Wait for the connection. Raises KernelGoneError, NotSentError with the reason that there is none."""
        await happens(self._up, deadline_s)
        if self._gone:
            raise KernelGoneError(self._gone)
        if self._connection is None:
            raise NotSentError(self.trouble or "the connection was lost")
        return self._connection

    async def send(
        self, channel: Channel, msg_type: str, content: dict[str, Any], own: Mapping[str, str] = {}, parent: Any = None
    ) -> None:
        """Send a request, with what its header is to have of its `own`.

        Raises NotSentError and KernelGoneError where it was certainly not sent. Where the connection breaks
        meanwhile nobody knows; the watcher hears of that.
        """
        message = self.session.msg(msg_type, content, parent=parent)
        message["header"].update(own)
        await self._send(channel, message)

    async def ask(
        self, channel: Channel, msg_type: str, content: dict[str, Any], deadline_s: float, sign_s: float | None = None
    ) -> dict[str, Any]:
        """Send a request and return the content of its reply. Raises TimeoutError, also where the connection breaks.

        No conclusion is drawn from a missing sign: over a network it may just be late.
        """
        message = self.session.msg(msg_type, content)
        reply = asyncio.get_running_loop().create_future()
        self._replies[message["header"]["msg_id"]] = reply
        try:
            return await asyncio.wait_for(self._exchange(channel, message, reply), deadline_s)
        except (asyncio.TimeoutError, ConnectionError, NotSentError) as error:
            raise TimeoutError(f"no {msg_type} reply within {deadline_s:g} s: {error}") from None
        finally:
            del self._replies[message["header"]["msg_id"]]

    async def _exchange(
        self, channel: Channel, request: dict[str, Any], reply: asyncio.Future[Message]
    ) -> dict[str, Any]:
        await self._send(channel, request)
        return (await reply).content

    async def _send(self, channel: Channel, request: dict[str, Any]) -> None:
        connection = await self.connected(_SEND_S)
        frame = framing.encode(connection.selected_subprotocol, channel, request)
        if connection.protocol is None:
            raise NotSentError("the connection was lost")
        try:
            async with self._writing:
                await asyncio.wait_for(connection.write_message(frame, binary=isinstance(frame, bytes)), _SEND_S)
        except (WebSocketClosedError, asyncio.TimeoutError) as error:
            log.warning("kernel %s: a request may have been lost: %s", self._kernel_id, type(error).__name__)
            connection.close()

    def hear_only(self, topics: Sequence[bytes]) -> None:
        """Take everything: a server cannot be told to send less."""

    async def hear(self, deadline_s: float) -> None:
        """Return at once: a server sees to it that what is published arrives."""

    # The connection

    async def _keep(self) -> None:
        """Connect, read until it breaks, and again."""
        broken_at, pause_s = 0.0, _BACKOFF_S[0]
        while True:
            try:
                server = await self._find_server()
                connection = await self._open(server)
            except KernelGoneError as error:
                self._gone = self.trouble = str(error)
                self._up.set()
                self._on_gone(str(error))
                return
            except ServerError as error:
                self.trouble = str(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _BACKOFF_S[1])
                continue
            self.trouble, pause_s = "", _BACKOFF_S[0]
            self._connection = connection
            if broken_at:
                self._on_resumed(f"the connection to {server.words} was broken from {_span(broken_at)}")
            self._up.set()
            try:
                await self._read(connection)
            finally:
                self._down(connection)
            broken_at = time.time()

    async def _open(self, server: Server) -> WebSocketClientConnection:
        """A connection. Raises ServerError, KernelGoneError."""
        await rest.find_kernel(server, self._kernel_id)  # says more than a WebSocket that does not open
        base = server.url.replace("http", "ws", 1)
        query = urlencode({"session_id": self.session.session})
        request = HTTPRequest(
            f"{base}api/kernels/{quote(self._kernel_id)}/channels?{query}",
            headers=server.headers,
            follow_redirects=False,
            connect_timeout=_OPEN_S,
            request_timeout=_OPEN_S,
        )
        opening = websocket_connect(
            request,
            ping_interval=_PING_S,
            ping_timeout=_PING_S,
            max_message_size=_LONGEST_MESSAGE,
            subprotocols=[framing.V1],
        )
        try:
            return await asyncio.wait_for(asyncio.ensure_future(opening), _OPEN_S + 1)
        except asyncio.TimeoutError:
            raise ServerError(f"{server.words} did not open a WebSocket within {_OPEN_S:g} s") from None
        except (*rest.FAULTS, WebSocketError) as error:
            if isinstance(error, HTTPClientError) and error.response is not None:
                raise rest.why_refused(server, error.code, error.response.headers, str(error.message)) from None
            raise ServerError(f"{server.words} did not open a WebSocket: {rest.fault(server, error)}") from None

    async def _read(self, connection: WebSocketClientConnection) -> None:
        while (frame := await connection.read_message()) is not None:
            try:
                self._hand_on(framing.decode(connection.selected_subprotocol, frame))
            except Exception:  # one odd message must not make us deaf to all that follow
                log.exception("kernel %s: a message was passed over", self._kernel_id)
            del frame

    def _hand_on(self, message: Message) -> None:
        waiting = self._replies.get(message.parent_id)
        if message.channel in ("shell", "control") and waiting is not None and not waiting.done():
            waiting.set_result(message)
        if message.channel in ("shell", "control", "iopub", "stdin"):
            self._on_message(message)

    def _down(self, connection: WebSocketClientConnection) -> None:
        connection.close()
        self._connection = None
        self._up.clear()
        self.trouble = "the connection was lost"
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionResetError("the connection was lost"))

    async def close(self) -> None:
        """Stop reading and drop the connection; the kernel runs on."""
        await self._keeper.close()


def _span(since: float) -> str:
    return " to ".join(time.strftime("%H:%M:%S", time.localtime(at)) for at in (since, time.time()))
