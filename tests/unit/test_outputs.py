"""Promise: folding gives what Jupyter would show, whatever the pieces in which messages come."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.outputs.folding import Folder, fold

_NUMBERS = count()


def message(msg_type: str, content: dict[str, Any], *, msg_id: str = "") -> Message:
    return Message(
        channel="shell" if msg_type.endswith("_reply") else "iopub",
        msg_type=msg_type,
        msg_id=msg_id or f"message-{next(_NUMBERS)}",
        parent_id="request",
        date="2026-01-01T00:00:00Z",
        username="me",
        content=content,
    )


def stream(text: str, name: str = "stdout") -> Message:
    return message("stream", {"name": name, "text": text})


def display(text: str, display_id: str = "", msg_type: str = "display_data") -> Message:
    transient = {"display_id": display_id} if display_id else {}
    return message(msg_type, {"data": {"text/plain": text}, "metadata": {}, "transient": transient})


def clear(*, wait: bool) -> Message:
    return message("clear_output", {"wait": wait})


def shown(*items: Message | Mark) -> list[str]:
    return [output.get("text") or output["data"]["text/plain"] for output in fold(items).outputs]


def test_adjacent_streams_of_one_name_are_joined() -> None:
    assert shown(stream("a"), stream("b"), stream("c", "stderr"), stream("d")) == ["ab", "c", "d"]


def test_clear_output_takes_what_was_shown() -> None:
    assert shown(stream("a"), clear(wait=False), stream("b")) == ["b"]


def test_waiting_clear_takes_effect_with_the_next_output() -> None:
    assert shown(stream("a"), clear(wait=True)) == ["a"]
    assert shown(stream("a"), clear(wait=True), stream("b")) == ["b"]


def test_display_is_updated_in_place() -> None:
    update = display("new", "d", "update_display_data")
    assert shown(display("old", "d"), stream("x"), update) == ["new", "x"]


def test_display_shown_again_updates_the_earlier_one() -> None:
    assert shown(display("old", "d"), display("new", "d")) == ["new", "new"]


def test_update_of_another_executions_display_is_passed_on() -> None:
    folded = fold([display("new", "elsewhere", "update_display_data")])
    assert [update["data"] for update in folded.display_updates] == [{"text/plain": "new"}]
    assert folded.outputs == []


def test_message_seen_twice_counts_once() -> None:
    once = stream("a")
    assert shown(once, once) == ["a"]


def test_paged_text_of_a_reply_is_shown() -> None:
    page = {"source": "page", "data": {"text/plain": "help"}, "start": 0}
    reply = message("execute_reply", {"status": "ok", "execution_count": 4, "payload": [page]})
    folded = fold([reply])
    assert [output["data"] for output in folded.outputs] == [{"text/plain": "help"}]
    assert folded.execution_count == 4
    assert folded.reply == reply.content


def test_error_and_result_keep_their_fields() -> None:
    folded = fold(
        [
            message("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 2}),
            message("error", {"ename": "E", "evalue": "v", "traceback": ["t"]}),
            Mark(kind="gap", parent_id="request", detail="nobody listened"),
        ]
    )
    assert folded.outputs[0]["execution_count"] == 2
    assert folded.outputs[1] == {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]}
    assert len(folded.marks) == 1


@given(st.lists(st.sampled_from(["s", "e", "d", "u", "c", "w"]), max_size=12), st.integers(0, 12))
def test_folding_in_two_goes_equals_folding_at_once(kinds: list[str], cut: int) -> None:
    make = {
        "s": lambda n: stream(f"{n}\r"),
        "e": lambda n: stream(f"{n}\n", "stderr"),
        "d": lambda n: display(n, "d"),
        "u": lambda n: display(n, "d", "update_display_data"),
        "c": lambda n: clear(wait=False),
        "w": lambda n: clear(wait=True),
    }
    items = [make[kind](str(number)) for number, kind in enumerate(kinds)]
    folder = Folder()
    for item in items[:cut]:
        folder.feed(item)
    folder.result()
    for item in items[cut:]:
        folder.feed(item)
    assert folder.result() == fold(items)
