"""Promise: of a message that has not its form what can be shown is kept, and what cannot is said in its place."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_supervisor.core.forms import UNREADABLE, count_of, formed
from kernel_supervisor.core.model import message_of
from kernel_supervisor.outputs.folding import fold
from kernel_supervisor.outputs.transcript import transcribe
from tests.fuzz import odd
from tests.fuzz.odd import CONTENTS, paths


def message(msg_type: str, content: Any) -> Any:
    return message_of("iopub", ({"msg_id": "m", "msg_type": msg_type}, None, None, content))


def told(msg_type: str, content: Any) -> str:
    return "\n".join(section.text for section in transcribe(fold([message(msg_type, content)])))


@pytest.mark.parametrize("msg_type", CONTENTS)
def test_what_has_its_form_is_left_as_it_is(msg_type: str) -> None:
    known = {**CONTENTS[msg_type], "transient": {"display_id": "d"}}
    assert formed(msg_type, known).items() >= known.items()


@pytest.mark.parametrize("msg_type", CONTENTS)
def test_each_field_of_every_type_is_folded_and_told(msg_type: str) -> None:
    for path in [(), *paths(CONTENTS[msg_type])]:
        for value in odd.VALUES:
            content = replaced(CONTENTS[msg_type], path, value)
            told(msg_type, content)
            assert not fold([message(msg_type, content)]).marks


def replaced(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    parts = dict(whole) if isinstance(whole, dict) else dict(enumerate(whole))
    parts[path[0]] = replaced(parts[path[0]], path[1:], value)
    return parts if isinstance(whole, dict) else list(parts.values())


@pytest.mark.parametrize(
    ("msg_type", "content"),
    [
        ("display_data", {"data": [1, 2]}),
        ("display_data", [1, 2]),
        ("execute_result", {"data": "text"}),
        ("stream", {"name": "stdout", "text": 7}),
        ("error", {"ename": "E", "evalue": "v", "traceback": 7}),
        ("error", {"ename": "E", "evalue": ["v"], "traceback": []}),
        ("execute_reply", {"status": "ok", "payload": 7}),
        ("execute_reply", {"status": "ok", "payload": [7]}),
        ("execute_reply", {"status": "ok", "payload": [{"source": "page", "data": 7}]}),
    ],
)
def test_what_cannot_be_shown_is_said(msg_type: str, content: Any) -> None:
    assert UNREADABLE in told(msg_type, content)


@pytest.mark.parametrize("content", [{"transient": [1]}, {"transient": {"display_id": [1]}}, {"metadata": "m"}])
def test_what_is_shown_is_not_lost_with_what_stands_beside_it(content: Any) -> None:
    assert told("display_data", {"data": {"text/plain": "shown"}, **content}) == "shown"


@pytest.mark.parametrize("count", [10**30, -1, True, 1.0, "1", None, [1]])
def test_a_count_that_cannot_be_is_none(count: Any) -> None:
    assert count_of({"execution_count": count}) is None
