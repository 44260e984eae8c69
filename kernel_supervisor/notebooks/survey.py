"""The first of two readings: what must be known before the first cell can be written, in little memory.

A display may be updated, and an output cleared, long after it was shown. So the messages are read twice:
here, to find out what will be left of them, and in `cells`, to write what is left, one output at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.notebooks.history import LOADED_CELL, NEVER_WRITTEN, Entry
from kernel_supervisor.notebooks.terminal import Terminal
from kernel_supervisor.outputs.area import display_id_of, outputs_of
from kernel_supervisor.outputs.widgets import CAPTURED, COMMS, NOBODY, Widgets, views_of

TakenByWidgets = Callable[[Widgets], Iterable[Message]]
"""Gives widgets what was sent to their kernels, in order, and yields what they took."""
Bundle = tuple[dict[str, Any], dict[str, Any]]
"""What a display shows: data by mime type, and its metadata."""

_ROOM_FOR_DISPLAYS = 16 << 20
_COUNTING = ("execute_input", "execute_reply", LOADED_CELL)
_TIMED = {"execute_input": "iopub.execute_input", "execute_reply": "shell.execute_reply"}
_CLEARABLE = ("stream", "display_data", "execute_result", "error", "execute_reply")


@dataclass(slots=True)
class CellSurvey:
    """What became of one entry."""

    first_output: int = 0
    """How many of its messages come before the first whose output is left."""
    length: int = 0
    """How many of its messages were read: a cell that still runs may have more by the second reading."""
    execution_count: int | None = None
    error: str = ""
    """The name of the exception that ended it."""
    timing: dict[str, str] = field(default_factory=dict)
    """When what was sent, under JupyterLab's names."""
    marks: list[Mark] = field(default_factory=list)
    loaded: dict[str, Any] | None = None
    """The cell as it stood in the notebook that it was loaded from, without its outputs."""
    first_updates: set[str] = field(default_factory=set)
    """The first that is left of displays that it may have shown where its middle is not recorded, by their msg_id."""

    @property
    def ran(self) -> bool:
        """Whether it is more than a loaded cell as it was."""
        return self.loaded is None or "iopub.execute_input" in self.timing


@dataclass(slots=True)
class _Display:
    entry: int
    message: Message | None
    """None where the message would take too much room: it is looked up again."""
    msg_id: str
    date: str


