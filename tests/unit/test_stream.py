"""A kernel's stream: each reader at its own place, in bounded memory, and what could not be recorded behind it."""

from __future__ import annotations

import asyncio
import json
import socket
import tempfile
import threading
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.inside.recorder import UNRECORDED
from kernel_supervisor.records.bell import Bell
from kernel_supervisor.records.messagelog import (
    Entry,
    MessageLogWriter,
    Passed,
    encode_mark,
    encode_message,
    read,
)
from kernel_supervisor.records.stream import Place, Stream

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
CONTROL = ("execute_input", "execute_reply", "error", "status", "input_request", "supervisor_input_over", "odd")
OUTPUTS = ("stream", "display_data", "update_display_data", "execute_result", "clear_output", "comm_open", "comm_msg")


def record(number: int, msg_type: str = "stream", parent: str = "p", text: str = "") -> bytes:
    return encode_message("iopub", raw(number, msg_type, parent, text))


def raw(number: int, msg_type: str = "stream", parent: str = "p", text: str = "") -> dict[str, Any]:
    return {
        "header": {"msg_id": f"m{number}", "msg_type": msg_type, "date": ""},
        "parent_header": {"msg_id": parent},
        "metadata": {},
        "content": {"text": text},
    }


def message(path: Path, number: int, parent: str = "p", text: str = "") -> Message:
    """A message as it is read back."""
    path.write_bytes(record(number, parent=parent, text=text))
    ((_, item),) = read(path)
    assert isinstance(item, Message)
    return item


def wrapped(number: int, buffer: bytes = b"") -> Message:
    """What the recorder sends in the place of a message that it could not write."""
    parts = [json.dumps(raw(number)[part]).encode() for part in ("header", "parent_header", "metadata", "content")]
    content = {"channel": "iopub"}
    buffers = (*parts, buffer) if buffer else tuple(parts)
    return Message(
        channel="iopub",
        msg_type=UNRECORDED,
        msg_id="w",
        parent_id="",
        date="",
        username="",
        content=content,
        buffers=buffers,
    )


def told(item: Message | Mark | Passed) -> str:
    """The id of a message, the detail of a mark."""
    if isinstance(item, Passed):
        return f"({item.msg_type})"
    return item.msg_id if isinstance(item, Message) else item.detail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "k.messages"


def all_of(stream: Stream, position: int = 0, end: int | None = None) -> list[Entry]:
    """What `take` gives until there is no more."""
    entries: list[Entry] = []
    while (taken := stream.take(position, end))[0]:
        entries += taken[0]
        position = taken[1]
    assert taken[1] == position or not entries
    return entries


async def test_control_messages_are_whole_and_outputs_are_passed_over(log: Path) -> None:
    kinds = [*CONTROL, *OUTPUTS]
    mark = encode_mark(Mark(kind="gap", parent_id="", detail="a gap"))
    log.write_bytes(b"".join(record(number, kind) for number, kind in enumerate(kinds)) + mark)
    entries = all_of(Stream(str(log)))
    numbers = [f"m{number}" for number in range(len(CONTROL))]
    assert [told(entry.item) for entry in entries] == [*numbers, *(f"({kind})" for kind in OUTPUTS), "a gap"]
    for entry in entries:
        ((end, _),) = read(log, entry.start, entry.end)
        assert end == entry.end, "each can be read again from its place"


async def test_one_that_takes_goes_on_where_it_stopped_and_is_never_given_more_than_a_piece(log: Path) -> None:
    log.write_bytes(b"".join(record(number, "status") for number in range(2_500)))
    stream = Stream(str(log))
    first, position = stream.take(0)
    assert len(first) == 1_000
    assert [told(entry.item) for entry in [*first, *all_of(stream, position)]] == [f"m{n}" for n in range(2_500)]
    assert all_of(stream, log.stat().st_size) == []
    assert stream.take(position, position) == ([], position), "the end is exclusive"


async def test_large_control_messages_come_a_few_at_a_time(log: Path) -> None:
    log.write_bytes(b"".join(record(number, "error", text="x" * (3 << 19)) for number in range(20)))
    stream = Stream(str(log))
    tracemalloc.start()
    try:
        position, count = 0, 0
        while (taken := stream.take(position))[0]:
            count += len(taken[0])
            position = taken[1]
            del taken
        assert count == 20
        assert tracemalloc.get_traced_memory()[1] < 25 << 19, "of 30 MB"
    finally:
        tracemalloc.stop()


async def test_a_log_that_is_not_there_or_cannot_be_read_has_nothing_now(tmp_path: Path) -> None:
    assert Stream(str(tmp_path / "none")).take(0) == ([], 0)
    assert Stream(str(tmp_path)).take(7) == ([], 7)


async def test_a_ring_wakes_those_who_waited_and_nobody_after_them(log: Path) -> None:
    stream = Stream(str(log))
    waited = stream.rings.next
    stream.rings.tell()
    assert waited.is_set()
    assert not stream.rings.next.is_set()


async def followed(stream: Stream, start: int, msg_id: str) -> AsyncGenerator[Message | Mark, None]:
    place = Place(start)
    while True:
        rung = stream.rings.next
        found, place = await stream.more(msg_id, place, None)
        while found:
            yield found.pop(0)
        await stream.wait(rung)


