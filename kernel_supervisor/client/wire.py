"""One ZeroMQ connection to one incarnation of the daemon, and the news of its end."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import zmq

from kernel_supervisor.envelope import EnvelopeError, Frame, pack, unpack
from kernel_supervisor.paths import Paths

_NEVER_MS = 86_400_000
"""Not -1: without a reconnection the last frames before the end are dropped where they were not read yet."""


class Wire:
    """A DEALER socket that is thrown away with the daemon it was connected to.

    A DEALER that lived on would deliver old frames to the next daemon before its hello.
    """

    def __init__(self, paths: Paths) -> None:
        self.socket: Any = zmq.Context.instance().socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.SNDHWM, 0), (zmq.RCVHWM, 0), (zmq.RECONNECT_IVL, _NEVER_MS)):
            self.socket.setsockopt(option, value)
        self.monitor: Any = self.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
        self.socket.connect(f"ipc://{paths.socket}")

    def send(self, kind: bytes, header: dict[str, Any], body: bytes = b"") -> None:
        """Queue one frame; never blocks.

        Where the connection has just ended there is nothing to queue it on (a blocking send would wait for
        ever); `lost` says so next, and the next daemon is sent everything that is unanswered.
        """
        with contextlib.suppress(zmq.Again):
            self.socket.send_multipart(pack(kind, header, body), zmq.NOBLOCK)

    def receive(self) -> Frame | None:
        """The next frame, or None where there is none now. What is not a frame of ours is passed over."""
        while True:
            try:
                return unpack(self.socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return None
            except EnvelopeError:
                continue

    def lost(self) -> bool:
        """Whether the connection has ended. Consumes what the monitor had to say."""
        ended = False
        while self.monitor.poll(0):
            event, _ = struct.unpack("=hi", self.monitor.recv_multipart()[0])
            ended = ended or event in (zmq.EVENT_DISCONNECTED, zmq.EVENT_CLOSED)
        return ended

    def finish(self, linger_ms: int) -> None:
        """Close, and return once all is sent, or after `linger_ms`; for a process that ends without unwinding."""
        self.close(linger_ms)
        zmq.Context.instance().term()

    def close(self, linger_ms: int = 0) -> None:
        """Drop the connection; frames not yet sent get `linger_ms`."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(linger_ms)
