"""Records that are passed over by their heads: nothing is hidden by one that is torn, old ones are read as well."""

from __future__ import annotations

import binascii
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.records import messagelog
from kernel_supervisor.records.messagelog import MARK, Passed, encode_mark, encode_message


def lay(path: Path, log: bytes | bytearray) -> None:
    """Have this log there. A file that is written over is put onto the disk at once by ext4, a new one is not."""
    path.unlink(missing_ok=True)
    path.write_bytes(log)


def a_message(number: int, msg_type: Any = "stream", parent: Any = "p", text: str = "text") -> dict[str, Any]:
    return {
        "header": {"msg_id": f"m{number}", "username": '"msg_type": "error"', "msg_type": msg_type, "date": ""},
        "parent_header": {"msg_id": parent},
        "metadata": {},
        "content": {"name": "stdout", "text": text},
    }


def bare(payload: list[Any]) -> bytes:
    """A record as versions before this one wrote it."""
    text = json.dumps(payload).encode()
    return b"\n%08x %s\n" % (binascii.crc32(text), text)


def old(message: dict[str, Any]) -> bytes:
    """A message in such a record."""
    parts = ("header", "parent_header", "metadata", "content")
    return bare(["iopub", *(message[part] for part in parts), []])


def old_mark(mark: Mark) -> bytes:
    return bare([MARK, {"kind": mark.kind, "parent_id": mark.parent_id, "detail": mark.detail}])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "k.messages"


def found(path: Path, **how: Any) -> list[str]:
    """The ids of the messages, the details of the marks."""
    items = [item for _, item in messagelog.read(path, **how)]
    return [item.msg_id if isinstance(item, Message) else item.detail for item in items]


def passed_over(path: Path) -> list[str]:
    """What a reader that wants nothing comes past."""
    entries = list(messagelog.scan(path, wanted=lambda msg_type, parent: False))
    assert all(isinstance(entry.item, Passed) for entry in entries)
    return [entry.item.parent_id for entry in entries if isinstance(entry.item, Passed)]


def with_head(number: int) -> bytes:
    return encode_message("iopub", a_message(number, parent=f"p{number}"))


def without_head(number: int) -> bytes:
    return old(a_message(number, parent=f"p{number}"))


Encode = Callable[[int], bytes]
BOTH: tuple[Encode, Encode] = (with_head, without_head)


@pytest.mark.parametrize("first", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_a_record_torn_at_any_byte_hides_no_other_from_those_who_read_and_those_who_pass_over(
    path: Path, first: Encode, second: Encode
) -> None:
    torn, whole = first(1), [second(n) for n in (2, 3)]
    for cut in range(len(torn)):
        lay(path, torn[:cut] + whole[0] + torn[:cut] + whole[1])
        complete = cut == len(torn) - 1  # all but its last newline, which the next one's first completes
        assert found(path) == (["m1", "m2", "m1", "m3"] if complete else ["m2", "m3"]), cut
        passed = passed_over(path)
        assert [parent for parent in passed if parent != "p1"] == ["p2", "p3"], cut
        assert first is without_head or len(passed) == (4 if complete else 2), "a torn one is not taken for whole"
        assert found(path, parent="p3") == ["m3"], cut


def test_what_is_still_being_written_is_left_for_the_next_reading(path: Path) -> None:
    for encode in BOTH:
        before, record = encode(1), encode(2)
        for cut in range(len(record)):
            lay(path, before + record[:cut])
            *_, entry = messagelog.scan(path, wanted=lambda msg_type, parent: False)
            assert entry.item == Passed("stream", "p1")
            lay(path, before + record)
            assert found(path, start=entry.end) == ["m2"], cut


@given(
    kinds=st.lists(st.tuples(st.booleans(), st.sampled_from(["stream", "error", MARK]), st.integers(0, 2)), max_size=9),
    start=st.floats(0, 1),
    splices=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), max_size=3),
)
@settings(max_examples=2 * settings().max_examples)
def test_passing_over_finds_what_reading_finds_in_any_mixture_and_invents_nothing_when_spliced(
    path: Path, kinds: list[tuple[bool, str, int]], start: float, splices: list[tuple[float, float, float]]
) -> None:
    log = bytearray()
    for number, (is_old, kind, parent) in enumerate(kinds):
        mark = Mark(kind="gap", parent_id=f"p{parent}" if parent else "", detail=f"m{number}")
        message = a_message(number, kind, f"p{parent}")
        if kind == MARK:
            log += old_mark(mark) if is_old else encode_mark(mark)
        else:
            log += old(message) if is_old else encode_message("iopub", message)
    for place, begin, end in splices:  # pieces of the log, anywhere in it
        piece = log[int(begin * len(log)) : int(end * len(log))]
        where = int(place * len(log))
        log[where : where + len(piece)] = piece
    lay(path, log)
    at = int(start * len(log))
    everything = [item for _, item in messagelog.read(path, at)]
    for name in ("p0", "p1"):
        ours = [
            item for item in everything if item.parent_id == name or (isinstance(item, Mark) and not item.parent_id)
        ]
        found = [item for _, item in messagelog.read(path, at, parent=name)]
        assert found == ours if not splices else all(item in ours for item in found)
    errors = [item for item in everything if isinstance(item, Message) and item.msg_type == "error"]
    found = [item for _, item in messagelog.read(path, at, kinds=("error",))]
    assert found == errors if not splices else all(item in errors for item in found)
    assert len(list(messagelog.scan(path, at, wanted=lambda msg_type, parent: False))) >= len(everything) or splices


