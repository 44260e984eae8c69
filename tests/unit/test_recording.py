"""The log of a kernel that does not write it itself has the same room as those that kernels write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.core.model import (
    Execution,
    ExecutionId,
    Interpreter,
    KernelId,
    KernelRecord,
    Message,
    MessageId,
    Region,
    SessionName,
)
from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.records.messagelog import scan
from kernel_supervisor.records.recording import Recording
from kernel_supervisor.running.reading import messages_of
from tests.unit.test_outputs import message

LIMIT = 100_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "k.messages"


@pytest.fixture
def recording(log: Path) -> Iterator[Recording]:
    record = KernelRecord(
        id=KernelId("k"),
        session=SessionName("s"),
        generation=1,
        interpreter=Interpreter(name="bash", kind="kernelspec", argv=()),
        connection_file="",
        channel_identity="",
        directory="",
        message_log=str(log),
        recorded=False,
    )
    recording = Recording(record, LIMIT)
    yield recording
    recording.close()


FLOODS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "texts": [("stream", {"name": "stdout", "text": f"<{n}{'t' * 1000}>"}) for n in range(900)],
    "one text": [("stream", {"name": "stdout", "text": f"<0{'t' * 900_000}899>"})],
    "displays": [("display_data", {"data": {"text/plain": f"<{n}{'d' * 1000}>"}, "metadata": {}}) for n in range(900)],
    "errors": [("error", {"ename": "E", "evalue": f"<{n}", "traceback": ["e" * 1000]}) for n in range(900)],
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_it_has_the_beginning_the_end_and_the_reply(
    recording: Recording, log: Path, flood: list[tuple[str, dict[str, Any]]]
) -> None:
    value = ("execute_result", {"data": {"text/plain": "42"}, "metadata": {}, "execution_count": 1})
    reply = ("execute_reply", {"status": "error", "evalue": "v" * 9_000_000, "execution_count": 1})
    for number, (msg_type, content) in enumerate([*flood, value, reply]):
        said = message(msg_type, content, msg_id=f"m{number}")
        channel = "shell" if msg_type == "execute_reply" else "iopub"
        assert recording.hear(replace(said, channel=channel, parent_id="p"))
    assert log.stat().st_size < LIMIT * 5 // 4 + (1 << 19)
    assert all(path.stat().st_size <= LIMIT // 8 for path in log.parent.glob(f"{log.name}-*.[01]*"))
    region = Region(log=str(log), start=0, end=log.stat().st_size)
    execution = Execution(
        id=ExecutionId(1),
        session=SessionName("s"),
        kind="code",
        source="",
        status="error",
        msg_id=MessageId("p"),
        region=region,
        queued_at=0.0,
        client="",
    )
    folded = fold(messages_of(execution))
    text = json.dumps(folded.outputs)
    assert "<0" in text
    assert "899" in text
    assert folded.reply is not None
    assert folded.outputs[-1].get("data") == {"text/plain": "42"}


@pytest.mark.parametrize(
    "written",
    [
        rb'{"name": "stdout", "text": "caf\u00e9 \ud83d\ude00"}',
        '{"name":"stdout","text":"café 😀"}'.encode(),
        '{\n "name": "stdout",\n "text": "café 😀"\n}\n'.encode(),
        '{"name": "stdout", "text": "café 😀"}'.encode("utf-16"),
        '{"name": "stdout", "text": "café 😀"}'.encode("utf-8-sig"),
        b"",
    ],
    ids=["escaped", "short", "on several lines", "UTF-16", "with a mark before it", "not at hand"],
)
def test_a_content_is_recorded_as_it_was_written_and_in_one_line(
    recording: Recording, log: Path, written: bytes
) -> None:
    said = message("stream", {"name": "stdout", "text": "café 😀"})
    assert recording.hear(replace(said, written=written))
    assert recording.hear(message("stream", {"name": "stdout", "text": "after"}, msg_id="m2"))
    entries = list(scan(log))
    assert [each.item.content["text"] for each in entries if isinstance(each.item, Message)] == ["café 😀", "after"]