async def next_ones(following: AsyncIterator[Message | Mark], count: int) -> list[str]:
    return [told(await asyncio.wait_for(anext(following), 30)) for _ in range(count)]


async def test_one_who_follows_gets_one_execution_whole_as_it_comes(log: Path) -> None:
    writer = MessageLogWriter(log)
    before = record(0)
    mark = encode_mark(Mark(kind="limit", parent_id="p", detail="its mark"))
    general = encode_mark(Mark(kind="hole", parent_id="", detail="a mark for all"))
    async with aclosing(followed(Stream(str(log)), len(before), "p")) as following:
        for each in (before, record(1), record(2, parent="other"), record(3, "status"), mark):
            writer.append(each)
        assert await next_ones(following, 3) == ["m1", "m3", "its mark"]
        later = asyncio.ensure_future(next_ones(following, 2))
        for each in (record(4, parent="other"), general, record(5)):
            writer.append(each)
        assert await later == ["a mark for all", "m5"]
    writer.close()


async def test_one_who_follows_is_woken_by_the_kernels_bell(log: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ks-", dir="/tmp") as folder:  # a path that is short enough for sockets
        await _follow_by_bell(log, folder + "/k-bell")


async def _follow_by_bell(log: Path, path: str) -> None:
    bell = Bell(path)
    stream = Stream(str(log), bell)
    stream._look_s = 3600  # nothing but the bell
    async with aclosing(followed(stream, 0, "p")) as following:
        coming = asyncio.ensure_future(next_ones(following, 1))
        await asyncio.wait({coming}, timeout=0.1)
        log.write_bytes(record(1))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"!", path)
        assert await coming == ["m1"]
    bell.close()


async def test_one_who_follows_holds_one_large_record_at_a_time(log: Path) -> None:
    log.write_bytes(b"".join(record(number, text="x" * (4 << 20)) for number in range(6)))
    async with aclosing(followed(Stream(str(log)), 0, "p")) as following:
        tracemalloc.start()
        try:
            assert await next_ones(following, 6) == [f"m{n}" for n in range(6)]
            assert tracemalloc.get_traced_memory()[1] < 20 << 20, "decoding one takes three times its size"
        finally:
            tracemalloc.stop()


async def test_what_could_not_be_recorded_stands_behind_the_log(log: Path) -> None:
    log.write_bytes(record(1))
    stream = Stream(str(log))
    waited = stream.rings.next
    stream.keep(wrapped(2, b"\x00buffer"))
    assert waited.is_set()
    (kept,), times = stream.unrecorded()
    assert isinstance(kept, Message)
    assert (kept.msg_id, kept.parent_id, kept.channel, kept.buffers) == ("m2", "p", "iopub", (b"\x00buffer",))
    assert stream.unrecorded(times) == ([], times)
    async with aclosing(followed(stream, 0, "p")) as following:
        assert await next_ones(following, 2) == ["m1", "m2"]
        stream.keep(wrapped(3))
        assert await next_ones(following, 1) == ["m3"]


async def test_a_message_that_cannot_be_unwrapped_is_nothing(log: Path) -> None:
    stream = Stream(str(log))
    broken = wrapped(1)
    for buffers in ((), (b"{", *broken.buffers[1:]), broken.buffers[:3], (b"[]",) * 4):
        stream.keep(Message(**{**{name: getattr(broken, name) for name in Message.__slots__}, "buffers": buffers}))
    assert stream.unrecorded() == ([], 0)


async def test_of_what_could_not_be_recorded_the_oldest_goes_and_that_is_said(log: Path, tmp_path: Path) -> None:
    stream = Stream(str(log))
    for number, parent in enumerate(("first", "second", "third")):
        stream.keep(message(tmp_path / "one", number, parent, "x" * (3 << 20)))
    lost, *kept = stream.unrecorded()[0]
    assert isinstance(lost, Mark)
    assert (lost.kind, lost.parent_id) == ("hole", "first")
    assert [each.parent_id for each in kept] == ["second", "third"]


async def test_readers_and_a_writer_meet_in_any_order(log: Path) -> None:
    count, stream = 1_500, Stream(str(log))

    def write() -> None:
        writer = MessageLogWriter(log)
        for number in range(count):
            writer.append(record(number, text="x" * (number % 7 * 500)))
        writer.close()

    async def follow() -> list[str]:
        async with aclosing(followed(stream, 0, "p")) as following:
            return await next_ones(following, count)

    followers = [asyncio.ensure_future(follow()) for _ in range(3)]
    thread = threading.Thread(target=write)
    thread.start()
    for follower in followers:
        assert await follower == [f"m{n}" for n in range(count)]
    await asyncio.to_thread(thread.join)


async def test_a_place_in_what_another_daemon_kept_is_none_in_this_ones(log: Path) -> None:
    log.write_bytes(record(1))
    stream = Stream(str(log))
    stream.keep(wrapped(2))
    found, _ = await stream.more("p", Place(log.stat().st_size, kept=7), None)
    assert [told(each) for each in found] == ["m2"]
