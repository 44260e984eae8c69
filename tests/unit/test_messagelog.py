"""The message log: whatever happens to the file, reading never raises, never invents, loses at most what was torn."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.records import messagelog
from tests.unit.test_messagelog_heads import lay

_TEXT = st.text(max_size=40) | st.just("\n00000000 []\n") | st.just('\n{"a": 1}\n')


def a_message(number: int, text: str, buffers: tuple[bytes, ...] = ()) -> dict[str, Any]:
    return {
        "header": {"msg_id": f"m{number}", "msg_type": "stream", "date": "2026-01-01T00:00:00Z"},
        "parent_header": {"msg_id": "parent", "username": "me"},
        "metadata": {},
        "content": {"name": "stdout", "text": text},
        "buffers": list(buffers),
    }


def read(path: Path, start: int = 0, end: int | None = None) -> list[Message | Mark]:
    return [item for _, item in messagelog.read(path, start, end)]


def ids(items: list[Message | Mark]) -> list[str]:
    return [item.msg_id for item in items if isinstance(item, Message)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "k.messages"


def test_a_message_comes_back_as_it_was_sent(path: Path) -> None:
    lay(path, messagelog.encode_message("iopub", a_message(1, "é\udc80\x00\n", (b"\x00\xff", b""))))
    (item,) = read(path)
    assert isinstance(item, Message)
    assert item.content == {"name": "stdout", "text": "é\udc80\x00\n"}
    assert item.buffers == (b"\x00\xff", b"")
    assert (item.channel, item.msg_type, item.parent_id, item.username) == ("iopub", "stream", "parent", "me")


def test_a_mark_comes_back(path: Path) -> None:
    mark = Mark(kind="gap", parent_id="", detail="nobody listened")
    lay(path, messagelog.encode_mark(mark))
    assert read(path) == [mark]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []


@given(texts=st.lists(_TEXT, min_size=1, max_size=8), data=st.data())
@settings(max_examples=2 * settings().max_examples)
def test_a_torn_tail_loses_only_itself(path: Path, texts: list[str], data: st.DataObject) -> None:
    records = [messagelog.encode_message("iopub", a_message(number, text)) for number, text in enumerate(texts)]
    torn = data.draw(st.integers(0, len(records) - 1))
    cut = data.draw(st.integers(0, len(records[torn]) - 1))
    whole = [f"m{number}" for number in range(len(records)) if number != torn]
    lay(path, b"".join((*records[:torn], records[torn][:cut], *records[torn + 1 :])))
    found = ids(read(path))
    nearly = cut == len(records[torn]) - 1  # all but its last newline: the next record's first one completes it
    assert found == whole or (nearly and found == sorted([*whole, f"m{torn}"], key=lambda name: int(name[1:])))


@given(
    texts=st.lists(_TEXT, min_size=1, max_size=6),
    damage=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=12)), max_size=6),
    start=st.floats(0, 1),
)
@settings(max_examples=2 * settings().max_examples)
def test_corruption_never_raises_and_never_invents(
    path: Path, texts: list[str], damage: list[tuple[float, bytes]], start: float
) -> None:
    log = bytearray(b"".join(messagelog.encode_message("iopub", a_message(n, text)) for n, text in enumerate(texts)))
    for place, junk in damage:
        at = int(place * len(log))
        log[at : at + len(junk)] = junk
    lay(path, log)
    for item in read(path, int(start * len(log))):
        assert isinstance(item, Message)
        assert item.content == {"name": "stdout", "text": texts[int(item.msg_id[1:])]}


def test_reading_goes_on_where_it_stopped(path: Path) -> None:
    records = [messagelog.encode_message("iopub", a_message(number, "x")) for number in range(4)]
    lay(path, b"".join(records[:2]) + records[2][:20])
    *_, (position, _) = messagelog.read(path)
    lay(path, b"".join(records))
    assert ids(read(path, position)) == ["m2", "m3"]


def test_the_end_is_exclusive(path: Path) -> None:
    records = [messagelog.encode_message("iopub", a_message(number, "x")) for number in range(4)]
    lay(path, b"".join(records))
    first = len(records[0])
    assert ids(read(path, first, first + len(records[1]))) == ["m1"]


def _is_a_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_is_a_pipe, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_is_neither_waited_for_nor_silently_empty(tmp_path: Path, make: Callable[[Path], None]) -> None:
    place = tmp_path / "k.messages"
    make(place)
    (mark,) = read(place)
    assert isinstance(mark, Mark)
    assert mark.kind == "hole"
    with pytest.raises(OSError):  # noqa: PT011 - the system's words differ
        messagelog.MessageLogWriter(place)


def test_a_log_that_was_cut_off_is_read_from_its_beginning(tmp_path: Path) -> None:
    place = tmp_path / "k.messages"
    place.write_bytes(messagelog.encode_message("iopub", a_message(1, "one")))
    assert ids(read(place, start=place.stat().st_size)) == []
    assert ids(read(place, start=place.stat().st_size + 1)) == ["m1"]


def test_a_hole_of_any_length_is_passed_over_and_never_held(path: Path) -> None:
    record = messagelog.encode_message("iopub", a_message(1, "x" * (2 << 20)))
    lay(path, record)
    os.truncate(path, 64 << 20)
    with path.open("ab") as log:
        log.write(messagelog.encode_message("iopub", a_message(2, "behind it")))
    tracemalloc.start()
    try:
        assert ids(read(path, len(record))) == ["m2"]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert ids(read(path)) == ["m1", "m2"]
