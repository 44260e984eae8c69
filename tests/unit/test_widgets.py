"""`outputs.widgets`: what Output widgets captured, and what progress bars and labels of ipywidgets show now."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.outputs.folding import Folded, fold
from kernel_supervisor.outputs.transcript import transcribe
from kernel_supervisor.outputs.widgets import ABOVE, NOBODY, VIEW, Widgets

_NUMBERS = count()
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def message(msg_type: str, content: dict[str, Any], parent: str = "p", **more: Any) -> Message:
    number = f"m{next(_NUMBERS)}"
    return Message(
        channel="iopub",
        msg_type=msg_type,
        msg_id=number,
        parent_id=parent,
        date="",
        username="",
        content=content,
        **more,
    )


def comm(model: str, msg_type: str = "comm_msg", *, parent: str = "p", **state: Any) -> Message:
    return message(msg_type, {"comm_id": model, "data": {"state": state}}, parent)


def made(model: str = "out", *, parent: str = "p", **state: Any) -> Message:
    """An Output widget."""
    names = {"_model_name": "OutputModel", "_model_module": "@jupyter-widgets/output"}
    return comm(model, "comm_open", parent=parent, **names, **{"outputs": [], "msg_id": "", **state})


def into(model: str, *messages: Message, parent: str = "p") -> list[Message]:
    """What is shown within `with model:`."""
    return [comm(model, msg_id=parent, parent=parent), *messages, comm(model, msg_id="", parent=parent)]


def view(model: str = "out", said: str = "Output()") -> Message:
    return message("display_data", {"data": {"text/plain": said, VIEW: {"model_id": model}}, "metadata": {}})


def stream(text: str, name: str = "stdout", parent: str = "p") -> Message:
    return message("stream", {"name": name, "text": text}, parent)


def clear(*, wait: bool = False, parent: str = "p") -> Message:
    return message("clear_output", {"wait": wait}, parent)


def read(*messages: Message | Mark, widgets: Widgets | None = None) -> list[str]:
    """What a reader of a result reads, section by section."""
    return texts(fold(messages, widgets))


def texts(folded: Folded) -> list[str]:
    return [section.text for section in transcribe(folded)]


def shown(*messages: Message, model: str = "box") -> str:
    return "".join(read(*messages, view(model, "said")))


BAR = (
    comm("label", "comm_open", _model_name="HTMLModel", value=""),
    comm("bar", "comm_open", _model_name="FloatProgressModel", min=0.0, max=4.0, value=0.0),
    comm("box", "comm_open", _model_name="HBoxModel", children=["IPY_MODEL_label", "IPY_MODEL_bar"]),
)


def test_a_bar_shows_where_it_stands_now() -> None:
    assert shown(*BAR) == "|          |"
    assert shown(*BAR, comm("label", value="\u2007<b>50%</b>"), comm("bar", value=2.0)) == "50% |█████     |"


def test_what_was_closed_shows_nothing() -> None:
    assert shown(*BAR, comm("box", "comm_close")) == ""


def test_bars_that_were_closed_do_not_push_out_the_one_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel_supervisor.outputs.widgets._MODELS", 5_000)
    monkeypatch.setattr("kernel_supervisor.outputs.widgets._CLOSED", 10_000)
    widgets = Widgets()

    def bar(name: str) -> list[Message]:
        boxed = [f"IPY_MODEL_{name}-{number}" for number in range(8)]
        parts = [comm(f"{name}-{number}", "comm_open", _model_name="LabelModel", value=name) for number in range(8)]
        return [*parts, comm(name, "comm_open", _model_name="HBoxModel", children=boxed)]

    for message in bar("outer"):
        widgets.take(message)
    for number in range(800):
        for message in (*bar(f"b{number}"), comm(f"b{number}", "comm_close")):
            widgets.take(message)
    outer, gone = (
        {"output_type": "display_data", "data": {VIEW: {"model_id": name}}, "metadata": {}} for name in ("outer", "b0")
    )
    assert [each["data"] for each in widgets.shown([outer, gone], set())] == [{"text/plain": " ".join(["outer"] * 8)}]


def test_of_other_widgets_nothing_is_claimed() -> None:
    slider = comm("slider", "comm_open", _model_name="IntSliderModel", value=3)
    assert shown(slider, model="slider") == "said"
    assert shown(slider, comm("box", "comm_open", _model_name="VBoxModel", children=["IPY_MODEL_slider"])) == "said"
    assert shown() == "said"


def test_a_view_that_names_no_widget_is_read_by_its_text() -> None:
    data = {"text/plain": "said", VIEW: None}
    assert read(message("display_data", {"data": data, "metadata": {}})) == ["said"]


def test_a_box_in_itself_ends() -> None:
    assert shown(comm("box", "comm_open", _model_name="HBoxModel", children=["IPY_MODEL_box"])) == "said"


@pytest.mark.parametrize("value", ["much", [1], {}])
def test_numbers_that_are_none_are_no_bar(value: Any) -> None:
    state = {"min": 0, "max": 1, "value": value}
    expected = "|          |" if not value else "said"
    assert shown(comm("box", "comm_open", _model_name="IntProgressModel", **state)) == expected


@pytest.mark.parametrize(
    ("said", "state", "expected"),
    [
        ("IntSlider(value=3)", {"value": 7}, "IntSlider(value=7)"),
        ("IntSlider(value=3, max=9)", {"value": 7}, "IntSlider(value=7, max=9)"),
        ("IntSlider()", {"value": 7}, "IntSlider(value=7)"),
        ("Text(value='a, (b')", {"value": "it's"}, 'Text(value="it\'s")'),
        ("IntRangeSlider(value=(1, 2))", {"value": [3, 4]}, "IntRangeSlider(value=(3, 4))"),
        ("Dropdown(options=('a', 'b'), value='a')", {"index": 1}, "Dropdown(options=('a', 'b'), value='b')"),
        ("Odd(value=3)", {"value": {"x": 1}}, "Odd(value=3)"),
        ("no call", {"value": 7}, "no call"),
    ],
)
def test_a_control_is_read_with_the_value_that_it_has_now(said: str, state: dict[str, Any], expected: str) -> None:
    slider = comm("slider", "comm_open", _model_name="IntSliderModel", _options_labels=["a", "b"])
    assert read(slider, view("slider", said), comm("slider", **state)) == [expected]


def test_what_an_output_widget_captures_is_read_where_that_is_shown() -> None:
    found = read(made(), view(), *into("out", stream("inside\n"), stream("wrong\n", "stderr")), stream("outside"))
    assert found == ["inside", "[stderr]\nwrong", "[stdout]\noutside"]


def test_clearing_an_output_widget_clears_it_alone() -> None:
    kept, captured = stream("kept\n"), into("out", stream("gone"))
    assert read(kept, made(), view(), *captured, *into("out", clear())) == ["kept"]
    waits = into("out", clear(wait=True), stream("latest"))
    assert read(kept, made(), view(), *captured, *waits) == ["kept", "[stdout]\nlatest"]
    assert read(kept, made(), view(), *captured, *into("out", clear(wait=True)), stream("after")) == [
        "kept",
        "[stdout]\ngone",
        "[stdout]\nafter",
    ]


def test_the_innermost_of_nested_output_widgets_captures() -> None:
    inner = into("b", stream("in b\n"))
    found = read(made("a"), made("b"), view("a"), view("b"), *into("a", stream("1\n"), *inner, stream("2\n")))
    assert found == ["1\n2", "[stdout]\nin b"]


def test_an_output_widget_in_another_is_read_in_it() -> None:
    held = into("a", stream("before\n"), view("b"))
    assert read(made("a"), made("b"), view("a"), *held, *into("b", stream("in b"))) == ["before\nin b"]


def test_output_widgets_that_show_each_other_end() -> None:
    assert ABOVE in "".join(read(made("a"), made("b"), view("a"), *into("a", view("b")), *into("b", view("a"))))


def test_an_output_widget_that_is_shown_twice_is_read_once() -> None:
    assert read(made(), view(), *into("out", stream("once")), view()) == ["once", "[display]\n" + ABOVE]


def test_what_is_captured_where_nobody_sees_it_is_read_all_the_same() -> None:
    assert read(made(), *into("out", stream("unseen"))) == [
        "(in an Output widget that is not shown here)",
        "[stdout]\nunseen",
    ]


def test_an_error_in_an_output_widget_is_known() -> None:
    raised = message("error", {"ename": "E", "evalue": "v", "traceback": []})
    folded = fold([made(), view(), *into("out", raised)])
    assert folded.outputs[0]["output_type"] == "display_data"
    assert [error["ename"] for error in folded.errors] == ["E"]


def test_a_picture_in_an_output_widget_is_a_picture() -> None:
    picture = message("display_data", {"data": {"image/png": PIXEL, "text/plain": "<Figure>"}, "metadata": {}})
    (section,) = transcribe(fold([made(), view(), *into("out", picture)]))
    assert section.picture is not None
    assert section.picture.data == PIXEL


def test_the_picture_of_an_image_widget_is_a_picture() -> None:
    content = {
        "comm_id": "image",
        "data": {"state": {"_model_name": "ImageModel", "format": "png"}, "buffer_paths": [["value"]]},
    }
    (section,) = transcribe(fold([message("comm_open", content, buffers=(b"\x00",)), view("image", "Image(...)")]))
    assert section.picture is not None
    assert section.picture.data == "AA=="


def test_interact_reads_as_its_controls_and_the_latest_call() -> None:
    slider = comm("x", "comm_open", _model_name="IntSliderModel", value=1, description="x")
    box = comm("box", "comm_open", _model_name="VBoxModel", children=["IPY_MODEL_x", "IPY_MODEL_out"])
    first = into("out", clear(wait=True), stream("1\n"))
    second = [comm("x", value=2), *into("out", clear(wait=True), stream("4\n"))]
    assert read(slider, made(), box, view("box", "interactive()"), *first, *second) == [
        "IntSlider(value=2, description='x')",
        "[stdout]\n4",
    ]


def test_what_the_kernel_appends_loses_nothing_that_was_captured() -> None:
    def appended(*said: str) -> Message:
        return comm("out", outputs=[{"output_type": "stream", "name": "stdout", "text": text} for text in said])

    caught = [made(), view(), *into("out", stream("captured\n"))]
    assert read(*caught, appended("a\n")) == ["captured\na"]
    assert read(*caught, appended("a\n"), appended("a\n", "b\n")) == ["captured\na\nb"]
    assert read(*caught, appended("captured\n", "a\n")) == ["captured\na"], "a front end had told the kernel"
    assert read(*caught, appended()) == []


def test_messages_of_others_change_what_is_shown_and_are_no_outputs() -> None:
    theirs = into("out", stream("theirs\n", parent="q"), parent="q")
    assert read(made(), view(), *theirs, widgets=Widgets(of="p")) == ["theirs"]
    assert read(made(), *theirs, widgets=Widgets(of="p")) == []


def test_a_widget_of_an_earlier_cell_shows_what_it_held_and_tells_what_is_new() -> None:
    before = Widgets(NOBODY)
    for each in (made(parent="o"), *into("out", stream("old\n", parent="o"), parent="o")):
        before.take(each)
    held, update = view(), into("out", stream("new\n"))
    lacking = fold([*update, held], Widgets(of="p")).widgets.lacks([])
    assert lacking == {"out"}
    assert read(*update, held, widgets=before.part(lacking, "p")) == ["old\nnew"]
    assert read(*update, widgets=before.part(lacking, "p"))[1:] == ["[stdout]\nnew"]
    assert read(held, widgets=before.part(lacking, "p")) == ["old"], "what is changed is a copy"


def test_where_a_part_is_missing_nothing_is_hidden_in_a_widget() -> None:
    hole = Mark(kind="hole", parent_id="p", detail="no room")
    assert read(made(), view(), comm("out", msg_id="p"), stream("in\n"), hole, stream("out\n")) == [
        "in",
        "[stdout]\nout",
    ]
