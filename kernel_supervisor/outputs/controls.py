"""What single widgets of ipywidgets say, by their state: progress bars, labels, and controls with a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kernel_supervisor.outputs.markup import readable

_TEXTS = ("HTMLModel", "HTMLMathModel", "LabelModel")
_BARS = ("FloatProgressModel", "IntProgressModel")
_FIGURE_SPACE = "\u2007"
"""What tqdm writes for a space, which HTML would take together with others."""
_BAR_WIDTH = 10
_LONGEST = 1_000
_SAID = re.compile(r"""\bvalue=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\([^()]*\)|\[[^\[\]]*\]|[^,()\[\]]*)""")


def with_value(said: str, state: Mapping[str, Any]) -> str:
    """A widget's text with the value that the widget has now."""
    value = _value_of(state)
    if value is None:
        return said
    if _SAID.search(said):
        return _SAID.sub(lambda _: f"value={value}", said, count=1)
    name, opened, rest = said.partition("(")
    return said if not opened else f"{name}(value={value}{'' if rest == ')' else ', '}{rest}"


def _value_of(state: Mapping[str, Any]) -> str | None:
    """A widget's value as Python writes it, None for one that is no number, text or list of such."""
    value, labels, index = state.get("value"), state.get("_options_labels"), state.get("index")
    if "value" not in state and isinstance(labels, list) and type(index) is int and 0 <= index < len(labels):
        value = labels[index]
    parts = value if isinstance(value, list) else [value]
    if len(parts) > _LONGEST or not all(isinstance(each, str | int | float | bool) for each in parts):
        return None
    found = str(tuple(parts)) if isinstance(value, list) else repr(value)
    return found if len(found) <= _LONGEST else None


def short(state: Mapping[str, Any]) -> str | None:
    """What stands for a widget in a box: its name, and its value."""
    name, value, description = state.get("_model_name"), _value_of(state), state.get("description")
    if not isinstance(name, str):
        return None
    said = [f"value={value}"] if value is not None else []
    said += [f"description={description!r}"] if isinstance(description, str) and description else []
    return f"{name.removesuffix('Model')[:_LONGEST]}({', '.join(said)[: 2 * _LONGEST]})"


def leaf(state: Mapping[str, Any]) -> str | None:
    """What a progress bar or a label says; None for what is neither."""
    kind = state.get("_model_name")
    if kind in _TEXTS:
        return readable(str(state.get("value") or "").replace(_FIGURE_SPACE, " "))
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
