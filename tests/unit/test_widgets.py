"""`core.widgets`: what progress bars and labels of ipywidgets show now."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_supervisor.core.model import Message
from kernel_supervisor.outputs.widgets import Widgets


def comm(model: str, msg_type: str = "comm_msg", **state: Any) -> Message:
    content = {"comm_id": model, "data": {"state": state}}
    return Message(channel="iopub", msg_type=msg_type, msg_id="m", parent_id="p", date="", username="", content=content)


def shown(*messages: Message, model: str = "box") -> str | None:
    widgets = Widgets()
    for message in messages:
        widgets.take(message)
    return widgets.text({"model_id": model})


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


def test_of_other_widgets_nothing_is_claimed() -> None:
    slider = comm("slider", "comm_open", _model_name="IntSliderModel", value=3)
    assert shown(slider, model="slider") is None
    assert shown(slider, comm("box", "comm_open", _model_name="VBoxModel", children=["IPY_MODEL_slider"])) is None
    assert shown() is None
    assert Widgets().text(None) is None


def test_a_box_in_itself_ends() -> None:
    assert shown(comm("box", "comm_open", _model_name="HBoxModel", children=["IPY_MODEL_box"])) is None


@pytest.mark.parametrize("value", ["much", [1], {}])
def test_numbers_that_are_none_are_no_bar(value: Any) -> None:
    state = {"min": 0, "max": 1, "value": value}
    expected = "|          |" if not value else None
    assert shown(comm("box", "comm_open", _model_name="IntProgressModel", **state)) == expected