def test_types_and_parents_of_any_form_are_found_as_they_are(path: Path) -> None:
    odd = ["", "a b", "é", "?", MARK, "recorder", "x" * 5000, "line\nbreak", "#0 1", "\udc80"]
    for name in odd:
        lay(
            path,
            encode_message("iopub", a_message(1, name, "other"))
            + encode_message("iopub", a_message(2, "stream", name))
            + encode_mark(Mark(kind="gap", parent_id=name, detail="m3")),
        )
        assert found(path) == ["m1", "m2", "m3"], name
        assert found(path, parent=name) == ["m2", "m3"], name
        assert "m1" in found(path, kinds=(name,)), name
        assert len(list(messagelog.scan(path, wanted=lambda msg_type, parent: False))) == 3, name


@pytest.mark.parametrize("part", ["header", "parent_header"])
@pytest.mark.parametrize("odd", [None, [], ["x"], "text", 7, {"msg_id": 7, "msg_type": None}])
def test_what_is_no_message_spoils_itself_alone(path: Path, part: str, odd: Any) -> None:
    record = encode_message("iopub", {**a_message(1), part: odd})
    lay(path, record + encode_message("iopub", a_message(2)))
    items = [item for _, item in messagelog.read(path, parent="p")]
    assert [item.kind for item in items if isinstance(item, Mark)] in ([], ["odd"]), "what cannot be read is said"
    assert [item.msg_id for item in items if isinstance(item, Message)] == ["m2"]
    assert found(path)[-1] == "m2"


def test_a_head_that_lies_is_found_out(path: Path) -> None:
    record = encode_message("iopub", a_message(1))
    head, payload, _ = record[1:].split(b"\n", 2)
    fields = head.split(b" ")
    behind = encode_message("iopub", a_message(2, parent="p2"))
    for length in (0, 1, len(payload) - 10, 9_999_999_999):
        lie = b" ".join((fields[0], b"%d" % length, *fields[2:]))
        lay(path, record.replace(head, lie) + behind)
        assert found(path) == ["m2"]
        assert passed_over(path) == ["p2"]


def test_a_kind_of_mark_that_a_later_version_may_write_is_read(path: Path) -> None:
    lay(path, bare([MARK, {"kind": ["new"], "parent_id": None, "detail": 1}]))
    ((_, mark),) = messagelog.read(path)
    assert isinstance(mark, Mark)
    assert isinstance(mark.kind, str)


def _sparse(path: Path, encode: str, size: int, count: int) -> Iterator[int]:
    """Large records that take no room on the disk; yields where each ends."""
    lay(path, b"")
    for _ in range(count):
        with path.open("ab") as log:
            if encode == "head":
                log.write(b"\n#00000000 %d stream other\n" % size)
            else:
                log.write(b'\n00000000 ["iopub",{"msg_id":"m","msg_type":"stream"},{"msg_id":"other"},{},{}')
            end = log.tell() + size
        os.truncate(path, end)
        with path.open("ab") as log:
            log.write(b" 00000000\n")
            yield log.tell()


def test_large_records_are_passed_over_without_being_read(path: Path) -> None:
    for _ in _sparse(path, "head", 300 << 20, 20):
        pass
    with path.open("ab") as log:
        log.write(encode_message("iopub", a_message(1)))
    before = _read_so_far()
    assert found(path, parent="p") == ["m1"]
    assert _read_so_far() - before < 20 * (256 << 10), "of 6 GB"


def _read_so_far() -> int:
    """Bytes that this process has read."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("encode", ["head", "old"])
def test_large_records_are_never_held_by_those_who_pass_over_them(path: Path, encode: str) -> None:
    for _ in _sparse(path, encode, 24 << 20, 3):
        pass
    with path.open("ab") as log:
        log.write(encode_message("iopub", a_message(1)))
    tracemalloc.start()
    try:
        assert found(path, parent="p") == ["m1"]
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_log_says_who_began_it(path: Path) -> None:
    assert messagelog.begins(path.with_name("none")) is None
    payload = json.dumps(["recorder", {"format": 2, "ident": "abc", "bell": True}]).encode()
    checksum = b"%08x" % binascii.crc32(payload)
    first = b"\n#%s %d recorder \n%s %s\n" % (checksum, len(payload), payload, checksum)
    behind = encode_message("iopub", a_message(1))
    lay(path, first + behind)
    assert messagelog.begins(path) == {"format": 2, "ident": "abc", "bell": True}
    assert found(path) == ["m1"], "it is no content"
    assert passed_over(path) == ["p"]
    lay(path, first[:30] + first + behind)
    assert messagelog.begins(path) is not None, "one that was torn was written again"
    for other in (b"", first[:-1], old(a_message(1)), encode_message("recorder", a_message(1, "recorder", ""))):
        lay(path, other)
        assert messagelog.begins(path) is None
    assert messagelog.begins(path.parent) is None
