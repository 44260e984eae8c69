"""Promise: what a result costs follows from how much was printed, whatever stands in it. Ratios within one run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from kernel_supervisor.core.model import Execution, ExecutionId, Message, SessionName
from kernel_supervisor.outputs.area import Area
from kernel_supervisor.outputs.folding import Folded, fold
from kernel_supervisor.outputs.limits import takes_long
from kernel_supervisor.outputs.transcript import transcribe
from kernel_supervisor.outputs.widgets import VIEW, Widgets
from kernel_supervisor.running.ticket import Ticket
from tests.costs import costs_less

SIZE = 400_000
MESSAGES = 1_500


def streams(*texts: tuple[str, str]) -> Folded:
    return Folded(outputs=[{"output_type": "stream", "name": name, "text": text} for name, text in texts])


def line(number: int) -> str:
    return f"INFO step {number} of many, done and well\n"


PLAIN = "".join(map(line, range(SIZE // 40)))
ODD = {
    "log lines": [("stderr", PLAIN)],
    "one line": [("stderr", "x" * SIZE)],
    "one long name": [("stderr", "/interactiveshell.py:1" * (SIZE // 22))],
    "digits": [("stderr", "interactiveshell.py:" + "1" * SIZE)],
    "advice": [("stderr", ("y" * 400 + "interactiveshell.py:1: UserWarning: To exit: use 'exit'\n") * (SIZE // 500))],
    "blanks in turns": [("stdout", " " * SIZE), ("stderr", "x"), ("stdout", " " * SIZE)],
    "digits in turns": [("stdout", "1" * SIZE), ("stderr", "x"), ("stdout", "1" * SIZE)],
    "pages": [("stdout", "\x1b[2J\x1b[199Bx" * (SIZE // 40))],
    "pieces in turns": [(("stdout", "stderr")[number % 2], " " * 400) for number in range(SIZE // 400)],
}


USUAL = [("stdout", PLAIN), ("stderr", "x"), ("stdout", "\x1b[1m" + PLAIN)]


@pytest.mark.parametrize("name", ODD)
def test_a_text_costs_what_its_length_costs(name: str) -> None:
    assert costs_less(lambda: transcribe(streams(*ODD[name])), 10, lambda: transcribe(streams(*USUAL)))


def displays(count: int, kind: str) -> Iterator[Message]:
    for number in range(count):
        shown = {"one id": "one", "ids": f"d{number}", "updates": f"d{number // 2}"}[kind]
        again = kind == "updates" and number % 2
        content = {"data": {"text/plain": str(number)}, "metadata": {}, "transient": {"display_id": shown}}
        yield Message(
            channel="iopub",
            msg_type="update_display_data" if again else "display_data",
            msg_id=str(number),
            parent_id="p",
            date="",
            username="",
            content=content,
        )


@pytest.mark.parametrize("kind", ["one id", "ids", "updates"])
def test_displays_cost_as_many_as_there_are(kind: str) -> None:
    few, many = list(displays(MESSAGES, kind)), list(displays(4 * MESSAGES, kind))
    assert costs_less(lambda: transcribe(fold(many)), 8, lambda: transcribe(fold(few)))


def test_every_display_of_an_id_shows_the_latest() -> None:
    shown = [output["data"]["text/plain"] for output in fold(displays(4, "one id")).outputs]
    assert shown == ["3"] * 4
    assert [output["data"]["text/plain"] for output in fold(displays(4, "updates")).outputs] == ["1", "3"]


def test_boxes_that_stand_in_each_other_many_times_end() -> None:
    widgets, children = Widgets(), ["IPY_MODEL_box"] * 1_000
    output = {"output_type": "display_data", "data": {VIEW: {"model_id": "box"}}}
    content = {"comm_id": "box", "data": {"state": {"_model_name": "HBoxModel", "children": children}}}
    widgets.take(
        Message(channel="iopub", msg_type="comm_open", msg_id="m", parent_id="p", date="", username="", content=content)
    )
    assert list(widgets.shown([output], set())) == [output]


def test_many_views_of_one_long_text_cost_what_they_show() -> None:
    states = {
        "label": {"_model_name": "HTMLModel", "value": "<i></i>" * 10_000 + "said"},
        "box": {"_model_name": "VBoxModel", "children": ["IPY_MODEL_label"] * 100},
    }
    shown = {"output_type": "display_data", "data": {VIEW: {"model_id": "box"}}, "metadata": {}, "transient": {}}

    def said(count: int) -> list[str]:
        widgets = Widgets()
        for model, state in states.items():
            content = {"comm_id": model, "data": {"state": state}}
            widgets.take(
                Message(
                    channel="iopub",
                    msg_type="comm_open",
                    msg_id=model,
                    parent_id="p",
                    date="",
                    username="",
                    content=content,
                )
            )
        return transcribe(Folded(outputs=[shown] * count, widgets=widgets))[0].text.split()

    assert said(20) == ["said"] * 100
    assert costs_less(lambda: said(20), 4, lambda: said(1))


def in_widgets(count: int, kind: str) -> Iterator[Message]:
    """Messages for widgets: a bar that is drawn, an Output widget that is entered and left, many of them, …"""

    def message(msg_type: str, **content: Any) -> Message:
        return Message(
            channel="iopub",
            msg_type=msg_type,
            msg_id=f"{next(numbers)}",
            parent_id="p",
            date="",
            username="",
            content=content,
        )

    def comm(model: str, msg_type: str = "comm_msg", **state: Any) -> Message:
        return message(msg_type, comm_id=model, data={"state": state})

    numbers = itertools.count()
    output = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output"}
    printed = {"output_type": "stream", "name": "stdout", "text": "again\n"}
    yield comm("bar", "comm_open", _model_name="IntProgressModel", min=0, max=count, value=0)
    yield comm("out", "comm_open", **output)
    for number in range(count):
        made = f"m{number}"
        match kind:
            case "drawn":
                yield comm("bar", value=number)
            case "entered":
                yield from (
                    comm("out", msg_id="p"),
                    message("stream", name="stdout", text="x\n"),
                    comm("out", msg_id=""),
                )
            case "nested":
                yield comm(made, "comm_open", **output, msg_id="p")
            case "shown in it":
                yield from (comm("out", msg_id="p"), message("display_data", data={"text/plain": "x"}, metadata={}))
                yield comm("out", outputs=[printed])
            case "in each other":
                yield comm(made, "comm_open", **output, msg_id="p")
                yield message("display_data", data={VIEW: {"model_id": f"m{number + 1}"}}, metadata={})
            case "closed":
                references = {"children": [f"IPY_MODEL_{model}" for model in ("bar", f"m{number - 1}")]}
                yield comm(made, "comm_open", _model_name="VBoxModel", **references)
                yield message("comm_close", comm_id=made, data={})
            case "boxes":
                yield comm(made, "comm_open", _model_name="VBoxModel", children=[f"IPY_MODEL_m{number + 1}"])
    for number in range(count if kind == "nested" else 0):
        yield comm(f"m{number}", msg_id="")
    yield comm("out", msg_id="")
    for model in ("bar", "out", "m0"):
        yield message("display_data", data={VIEW: {"model_id": model}}, metadata={})


@pytest.mark.parametrize("kind", ["drawn", "entered", "nested", "shown in it", "in each other", "boxes", "closed"])
def test_messages_of_widgets_cost_as_many_as_there_are(kind: str) -> None:
    few, many = (list(in_widgets(number, kind)) for number in (2_000, 12_000))

    def result(messages: list[Message]) -> None:
        folded = fold(messages, Widgets("p"))
        folded.widgets.lacks(folded.outputs)
        transcribe(folded)

    assert costs_less(lambda: result(many), 18, lambda: result(few)), "six times as many; 36 were quadratic"


def test_what_widgets_take_is_bounded() -> None:
    widgets = Widgets()
    for message in itertools.chain(in_widgets(30_000, "boxes"), in_widgets(60_000, "nested")):
        widgets.take(message)
    assert 40_000 < len(widgets.of_those(f"m{number}" for number in range(60_000))) <= 50_000
    area = Area(room=1_000)
    for number in range(1_000):
        area.stream("stdout", f"line {number}\n")
        area.show({"output_type": "display_data", "data": {"text/plain": f"shown {number}"}, "metadata": {}})
    shown = area.result()
    assert len(shown) < 200
    assert shown[0]["text"].startswith("[the beginning is left out]")
    assert shown[-1]["data"]["text/plain"] == "shown 999"


def test_frames_of_a_library_cost_as_many_as_there_are() -> None:
    path = "a/" * 900
    usual, odd = ([f"File {path}{kind}:1, in f\n--> 1 x"] * 300 for kind in ("site-packages/b.py", "b.pyx"))
    of_files, of_cython = (Folded(outputs=[_error(frames)]) for frames in (usual, odd))
    assert costs_less(lambda: transcribe(of_cython), 10, lambda: transcribe(of_files))


def _error(frames: list[str]) -> dict[str, Any]:
    return {"output_type": "error", "ename": "E", "evalue": "v", "traceback": frames}


def test_a_ticket_is_found_by_what_it_is_not_by_what_stands_in_it() -> None:
    execution = Execution(id=ExecutionId(1), session=SessionName("s/"), kind="code", source="x", status="queued")
    assert Ticket(execution=execution) != Ticket(execution=execution)


@pytest.mark.parametrize(
    "grep", ["error", "a.*b", r"^\d+ of", "loss: [0-9.]+", "error|warning", r"\(x\|y\)", "(?i)error"]
)
def test_usual_patterns_are_searched_for_where_the_result_is_made(grep: str) -> None:
    assert not takes_long(grep)


@pytest.mark.parametrize(
    "grep", ["a.*a.*b", "a?" * 30 + "a" * 30, "(a|a)" * 30 + "b", "x+y{3,}", "(?:a|b|ab)c", ".*?.*?="]
)
def test_patterns_that_can_take_for_ever_are_known(grep: str) -> None:
    assert takes_long(grep)
