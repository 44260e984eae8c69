"""Promise: a message goes over a server's WebSocket and back unchanged, in both subprotocols; rubbish is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_server.services.kernels.connection.base import (
    deserialize_msg_from_ws_v1,
    serialize_binary_message,
    serialize_msg_to_ws_v1,
)

from kernel_supervisor.core.model import message_of
from kernel_supervisor.servers.framing import V1, decode, encode

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
CONTENT = st.dictionaries(TEXT, TEXT | st.integers() | st.none(), max_size=3)
BUFFERS = st.lists(st.binary(max_size=50), max_size=3)
HEADER = {"msg_id": "m", "msg_type": "stream", "session": "s"}


def message(content: dict[str, Any]) -> dict[str, Any]:
    return {"header": HEADER, "parent_header": {"msg_id": "p"}, "metadata": {}, "content": content}


@given(CONTENT)
def test_a_server_reads_what_is_sent(content: dict[str, Any]) -> None:
    frame = encode(V1, "shell", message(content))
    assert isinstance(frame, bytes)
    channel, parts = deserialize_msg_from_ws_v1(frame)  # type: ignore[no-untyped-call]  # theirs
    assert channel == "shell"
    assert [json.loads(part) for part in parts] == [HEADER, {"msg_id": "p"}, {}, content]
    text = encode(None, "control", message(content))
    assert json.loads(text) == {**message(content), "channel": "control"}


@given(CONTENT, BUFFERS)
def test_what_a_server_sends_is_read(content: dict[str, Any], buffers: list[bytes]) -> None:
    parts = [json.dumps(part).encode() for part in message(content).values()]
    frame = serialize_msg_to_ws_v1([*parts, *buffers], "iopub")  # type: ignore[no-untyped-call]  # theirs
    expected = message_of("iopub", list(message(content).values()), buffers)
    assert decode(V1, frame) == expected
    whole = {**message(content), "channel": "iopub", "msg_type": "stream"}
    assert decode(None, json.dumps(whole)) == replace(expected, buffers=())
    binary = serialize_binary_message({**whole, "buffers": buffers})  # type: ignore[no-untyped-call]  # theirs
    assert decode(None, binary) == expected


@given(st.binary() | TEXT, st.sampled_from([V1, None]))
def test_rubbish_raises_nothing_but_value_error(frame: bytes | str, subprotocol: str | None) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the promise
        decode(subprotocol, frame)