class Survey:
    """What became of all entries, with the displays and widgets that reach across them."""

    def __init__(self, entries: Sequence[Entry], taken: TakenByWidgets | None = None) -> None:
        """`taken` tells what widgets take, in the order in which it was sent; else that is the order of the entries."""
        self._entries = entries
        self._widgets, self._known = Widgets(NOBODY), set[str]()
        self._captured = {item.msg_id for item in taken(self._widgets) if item.msg_type in CAPTURED} if taken else set()
        self._takes = taken is None
        self._displays: dict[tuple[str, int, str], _Display] = {}
        self._room = _ROOM_FOR_DISPLAYS
        self.cells = [self._cell(index) for index in range(len(entries))]

    def latest(self, index: int, message: Message) -> Bundle | None:
        """What the display of `message`, an output of entry `index`, shows at last; None if its own data."""
        display = self._displays.get(self._key(index, message))
        if display is None or display.msg_id == message.msg_id:
            return None
        return _bundle(display.message or self._reread(display))

    def widget_state(self) -> dict[str, Any]:
        """The state of the entries' widgets by model id, as `application/vnd.jupyter.widget-state+json` has it."""
        return {name: _published(each) for name, each in self._widgets.of_those(self._known).items()}

    def is_shown(self, message: Message) -> bool:
        """Whether a message of an entry's shows something in its cell, not in a widget or where one was closed."""
        if message.msg_id in self._captured:
            return False
        return message.msg_type == "stream" or any(not self._widgets.is_closed(each) for each in outputs_of(message))

    def _cell(self, index: int) -> CellSurvey:
        cell, clear_pending = CellSurvey(), False
        for number, item in enumerate(self._entries[index].messages()):
            cell.length = number + 1
            if self._takes:
                self._take(item)
            if isinstance(item, Mark):
                cell.marks.append(item)
                continue
            if item.msg_type in COMMS:
                self._known.add(str(item.content.get("comm_id")))
                continue
            self._known.update(views_of(outputs_of(item)))
            if item.msg_id not in self._captured:
                if clear_pending and item.msg_type in _CLEARABLE and (item.msg_type == "stream" or outputs_of(item)):
                    cell.first_output, clear_pending = number, False
                if item.msg_type == "clear_output":
                    clear_pending = bool(item.content.get("wait"))
                    cell.first_output = cell.first_output if clear_pending else number
                if item.msg_type == "execute_input" and cell.loaded is not None:
                    cell.first_output = number
                _note(cell, item)
            if display_id_of(item):
                self._take_display(index, item, cell)
        return cell

    def _take(self, item: Message | Mark) -> None:
        if isinstance(item, Mark):
            self._widgets.hear(item)
        elif self._widgets.take(item) and item.msg_type in CAPTURED:
            self._captured.add(item.msg_id)

    def _key(self, index: int, message: Message) -> tuple[str, int, str]:
        # A display lives in one run of one kernel: later ones may use its id anew.
        execution = self._entries[index].execution
        return str(execution.kernel_id), execution.generation, display_id_of(message)

    def _take_display(self, index: int, message: Message, cell: CellSurvey) -> None:
        key = self._key(index, message)
        old = self._displays.get(key)
        if old is None and message.msg_type == "update_display_data" and any(each.kind == "cut" for each in cell.marks):
            cell.first_updates.add(message.msg_id)
        date = message.date.rstrip("Z")
        if old is not None and old.date > date:
            return
        kept = None
        if old is not None:
            self._room += _size(old.message)
            kept = message if _size(message) <= self._room else None
            self._room -= _size(kept)
        self._displays[key] = _Display(index, kept, message.msg_id, date)

    def _reread(self, display: _Display) -> Message:
        for item in self._entries[display.entry].messages():
            if isinstance(item, Message) and item.msg_id == display.msg_id:
                return item
        raise LookupError(f"message {display.msg_id} was there a moment ago")


def _note(cell: CellSurvey, message: Message) -> None:
    kind, content, date = message.msg_type, message.content, message.date.replace(" ", "T").replace("+00:00", "Z")
    if kind in _COUNTING and (count := count_of(content)) is not None:
        cell.execution_count = count
    if kind == LOADED_CELL:
        cell.loaded = content
    elif kind == "status" and content.get("execution_state") in ("busy", "idle"):
        cell.timing[f"iopub.status.{content['execution_state']}"] = date
    elif kind in _TIMED:
        cell.timing[_TIMED[kind]] = date
    if kind == "execute_reply" and isinstance(message.metadata.get("started"), str):
        cell.timing["shell.execute_reply.started"] = message.metadata["started"]
    if kind == "error" or (kind == "execute_reply" and content.get("status") == "error"):
        cell.error = str(content.get("ename", ""))


def _bundle(message: Message) -> Bundle:
    return dict(message.content.get("data") or {}), dict(message.content.get("metadata") or {})


def _size(message: Message | None) -> int:
    """About how many characters `message` shows."""
    data = (message.content.get("data") or {}).values() if message is not None else ()
    return sum(len(value) if isinstance(value, str) else len(json.dumps(value)) for value in data)


def _published(described: dict[str, Any]) -> dict[str, Any]:
    """A widget's state, with what it captured as cells have it."""
    captured = described["state"].get("outputs") if described["model_name"] == "OutputModel" else ()
    for output in captured if isinstance(captured, list) else ():
        if isinstance(output, dict) and output.get("output_type") == "stream":
            terminal = Terminal()
            terminal.feed(output["text"])
            output["text"] = terminal.scrolled() + terminal.text()
        elif isinstance(output, dict) and isinstance(output.get("data"), dict):
            output["data"] = {mime: each for mime, each in output["data"].items() if mime != NEVER_WRITTEN}
    return described
