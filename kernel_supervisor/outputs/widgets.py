"""What widgets of ipywidgets show now: what Output widgets captured, progress bars and labels as text. Of others, what
their texts say of how they began, with the value that they have now."""

from __future__ import annotations

import base64
import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.outputs.area import Area, Output, output_from, weight_of, within
from kernel_supervisor.outputs.controls import leaf, short, with_value
from kernel_supervisor.outputs.markup import READ_AT_MOST

VIEW = "application/vnd.jupyter.widget-view+json"
COMMS = ("comm_open", "comm_msg", "comm_close")
CAPTURED = ("stream", "display_data", "execute_result", "error", "clear_output")
"""What an Output widget captures; JupyterLab shows no `update_display_data` in one, and neither does nbclient."""
_REFERENCE = "IPY_MODEL_"
_OUTPUT = ("@jupyter-widgets/output", "OutputModel")
_BOXES = ("HBoxModel", "VBoxModel", "BoxModel", "GridBoxModel", "AccordionModel", "TabModel", "StackModel")
_VALUES = ("value", "index")
_DEEPEST, _MOST = 5, 200
"""Boxes in boxes, and widgets in all that one view shows: boxes may have each other in them."""
_ROOM_OF_ONE, _ROOM = 16 << 20, 64 << 20
"""Characters that one Output widget shows, and that the state of all widgets takes: the first ones made go."""
_MODELS, _CLOSED = 50_000, 100_000
"""A progress bar of tqdm is ten of them."""
NOBODY = "no request"
"""What has no news."""
_MORE = "[more widgets, which are not read]"
ABOVE = "[the Output widget that is shown above]"


@dataclass(slots=True)
class _Model:
    state: dict[str, Any] = field(default_factory=dict)
    """As the kernel has it."""
    made: bool = False
    """Whether its beginning is known."""
    changed: bool = False
    """Whether it has another value than it had in the beginning."""
    area: Area | None = None
    """What an Output widget shows."""
    captures: str = ""
    """The request whose outputs that has now."""
    buffers: dict[str, dict[str, Any]] = field(default_factory=dict)
    weight: int = 0


@dataclass(slots=True)
class _View:
    """What is read for one view."""

    deep: int
    """How many Output widgets in each other are read."""
    read: int = 0
    unknown: bool = False
    """Whether it has a widget of which nobody knows what it shows."""
    moved: bool = False
    """Whether it has one that shows something else than it did in the beginning."""


