"""Promise: a notebook says what happened, in nbformat's own form, and nothing that it should keep to itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import (
    EntryKind,
    Execution,
    ExecutionId,
    ExecutionStatus,
    KernelId,
    Mark,
    Message,
    SessionName,
)
from kernel_supervisor.notebooks.document import About, notebook_json
from kernel_supervisor.notebooks.history import Choice, Entry, choose
from kernel_supervisor.notebooks.terminal import Terminal
from kernel_supervisor.outputs.folding import fold
from tests.notebooks_corpus.nbf import nbformat

ABOUT = About(session="s", kernelspec={"name": "python3", "display_name": "Python 3"}, language_info={"name": "python"})


def message(msg_type: str, content: dict[str, Any], *, number: int = 0, **more: Any) -> Message:
    return Message(
        channel="shell" if msg_type.endswith("_reply") else "iopub",
        msg_type=msg_type,
        msg_id=f"m{number}-{msg_type}-{json.dumps(content, sort_keys=True)}",
        parent_id="request",
        date=f"2026-01-01T00:00:{number:02}.500000Z",
        username="me",
        content=content,
        **more,
    )


def stream(text: str, number: int = 0) -> Message:
    return message("stream", {"name": "stdout", "text": text}, number=number)


def display(text: str, display_id: str = "", number: int = 0, msg_type: str = "display_data") -> Message:
    transient = {"display_id": display_id} if display_id else {}
    content = {"data": {"text/plain": text}, "metadata": {}, "transient": transient}
    return message(msg_type, content, number=number)


def code(number: int, messages: Sequence[Message | Mark] = (), *, status: ExecutionStatus = "ok", **more: Any) -> Entry:
    execution = Execution(
        id=ExecutionId(number),
        session=SessionName("s"),
        kind="code",
        source=f"cell {number}",
        status=status,
        kernel_id=KernelId("k"),
        client="claude-code",
        **more,
    )
    return Entry(execution=execution, messages=lambda: messages)


def text(kind: EntryKind, source: str) -> Entry:
    execution = Execution(id=ExecutionId(1), session=SessionName("s"), kind=kind, source=source, status="ok")
    return Entry(execution=execution, messages=tuple)


def written(entries: Iterable[Entry], about: About = ABOUT) -> Any:
    """The notebook of `entries`, once nbformat has agreed with every byte of it."""
    pieces: list[bytes] = []
    notebook_json(list(entries), about, pieces.append)
    json_text = b"".join(pieces).decode()
    notebook = nbformat.reads(json_text, as_version=4)
    nbformat.validate(notebook)
    assert nbformat.writes(notebook) + "\n" == json_text
    return notebook


def texts(cell: Any) -> list[str]:
    return [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]


def test_empty_history_is_an_empty_notebook() -> None:
    assert written([]).cells == []


def test_cell_has_source_count_times_and_who_asked() -> None:
    cell = written(
        [
            code(
                7,
                [
                    message("status", {"execution_state": "busy"}, number=1),
                    message("execute_input", {"execution_count": 3}, number=2),
                    message("status", {"execution_state": "idle"}, number=4),
                    message(
                        "execute_reply",
                        {"status": "ok", "execution_count": 3},
                        number=5,
                        metadata={"started": "2026-01-01T00:00:02Z"},
                    ),
                ],
            )
        ]
    ).cells[0]
    assert (cell.source, cell.execution_count, cell.id) == ("cell 7", 3, "execution-7")
    assert cell.metadata.execution == {
        "iopub.status.busy": "2026-01-01T00:00:01.500000Z",
        "iopub.execute_input": "2026-01-01T00:00:02.500000Z",
        "iopub.status.idle": "2026-01-01T00:00:04.500000Z",
        "shell.execute_reply": "2026-01-01T00:00:05.500000Z",
        "shell.execute_reply.started": "2026-01-01T00:00:02Z",
    }
    assert cell.metadata.kernel_supervisor == {"execution_id": 7, "client": "claude-code", "status": "ok"}


def test_display_is_updated_by_a_later_cell() -> None:
    notebook = written([code(1, [display("old", "d", 1)]), code(2, [display("new", "d", 2, "update_display_data")])])
    assert [texts(cell) for cell in notebook.cells] == [["new"], []]


def test_late_update_of_an_earlier_cell_wins_over_a_later_cells() -> None:
    first = [display("1", "d", 1), display("last", "d", 9, "update_display_data")]
    notebook = written([code(1, first), code(2, [display("between", "d", 5, "update_display_data")])])
    assert texts(notebook.cells[0]) == ["last"]


def test_display_of_a_kernel_that_is_gone_is_not_updated() -> None:
    entries = [
        code(1, [display("old", "d", 1)], generation=1),
        code(2, [display("new", "d", 2)], generation=2),
    ]
    assert [texts(cell) for cell in written(entries).cells] == [["old"], ["new"]]


def test_update_too_large_to_keep_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_supervisor.notebooks.survey._ROOM_FOR_DISPLAYS", 0)
    test_display_is_updated_by_a_later_cell()


def test_what_a_running_cell_shows_between_the_two_readings_is_left_out() -> None:
    growing = [stream("seen\n")]

    def messages() -> list[Message | Mark]:
        now: list[Message | Mark] = list(growing)
        growing.append(stream("too late\n", len(growing)))
        return now

    execution = Execution(id=ExecutionId(1), session=SessionName("s"), kind="code", source="", status="running")
    notebook = written([Entry(execution=execution, messages=messages)])
    assert texts(notebook.cells[0]) == ["seen\n"]


@pytest.mark.parametrize(
    ("status", "words", "tag"),
    [
        ("queued", "Had not run yet", None),
        ("running", "Was still running", None),
        ("dead", "The kernel died", "skip-execution"),
        ("lost", "It is not known", None),
        ("aborted", "Was not run", None),
    ],
)
def test_cell_that_did_not_end_well_is_marked(status: ExecutionStatus, words: str, tag: str | None) -> None:
    notebook = written([code(1, [stream("so far")], status=status, reason="killed, see /home/me/.x/kernel.log")])
    cell, remark = notebook.cells
    assert texts(cell) == ["so far"]
    assert cell.metadata.get("tags", []) == ([tag] if tag else [])
    assert words in remark.source
    assert "see …/kernel.log" in remark.source
    assert "/home/me" not in remark.source


def test_failed_and_interrupted_cells_are_told_apart() -> None:
    failed = code(1, [message("error", {"ename": "ValueError", "evalue": "", "traceback": []})], status="error")
    stopped = code(2, [message("error", {"ename": "KeyboardInterrupt", "evalue": "", "traceback": []})], status="error")
    cells = written([failed, stopped]).cells
    assert cells[0].metadata.tags == ["raises-exception"]
    assert cells[1].metadata.tags == ["skip-execution"]
    assert cells[2].source == "> **Was interrupted.**"


def test_marks_of_the_record_are_named() -> None:
    mark = Mark(kind="limit", parent_id="request", detail="after 64 MB nothing more was kept")
    assert written([code(1, [stream("x"), mark])]).cells[1].source == (
        "> **Limit** in the record of this cell: after 64 MB nothing more was kept"
    )


def test_notes_and_markdown() -> None:
    cells = written([text("markdown", "# Title\n\n$x$"), text("note", "With /home/me/env/bin/python\nnow")]).cells
    assert [cell.cell_type for cell in cells] == ["markdown", "markdown"]
    assert cells[0].source == "# Title\n\n$x$"
    assert cells[1].source == "> With …/python\n> now"


def test_text_for_models_is_never_written() -> None:
    content = {"data": {"text/plain": "p", "text/llm+plain": "for a model"}, "metadata": {}}
    assert written([code(1, [message("display_data", content)])]).cells[0].outputs[0].data == {"text/plain": "p"}


def test_mime_values_that_nbformat_forbids_become_text() -> None:
    data = {"text/plain": ["a\n", "b"], "x/number": 5, "application/json": {"k": [1.5, None]}, "x/odd+json": [1]}
    outputs = written([code(1, [message("display_data", {"data": data, "metadata": {}})])]).cells[0].outputs
    assert outputs[0].data == {
        "text/plain": "a\nb",
        "x/number": "5",
        "application/json": {"k": [1.5, None]},
        "x/odd+json": "[1]",
    }


def test_lone_surrogates_and_infinities_do_not_spoil_the_file() -> None:
    data = {"text/plain": "caf\udce9", "application/json": [float("nan"), float("inf")]}
    outputs = written([code(1, [message("display_data", {"data": data, "metadata": {}})])]).cells[0].outputs
    assert outputs[0].data == {"text/plain": "caf\ufffd", "application/json": ["nan", "inf"]}


def test_widget_state_is_kept_with_its_buffers() -> None:
    state = {"_model_name": "M", "_model_module": "m", "_model_module_version": "1", "value": 1}
    opened = message(
        "comm_open",
        {"comm_id": "w", "data": {"state": state, "buffer_paths": [["bytes"]]}},
        buffers=(b"\x00\xff",),
    )
    changed = message("comm_msg", {"comm_id": "w", "data": {"method": "update", "state": {"value": 2}}})
    unknown = message("comm_open", {"comm_id": "c", "data": {"state": {}}})
    metadata = written([code(1, [opened, unknown]), code(2, [changed])]).metadata
    assert metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"] == {
        "w": {
            "model_name": "M",
            "model_module": "m",
            "model_module_version": "1",
            "state": {**state, "value": 2},
            "buffers": [{"data": "AP8=", "encoding": "base64", "path": ["bytes"]}],
        }
    }


def test_a_widget_message_that_is_none_does_not_keep_a_notebook_from_being_written() -> None:
    odd = [message("comm_msg", {"comm_id": "w", "data": {"method": "update", "state": state}}) for state in (None, [1])]
    assert "widgets" not in written([code(1, odd)]).metadata


def test_only_the_kernelspecs_public_part_is_written() -> None:
    kernelspec = {
        "name": "n",
        "display_name": "N",
        "language": "python",
        "argv": ["/home/me/env/bin/python"],
        "env": {"TOKEN": "secret"},
    }
    metadata = written([], About(session="s", kernelspec=kernelspec)).metadata
    assert metadata == {
        "kernelspec": {"name": "n", "display_name": "N", "language": "python"},
        "kernel_supervisor": {"session": "s"},
    }


def chosen(**bounds: Any) -> list[int]:
    history = [code(3), code(9, status="error"), code(4)]
    return [entry.execution.id for entry in choose(history, Choice(**bounds))]


def test_choice_follows_the_order_of_the_history() -> None:
    assert chosen() == [3, 9, 4]
    assert chosen(only="ok") == [3, 4]
    assert chosen(first=9) == [9, 4]
    assert chosen(first=9, last=9) == [9]


def test_choice_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(RefusedError, match="last: this session's history has no execution 5"):
        chosen(last=5)
    with pytest.raises(RefusedError, match="comes after"):
        chosen(first=4, last=3)


_KINDS = st.lists(st.sampled_from(["out", "err", "show", "same", "update", "clear", "wait", "error"]), max_size=14)


@given(_KINDS)
def test_reading_twice_gives_what_folding_gives(kinds: list[str]) -> None:
    messages = [_MAKE[kind](number) for number, kind in enumerate(kinds)]
    folded = fold(messages).outputs
    for output in folded:
        output.pop("transient", None)
        if "text" in output:
            terminal = Terminal()
            terminal.feed(output["text"])
            output["text"] = terminal.text()
    assert written([code(1, messages)]).cells[0].outputs == folded


_MAKE = {
    "out": lambda number: stream(f"{number}", number),
    "err": lambda number: message("stream", {"name": "stderr", "text": f"{number}\r"}, number=number),
    "show": lambda number: display(f"{number}", "", number),
    "same": lambda number: display(f"{number}", "d", number),
    "update": lambda number: display(f"{number}", "d", number, "update_display_data"),
    "clear": lambda number: message("clear_output", {"wait": False}, number=number),
    "wait": lambda number: message("clear_output", {"wait": True}, number=number),
    "error": lambda number: message("error", {"ename": "E", "evalue": f"{number}", "traceback": []}, number=number),
}
