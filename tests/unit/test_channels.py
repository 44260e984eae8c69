"""Promise: whatever a kernel sends, and whatever becomes of it here, what it sends next is heard."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
import zmq.asyncio
from jupyter_client.session import DELIM, Session

from kernel_supervisor.core.model import Message
from kernel_supervisor.kernels.channels import Channels

DEADLINE_S = 60.0
ODD = [
    b"null",
    b"[]",
    b"7",
    b'"x"',
    b"{}",
    b'{"msg_id": 7, "msg_type": []}',
    b"[" * 100_000,
    b"\xff",
    b"",
    b"9" * 5_000,
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """On a path that is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="ks-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


def connection_file(folder: Path) -> Path:
    info = {"transport": "ipc", "ip": str(folder / "k"), "key": "secret", "signature_scheme": "hmac-sha256"}
    ports = {f"{name}_port": number for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
    (folder / "k.json").write_text(json.dumps({**info, **ports}))
    return folder / "k.json"


class Heard:
    """What comes of a kernel's messages: one of the type `odd` is more than this can bear."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.last = asyncio.Event()

    def take(self, message: Message) -> None:
        self.types.append(message.msg_type)
        if message.msg_type == "odd":
            raise RuntimeError("a fault of ours")
        if message.msg_type == "last":
            self.last.set()


async def said(folder: Path, frames: list[list[bytes]]) -> list[str]:
    """What is heard of these frames, up to a message of the type `last`."""
    heard = Heard()
    channels = Channels(connection_file(folder), "ours", heard.take)
    session = Session(key=b"secret")
    kernel: Any = zmq.asyncio.Context.instance().socket(zmq.XPUB)
    with kernel:
        kernel.setsockopt(zmq.LINGER, 0)
        kernel.bind(f"ipc://{folder}/k-2")
        await asyncio.wait_for(kernel.recv(), DEADLINE_S)  # somebody listens
        for each in [*frames, session.serialize(session.msg("last"))]:
            await kernel.send_multipart(each)
        await asyncio.wait_for(heard.last.wait(), DEADLINE_S)
        await channels.close()
    return heard.types


def test_a_message_that_is_more_than_we_can_bear_is_passed_over(folder: Path) -> None:
    session = Session(key=b"secret")
    frames = [session.serialize(session.msg(name)) for name in ("odd", "plain", "odd", "plain")]
    assert asyncio.run(said(folder, frames)) == ["odd", "plain", "odd", "plain", "last"]


@pytest.mark.parametrize("at", range(4))
def test_frames_with_anything_in_them_are_passed_over(folder: Path, at: int) -> None:
    session = Session(key=b"secret")
    frames: list[list[bytes]] = [[], [b""], [DELIM], [DELIM, b"signed"], [DELIM, b"", b"{}", b"{}", b"{}", b"{}"]]
    for odd in ODD:
        parts = [session.pack(session.msg_header("stream")), b"{}", b"{}", b"{}"] if at else [b"{}"] * 4
        parts[at] = odd
        frames.append([DELIM, session.sign(parts), *parts])
    heard = asyncio.run(said(folder, [each for each in frames if each]))
    assert heard[-1] == "last"