class Widgets:
    """The state of widgets, from the messages that made, changed and closed them, and from what was shown in them.

    https://github.com/jupyter-widgets/ipywidgets/blob/main/packages/schema/messages.md; an Output widget captures what
    is shown for the request that its `msg_id` names, the latest one first, as JupyterLab and nbclient have it.
    """

    def __init__(self, of: str | None = None) -> None:
        """Know none yet. `of` is the request whose doings are told as news, all if it is None."""
        self._of = of
        self._models: OrderedDict[str, _Model] = OrderedDict()
        self._closed: OrderedDict[str, None] = OrderedDict()
        self._capturing: dict[str, dict[str, None]] = {}
        self._weight = 0
        self._news: dict[str, Area] = {}
        self._touched: dict[str, None] = {}
        self._read: dict[str, str | None] = {}
        """What those say that have no others in them, once it was asked for: many views may show one of them."""

    @property
    def is_capturing(self) -> bool:
        """Whether some request's outputs are shown in a widget now."""
        return bool(self._capturing)

    def captures(self, msg_type: str, parent: str) -> bool:
        """Whether a message of this type, for this request, would be shown in a widget."""
        return parent in self._capturing and msg_type in CAPTURED

    def take(self, message: Message) -> bool:
        """Take what belongs to widgets, and say whether this message does."""
        if message.msg_type in COMMS:
            self._comm(message)
            return True
        if not self.captures(message.msg_type, message.parent_id):
            return False
        model = next(reversed(self._capturing[message.parent_id]))
        if self._is_news(message):
            self._touched[model] = None
        area, news = self._models[model].area, self._news_of(model, message)
        assert area is not None  # only Output widgets capture
        before = area.size
        for each in (area, news):
            each.take(message, updated=False)
        self._weigh(model, area.size - before)
        return True

    def hear(self, mark: Mark) -> None:
        """Where a part of what a request showed is not known, the end of capturing may have been in it: nothing is
        captured until it is said again."""
        if mark.kind in ("hole", "cut"):
            for request in [mark.parent_id] if mark.parent_id else list(self._capturing):
                for name in self._capturing.pop(request, ()):
                    self._models[name].captures = ""

    def _news_of(self, model: str, message: Message) -> Area:
        """Where it is told what the request that this is all about showed in an Output widget."""
        return self._news.setdefault(model, Area(_ROOM_OF_ONE)) if self._is_news(message) else Area()

    def _is_news(self, message: Message) -> bool:
        return self._of is None or message.parent_id == self._of

    def _comm(self, message: Message) -> None:
        name, data = str(message.content.get("comm_id")), message.content.get("data")
        self._read.pop(name, None)
        if message.msg_type == "comm_close":
            self._close(name)
            return
        state = data.get("state") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or not isinstance(state, Mapping):
            return
        if self._is_news(message):
            self._touched[name] = None
        if message.msg_type == "comm_open":
            self._forget(name)
            self._closed.pop(name, None)
        elif name in self._closed or (name not in self._models and len(self._models) >= _MODELS):
            return  # of one that was forgotten there is nothing to be made any more
        model = self._models.setdefault(name, _Model(made=message.msg_type == "comm_open"))
        before = weight_of([model.state[key] for key in state if key in model.state])
        self._take_state(name, model, state, message)
        self._take_buffers(name, model, data.get("buffer_paths"), message.buffers)
        self._weigh(name, weight_of(list(state.values())) + 8 * len(state) - before)

    def _take_state(self, name: str, model: _Model, state: Mapping[str, Any], message: Message) -> None:
        known = model.state
        model.changed |= message.msg_type == "comm_msg" and any(key in state for key in _VALUES)
        before = known.get("outputs")
        known.update(state)
        if (known.get("_model_module"), known.get("_model_name")) != _OUTPUT:
            return
        if model.area is None:
            model.area, before = Area(_ROOM_OF_ONE), None
        if "outputs" in state:
            self._set_outputs(name, model, before, message)
        if isinstance(state.get("msg_id"), str):
            self._capture(name, model, state["msg_id"])

    def _set_outputs(self, name: str, model: _Model, before: Any, message: Message) -> None:
        """What the kernel says that an Output widget shows.

        The kernel appends to what it said last. Where a front end tells it what was captured, that is in it; where none
        does, nothing of that is to be lost.
        """
        assert model.area is not None
        news = self._news_of(name, message)
        said, earlier = (_outputs(each) for each in (model.state["outputs"], before))
        known = [earlier]
        if model.area.size <= weight_of(said):  # else they do not begin with what it shows
            known.insert(0, [_plain(output) for output in model.area.result()])
        found = (_behind(each, said) for each in sorted(known, key=weight_of, reverse=True) if said)
        more = next((each for each in found if each is not None), None)
        for area in (model.area, news) if more is None else ():
            area.clear(wait=False)
        for output in said if more is None else more:
            model.area.show(dict(output))
            news.show(dict(output))

    def _capture(self, name: str, model: _Model, request: str) -> None:
        """What is shown for `request` is from now on shown in that widget, or in none where it is empty."""
        names = self._capturing.get(model.captures, {})
        if name in names:
            del names[name]
            if not names:
                del self._capturing[model.captures]
        model.captures = request
        if request:
            self._capturing.setdefault(request, {})[name] = None

    def _take_buffers(self, name: str, model: _Model, paths: Any, buffers: Iterable[bytes]) -> None:
        for path, buffer in zip(paths if isinstance(paths, list) else (), buffers, strict=False):
            key = json.dumps(path)
            data = base64.b64encode(buffer).decode("ascii")
            old = model.buffers.get(key)
            self._weigh(name, len(data) - (len(old["data"]) if old else 0))
            model.buffers[key] = {"data": data, "encoding": "base64", "path": path}

    def _close(self, name: str) -> None:
        """From now on it shows nothing; what it had in it is the first to go, as nobody may see that any more."""
        model = self._forget(name)
        self._closed[name] = None
        if len(self._closed) > _CLOSED:
            self._closed.popitem(last=False)
        left = _references(list(model.state.values())) if model is not None else []
        for theirs in left[:_MOST]:
            if theirs in self._models:
                left += _references(list(self._models[theirs].state.values())) if len(left) < _MOST else ()
                self._models.move_to_end(theirs, last=False)

    def _forget(self, name: str) -> _Model | None:
        model = self._models.pop(name, None)
        if model is not None:
            self._capture(name, model, "")
            self._weight -= model.weight
            self._read.pop(name, None)
        return model

    def _weigh(self, name: str, more: int) -> None:
        """Count what a widget takes, and forget the first of all where they take too much."""
        self._models[name].weight += more
        self._weight += more
        while len(self._models) > _MODELS or (self._weight > _ROOM and len(self._models) > 1):
            first = next(iter(self._models))
            if first == name:
                self._models.move_to_end(name)
                continue
            self._forget(first)

    def captured(self, shown: Collection[str] = ()) -> list[Output]:
        """What Output widgets captured and have left, in the request that this is about, but those that are `shown`."""
        return [output for name, area in self._news.items() if name not in shown for output in area.result()]

    # What it was before

    def lacks(self, outputs: Iterable[Output]) -> set[str]:
        """Widgets that the request changed or shows in `outputs`, and whose beginning is not known here."""
        names = [*self._touched, *views_of(outputs)]
        known = {name for name, model in self._models.items() if model.made}.union(self._closed)
        return self._with_theirs(names) - known

    def part(self, names: Iterable[str], of: str | None) -> Widgets:
        """Some of these widgets and what they show, to be changed by another request, `of`."""
        found = Widgets(of)
        for name in self._with_theirs(names):
            if name in self._closed:
                found._closed[name] = None
            model = self._models.get(name)
            if model is not None:
                state, buffers, area = dict(model.state), dict(model.buffers), model.area
                area = area.copy() if area is not None else None
                found._models[name] = replace(model, state=state, buffers=buffers, area=area, changed=False)
                found._weight += model.weight
        for request, capturing in self._capturing.items():
            if left := [name for name in capturing if name in found._models]:
                found._capturing[request] = dict.fromkeys(left)
        return found

    def _with_theirs(self, names: Iterable[str]) -> set[str]:
        """These widgets, and those that they have in them, show or refer to."""
        found: set[str] = set()
        left = list(names)
        while left:
            name = left.pop()
            if name in found:
                continue
            found.add(name)
            model = self._models.get(name)
            if model is not None:
                left += _references(list(model.state.values()))
                left += views_of(model.area.outputs) if model.area is not None else ()
        return found

    # As notebooks have it

    @staticmethod
    def of_notebook(states: Any, *, controls: bool) -> Widgets:
        """The widgets in a notebook's `application/vnd.jupyter.widget-state+json`; with `controls` those that have
        a value are read with it."""
        found = Widgets()
        for name, described in states.items() if isinstance(states, Mapping) else ():
            state = described.get("state") if isinstance(described, Mapping) else None
            if not isinstance(state, Mapping):
                continue
            names = {"_model_name": described.get("model_name"), "_model_module": described.get("model_module")}
            content = {"comm_id": name, "data": {"state": {**names, **state, "msg_id": ""}}}
            found._comm(_message("comm_open", content))
            if isinstance(buffers := described.get("buffers"), list):
                known = [each for each in buffers if isinstance(each, dict) and isinstance(each.get("data"), str)]
                found._models[name].buffers = {json.dumps(each.get("path")): each for each in known}
            found._models[name].changed = controls
        return found

    def of_those(self, names: Iterable[str]) -> dict[str, Any]:
        """The state of these and of what they have in them by model id, as a notebook's metadata has it."""
        wanted = self._with_theirs(names)
        return {
            name: _described(model)
            for name, model in self._models.items()
            if name in wanted and "_model_name" in model.state
        }

    def is_closed(self, output: Output) -> bool:
        """Whether an output is the view of a widget that was closed: it is not seen any more."""
        return any(name in self._closed for name in views_of([output]))

    # As text and pictures

    def shown(self, outputs: Iterable[Output], above: set[str], deep: int = _DEEPEST) -> Iterator[Output]:
        """`outputs` with what their widgets show in the place of the views of those of which that is known.

        What an Output widget captured is shown once: `above` are those that were, and come to be.
        """
        for output in outputs:
            names = views_of([output]) if deep else ()
            found = self._shown_in(names[0], output, above, _View(deep)) if names else None
            yield from [output] if found is None else found

    def _shown_in(self, name: str, output: Output, above: set[str], view: _View) -> list[Output] | None:
        parts = self._parts(name, _DEEPEST, above, view)
        if view.unknown and (not view.moved or view.read == 1):
            model = self._models.get(name)
            said = output.get("data", {}).get("text/plain")
            if model is None or not model.changed or not isinstance(said, str):
                return None
            return [_replaced(output, with_value(said, model.state))]
        found: list[Output] = []
        texts: list[str] = []
        for part in [*parts, None]:
            if isinstance(part, str):
                texts.append(part)
                continue
            if text := " ".join(filter(None, texts)):
                found.append(_replaced(output, text))
            texts.clear()
            if part is not None:
                found.append(part)
        return found

    def _parts(self, name: str, deep: int, above: set[str], view: _View) -> list[str | Output]:
        """What a widget shows, in order: texts and outputs."""
        view.read += 1
        if name in self._closed:
            return []
        model = self._models.get(name) if view.read <= _MOST else None
        if model is None:
            view.unknown = True
            return []
        if model.area is not None:
            view.moved = True
            return self._captured_by(name, model.area, above, view.deep)
        children = model.state.get("children")
        if model.state.get("_model_name") in _BOXES and deep and isinstance(children or [], list):
            parts: list[str | Output] = []
            for child in children or []:
                parts += self._parts(str(child).removeprefix(_REFERENCE), deep - 1, above, view)
                if view.read > _MOST:
                    parts.append(_MORE)
                    break
            if sum(len(part) for part in parts if isinstance(part, str)) > READ_AT_MOST:
                view.unknown, parts = True, [part for part in parts if not isinstance(part, str)]
            return parts
        if picture := _picture(model):
            return [picture]
        if name not in self._read:
            self._read[name] = leaf(model.state)
        text = self._read[name]
        if text is None:
            view.unknown, view.moved = True, view.moved or model.changed
            text = short(model.state) or ""
        return [text]

    def _captured_by(self, name: str, area: Area, above: set[str], deep: int) -> list[str | Output]:
        if name in above:
            return [ABOVE]
        above.add(name)
        return list(self.shown(area.result(), above, deep - 1))


