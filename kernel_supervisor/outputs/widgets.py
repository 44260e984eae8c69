"""What widgets of ipywidgets show now, as text: progress bars and labels. Of others, only how they began is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernel_supervisor.core.model import Message
from kernel_supervisor.outputs.markup import READ_AT_MOST, readable

VIEW = "application/vnd.jupyter.widget-view+json"
_REFERENCE = "IPY_MODEL_"
_BOXES = ("HBoxModel", "VBoxModel", "BoxModel")
_TEXTS = ("HTMLModel", "HTMLMathModel", "LabelModel")
_BARS = ("FloatProgressModel", "IntProgressModel")
_BAR_WIDTH = 10
_DEEPEST, _MOST = 5, 200
"""Boxes in boxes, and widgets in all that one view shows: boxes may have each other in them."""


@dataclass(slots=True)
class Widgets:
    """The state of widgets, from the comm messages that made, changed and closed them.

    https://github.com/jupyter-widgets/ipywidgets/blob/main/packages/schema/messages.md
    """

    _states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By model id; of a closed one nothing is left."""
    _read: dict[str, str | None] = field(default_factory=dict)
    """What those say that have no others in them, once it was asked for: many views may show one of them."""

    def take(self, message: Message) -> None:
        """Take a `comm_open`, `comm_msg` or `comm_close`."""
        model, data = str(message.content.get("comm_id")), message.content.get("data")
        self._read.pop(model, None)
        if message.msg_type == "comm_close":
            self._states[model] = {}
        elif isinstance(data, Mapping) and isinstance(data.get("state"), Mapping):
            self._states.setdefault(model, {}).update(data["state"])

    def text(self, view: Any) -> str | None:
        """What the widget of a MIME bundle's view shows, empty where it was closed; None where that is not known."""
        return self._text(str(view.get("model_id")), _DEEPEST, []) if isinstance(view, Mapping) else None

    def _text(self, model: str, deep: int, read: list[str]) -> str | None:
        """`read` are the widgets that were read for this view, each as often as it stands there."""
        read.append(model)
        state = self._states.get(model) if len(read) <= _MOST else None
        if not state:
            return None if state is None else ""
        kind = state.get("_model_name")
        children = state.get("children") or []
        if kind in _BOXES and deep and isinstance(children, list):
            parts: list[str] = []
            for child in children:
                part = self._text(str(child).removeprefix(_REFERENCE), deep - 1, read)
                if part is None:
                    return None
                parts.append(part)
            if sum(map(len, parts)) > READ_AT_MOST:
                return None
            return " ".join(filter(None, parts))
        if model not in self._read:
            self._read[model] = _leaf(kind, state)
        return self._read[model]


def _leaf(kind: Any, state: Mapping[str, Any]) -> str | None:
    if kind in _TEXTS:
        return readable(str(state.get("value") or ""))
    return _bar(state) if kind in _BARS else None


def _bar(state: Mapping[str, Any]) -> str | None:
    try:
        low, high, value = (float(state.get(name) or 0) for name in ("min", "max", "value"))
    except (TypeError, ValueError, OverflowError):
        return None
    share = min(1.0, max(0.0, (value - low) / (high - low))) if high > low else 0.0
    full = int(share * _BAR_WIDTH)
    description = readable(str(state.get("description") or ""))
    return f"{description} |{'█' * full}{' ' * (_BAR_WIDTH - full)}|".strip()
