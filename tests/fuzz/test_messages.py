"""Promise: whatever a kernel sends spoils itself alone: its cell, and all that shows it, are read all the same."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from kernel_supervisor.outputs.widgets import VIEW
from tests.fuzz import odd
from tests.fuzz.odd import CONTENTS, paths
from tests.fuzz.survivor import OURS, Survivor
from tests.support import RESULT, Shim

MESSAGES = 100
VALUES: list[Any] = [
    None,
    True,
    -1,
    10**30,
    10**4000,
    0.5,
    "",
    "x",
    "\ud800",
    [],
    [1, 2, 3],
    ["x"],
    {},
    {"x": {"x": []}},
]
"""At least one of every type of JSON."""
SENDER = """
import copy
kernel = get_ipython().kernel

def send(msg_type, changes):
    session = kernel.session
    whole = copy.deepcopy(session.msg(msg_type, {}, parent=kernel.get_parent()))
    for path, value in changes:
        place = whole
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
    try:
        session.send(kernel.iopub_socket, whole, ident=b"odd")
    except Exception:
        pass  # it cannot be sent at all
"""
HEAD: list[tuple[str, ...]] = [("header",), ("parent_header",), ("metadata",), ("buffers",), ("content",)]
HEAD += [("header", name) for name in ("msg_id", "msg_type", "date", "username", "session", "version")]
HEAD += [("parent_header", name) for name in ("msg_id", "msg_type", "date", "username", "session")]
ENDING = ("execute_reply", "status", "input_request")
"""What ends or holds an execution by itself, whatever that prints afterwards."""


@pytest.fixture(scope="module")
def shim(survivor: Survivor) -> Iterator[Shim]:
    """A client with a kernel that can send what kernels do not."""
    with survivor.home.shim() as shim:
        shim.open()
        shim.run(SENDER)
        yield shim


@pytest.mark.parametrize("msg_type", CONTENTS)
def test_each_field_of_each_message_may_be_of_every_type(survivor: Survivor, shim: Shim, msg_type: str) -> None:
    whole = [(("content",), CONTENTS[msg_type])]
    ways = [*HEAD, *(("content", *path) for path in paths(CONTENTS[msg_type]))]
    sent = [f"send({msg_type!r}, {[*whole, (way, value)]!r})" for way in ways for value in VALUES]
    read_back(survivor, shim, sent, ends=msg_type in ENDING)


def test_messages_of_any_form_spoil_themselves_alone(
    survivor: Survivor, shim: Shim, seeds: Iterator[random.Random]
) -> None:
    for chance in seeds:
        kinds = [chance.choice([each for each in CONTENTS if each not in ENDING]) for _ in range(MESSAGES)]
        contents = [odd.neighbour(CONTENTS[kind], chance) for kind in kinds]
        sent = [f"send({kind!r}, {[(('content',), each)]!r})" for kind, each in zip(kinds, contents, strict=True)]
        read_back(survivor, shim, sent, ends=False)


def test_what_lies_deep_in_a_message_spoils_itself_alone(survivor: Survivor, shim: Shim) -> None:
    state, view = {"_model_name": "LabelModel"}, {"model_id": "deep"}
    contents: list[tuple[str, str]] = [
        ("display_data", "{'data': {'application/json': X, 'text/plain': X, 'x/y': X}, 'metadata': {'m': X}}"),
        ("comm_open", f"{{'comm_id': 'deep', 'data': {{'state': {{**{state}, 'value': X, 'children': X}}}}}}"),
        ("display_data", f"{{'data': {{{VIEW!r}: {view}}}, 'metadata': {{}}}}"),
        ("error", "{'ename': X, 'evalue': X, 'traceback': [X]}"),
    ]
    deep = "value = 1\nfor _ in range({}): value = {}\n"
    for depth in (390, 700, 950):
        for container in ("[value]", "{'k': value}"):
            sent = [f"X = value; send({kind!r}, [(('content',), {content})])" for kind, content in contents]
            read_back(survivor, shim, [deep.format(depth, container), *sent], ends=False)


OUTPUTS: list[dict[str, Any]] = [
    {"output_type": "stream", "name": "stdout", "text": "text\n"},
    {"output_type": "display_data", "data": {VIEW: {"model_id": "w"}, "text/plain": "w"}, "metadata": {}},
    {"output_type": "execute_result", "data": {"text/plain": "1"}, "metadata": {}, "execution_count": 1},
    {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["a line"]},
]
WIDGETS: dict[str, dict[str, Any]] = {
    "an Output widget": {"_model_module": "@jupyter-widgets/output", "_model_name": "OutputModel", "msg_id": "x"}
    | {"outputs": OUTPUTS},
    "a control": {"_model_name": "DropdownModel", "_options_labels": ["a", "b"], "index": 1, "description": "d"},
    "a picture": {"_model_name": "ImageModel", "format": "png", "value": "x"},
    "a box": {"_model_name": "TabModel", "children": ["IPY_MODEL_w", "IPY_MODEL_c"], "titles": ["t"]},
}


@pytest.mark.parametrize("kind", WIDGETS)
def test_each_field_of_a_widget_may_be_of_every_type(survivor: Survivor, shim: Shim, kind: str) -> None:
    state: dict[str, Any] = WIDGETS[kind]
    view = {"data": {VIEW: {"model_id": "w"}, "text/plain": "Widget(value=1)"}, "metadata": {}}
    sent = []
    for path in paths(state):
        for value in VALUES:
            changed = (("content", "data", "state", *path), value)
            for msg_type in ("comm_open", "comm_msg"):
                content = {"comm_id": "w", "data": {"state": state, "buffer_paths": [["value"]]}}
                sent.append(f"send({msg_type!r}, {[(('content',), content), changed]!r})")
        sent += [f"send('display_data', {[(('content',), view)]!r})"] * 2
    read_back(survivor, shim, sent, ends=False)


SIMILAR = "[... skipping similar frames: f at line 1 ({} times)]"
NUMBER = "9" * 5_000
"""Python makes no number of it."""
NUMBERS: list[tuple[str, dict[str, Any]]] = [
    ("display_data", {"data": {"text/html": f"<p title='&#{NUMBER};'>&#{NUMBER};</p>"}, "metadata": {}}),
    ("comm_open", {"comm_id": "n", "data": {"state": {"_model_name": "LabelModel", "value": f"&#{NUMBER}"}}}),
    ("display_data", {"data": {VIEW: {"model_id": "n"}}, "metadata": {}}),
    ("error", {"ename": "E", "evalue": "v", "traceback": [f"Cell In[{NUMBER[:99]}], line {NUMBER[:99]}\n-> {NUMBER}"]}),
    ("error", {"ename": "E", "evalue": "v", "traceback": [f"Cell In[1]\n-> {NUMBER} x", f"File /a:{NUMBER[:99]}"]}),
    ("error", {"ename": "E", "evalue": "v", "traceback": ["Cell In[1]\nx", SIMILAR.format(NUMBER)]}),
]


def test_numbers_of_any_length_spoil_themselves_alone(survivor: Survivor, shim: Shim) -> None:
    for kind, content in NUMBERS:
        read_back(survivor, shim, [f"send({kind!r}, {[(('content',), content)]!r})"], ends=False)


def test_a_session_with_odd_messages_is_exported(survivor: Survivor, shim: Shim) -> None:
    contents = [(kind, content) for kind, content in CONTENTS.items() if kind not in ENDING]
    ways = [(kind, content, path) for kind, content in contents for path in paths(content)]
    sent = [f"send({kind!r}, {[(('content',), content), (('content', *path), [1])]!r})" for kind, content, path in ways]
    number = read_back(survivor, shim, sent, ends=False)
    saved = shim.call("kernel_save_notebook", path="odd.ipynb", overwrite=True, save_html=True, first=number)
    assert not saved["isError"], saved
    assert (survivor.home.project / "odd.html").exists()


def read_back(survivor: Survivor, shim: Shim, sent: list[str], *, ends: bool) -> int:
    """A cell that sends this can be read wherever cells are; its number."""
    code = "\n".join(
        ["inf = nan = None", *sent, "get_ipython().display_pub.clear_output()", "print('at last')", "6 * 7"]
    )
    result = shim.call("kernel_exec", code=code, timeout=60)
    number = result["_meta"][RESULT]["execution_id"]
    shim.call("kernel_output", execution_id=number, wait=60)
    shown = [result, shim.call("kernel_output", execution_id=number), shim.call("kernel_history", last=3)]
    shown.append(shim.call("kernel_save_notebook", path="odd.ipynb", overwrite=True, first=number))
    followed = survivor.home.cli("output", str(number), "--follow")
    assert not any(each["isError"] for each in shown), shown
    assert OURS not in json.dumps(shown), shown
    assert "Traceback (most" not in followed.stderr, followed.stderr
    if not ends:
        texts = [each["content"][0]["text"] for each in shown[:2]]
        written = (survivor.home.project / "odd.ipynb").read_text()
        assert all("at last" in text for text in (*texts, followed.stdout, written)), (texts, followed)
        assert all("42" in text for text in texts), texts
    survivor.check()
    return int(number)