def views_of(outputs: Iterable[Output]) -> list[str]:
    """The ids of the widgets whose views are in `outputs`."""
    views = [output.get("data", {}).get(VIEW) for output in outputs]
    return [str(view.get("model_id")) for view in views if isinstance(view, Mapping)]


def _references(value: Any) -> list[str]:
    """The widgets that a value of a widget's state refers to."""
    texts = (each for each in within(value) if isinstance(each, str))
    return [each.removeprefix(_REFERENCE) for each in texts if each.startswith(_REFERENCE)]


def _outputs(value: Any) -> list[Output]:
    """Outputs in a widget's state, as an area shows them."""
    area = Area()
    for each in value if isinstance(value, list) else ():
        if (output := output_from(each)) is not None:
            area.show(output)
    return [_plain(output) for output in area.result()]


def _behind(beginning: list[Output], outputs: list[Output]) -> list[Output] | None:
    """What `outputs` show behind their beginning; None where they do not begin so."""
    if not beginning:
        return outputs
    at = len(beginning) - 1
    last, same = beginning[at], outputs[at] if at < len(outputs) else {}
    if beginning[:at] != outputs[:at] or {**last, "text": ""} != {**same, "text": ""}:
        return None
    if not str(same.get("text", "")).startswith(last.get("text", "")):
        return None
    goes_on = {**same, "text": same["text"][len(last["text"]) :]} if "text" in last else {"text": ""}
    return [*([goes_on] if goes_on["text"] else ()), *outputs[at + 1 :]]


