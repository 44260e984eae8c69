"""A kernel's channels as a client sees them: one connection, one identity, one reader task per socket.

Not jupyter_client's `AsyncKernelClient`: its `send` writes raw and blocking on a shadow socket, which strands
replies that another task waits for and can stop the event loop. Serialised frames are sent with the asyncio
socket instead. `rcvhwm` is 0: the default of 1,000 drops messages, the idle status among them.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.session import DELIM, Session

from kernel_supervisor.core.model import Channel, Message, OnMessage, message_of
from kernel_supervisor.kernels.connection import read_connection
from kernel_supervisor.tasks import Tasks, happens

log = logging.getLogger(__name__)

_SOCKETS: dict[Channel, int] = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}
_HEAR_AGAIN_S = 0.5
_KNOCK_MS, _RARELY_MS = 10, 200
"""How soon a connection is tried again to a kernel that has not laid its sockets yet, and how seldom in the end."""


class NoSignError(TimeoutError):
    """The kernel did not even begin with a request: none of its Python threads runs."""


class Channels:
    """Connected sockets of one kernel. `on_message` is called on the loop for each message, in order."""

    ask_again_s = 0.05
    trouble = ""

    def __init__(self, connection_file: Path, identity: str, on_message: OnMessage) -> None:
        """Connect.

        `identity` is the ZeroMQ identity and Jupyter session id: a successor that uses the same one gets
        the replies that were meant for its predecessor. Raises OSError or ValueError for a connection file
        that cannot be read or used.
        """
        info = read_connection(connection_file)
        self._on_message = on_message
        self.session = Session(
            key=info["key"].encode(),
            signature_scheme=info["signature_scheme"],
            session=identity,
            username="supervisor",
        )
        self.session.check_pid = False
        context = zmq.asyncio.Context.instance()
        self._sockets: dict[Channel, Any] = {}
        try:
            for name, kind in _SOCKETS.items():
                self._sockets[name] = context.socket(kind)
                self._connect(name, info)
        except zmq.ZMQError as error:
            self._close_sockets()
            raise ValueError(f"{connection_file} names sockets that cannot be: {error}") from error
        self._replies: dict[str, asyncio.Future[Message]] = {}
        self._signs: dict[str, asyncio.Event] = {}
        self._readers = Tasks()
        for name in _SOCKETS:
            self._readers.keep(partial(self._read, name), f"read {name} of {connection_file.stem}")

    def _connect(self, name: Channel, info: dict[str, Any]) -> None:
        socket = self._sockets[name]
        for option in (zmq.LINGER, zmq.SNDHWM, zmq.RCVHWM):
            socket.setsockopt(option, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, _KNOCK_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, _RARELY_MS)
        if _SOCKETS[name] == zmq.DEALER:
            socket.setsockopt(zmq.IDENTITY, self.session.bsession)
        else:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        separator = "-" if info["transport"] == "ipc" else ":"
        socket.connect(f"{info['transport']}://{info['ip']}{separator}{info[name + '_port']}")

    async def connected(self, deadline_s: float) -> None:
        """Nothing is to be waited for: requests wait in the socket."""

    async def send(
        self, channel: Channel, msg_type: str, content: dict[str, Any], own: Mapping[str, str] = {}, parent: Any = None
    ) -> None:
        """Send a request, with what its header is to have of its `own`."""
        message = self.session.msg(msg_type, content, parent=parent)
        message["header"].update(own)
        await self._sockets[channel].send_multipart(self.session.serialize(message))

    async def ask(
        self, channel: Channel, msg_type: str, content: dict[str, Any], deadline_s: float, sign_s: float | None = None
    ) -> dict[str, Any]:
        """Send a request and return the content of its reply. Raises TimeoutError.

        `sign_s` is how long the kernel may give no sign that it works on the request: a status of it on iopub.
        ipykernel's control thread publishes one before it looks at what is asked; `lookup` goes on with that. Raises
        NoSignError where there was none at all.
        """
        message = self.session.msg(msg_type, content)
        number = message["header"]["msg_id"]
        loop = asyncio.get_running_loop()
        reply = self._replies[number] = loop.create_future()
        sign = self._signs[number] = asyncio.Event()
        try:
            await self._sockets[channel].send_multipart(self.session.serialize(message))
            end, seen = loop.time() + deadline_s, False
            while not reply.done():
                await asyncio.wait({reply}, timeout=max(0.0, min(end - loop.time(), sign_s or deadline_s)))
                silent = sign_s is not None and not sign.is_set()
                if not reply.done() and (silent or loop.time() >= end):
                    kind = NoSignError if silent and not seen else TimeoutError
                    raise kind(f"no {msg_type} reply within {deadline_s:g} s")
                seen = True
                sign.clear()
            return dict(reply.result().content)
        finally:
            del self._replies[number], self._signs[number]

    def hear_only(self, topics: Sequence[bytes]) -> None:
        """Of what the kernel publishes take only what begins with these topics."""
        for topic in topics:
            self._sockets["iopub"].setsockopt(zmq.SUBSCRIBE, topic)
        self._sockets["iopub"].setsockopt(zmq.UNSUBSCRIBE, b"")

    async def hear(self, deadline_s: float) -> None:
        """Return once what the kernel publishes arrives, or its time is up: a socket takes its time to find a process
        that is started again, and what is published before is lost."""
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        while loop.time() < end:
            message = self.session.msg("kernel_info_request", {})
            number = message["header"]["msg_id"]
            sign = self._signs[number] = asyncio.Event()
            try:
                await self._sockets["control"].send_multipart(self.session.serialize(message))
                if await happens(sign, _HEAR_AGAIN_S):
                    return
            finally:
                del self._signs[number]

    async def _read(self, name: Channel) -> None:
        socket = self._sockets[name]
        while True:
            frames = await socket.recv_multipart()
            try:
                self._hand_on(name, self._decoded(name, frames))
            except Exception:  # one odd message must not make us deaf to all that follow
                log.exception("a message on %s was passed over", name)

    def _hand_on(self, name: Channel, message: Message) -> None:
        sign, waiting = self._signs.get(message.parent_id), self._replies.get(message.parent_id)
        if sign is not None and name == "iopub":
            sign.set()
        if name in ("shell", "control") and waiting is not None and not waiting.done():
            waiting.set_result(message)
        self._on_message(message)

    def _decoded(self, channel: Channel, frames: list[bytes]) -> Message:
        """A message whose signature is right. Raises ValueError.

        Not `Session.deserialize`: it turns every string that looks like a date into one, in the content too,
        which costs more than all the rest.
        """
        start = frames.index(DELIM) + 1
        signature, parts = frames[start], frames[start + 1 : start + 5]
        if self.session.auth is not None and not hmac.compare_digest(self.session.sign(parts), signature):
            raise ValueError("the signature is wrong")
        return message_of(channel, [json.loads(part) for part in parts], frames[start + 5 :], parts[3])

    async def close(self) -> None:
        """Stop reading and drop the sockets."""
        await self._readers.close()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for each in self._sockets.values():
            each.close(0)