def _plain(output: Output) -> Output:
    return {key: value for key, value in output.items() if key != "transient"}


def _described(model: _Model) -> dict[str, Any]:
    state = model.state
    if model.area is not None:
        state = {**state, "outputs": [_plain(output) for output in model.area.result()]}
    described: dict[str, Any] = {
        "model_name": state["_model_name"],
        "model_module": state.get("_model_module"),
        "model_module_version": state.get("_model_module_version"),
        "state": state,
    }
    if model.buffers:
        described["buffers"] = list(model.buffers.values())
    return described


def _message(msg_type: str, content: dict[str, Any]) -> Message:
    return Message(channel="iopub", msg_type=msg_type, msg_id="", parent_id="", date="", username="", content=content)


def _replaced(output: Output, text: str) -> Output:
    """`output`, or one like it, with a text instead of a view."""
    known = {"output_type": "display_data", "metadata": {}, **output}
    return {**known, "data": {"text/plain": text}}


def _picture(model: _Model) -> Output | None:
    """What an Image widget shows."""
    if model.state.get("_model_name") != "ImageModel":
        return None
    buffer, kind = model.buffers.get('["value"]'), model.state.get("format")
    if buffer is None or not isinstance(kind, str):
        return None
    mime = "image/" + {"jpg": "jpeg"}.get(kind, kind)
    return {"output_type": "display_data", "data": {mime: buffer["data"]}, "metadata": {}}
