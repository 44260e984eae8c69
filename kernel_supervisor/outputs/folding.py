"""Folding a stream of kernel messages into Jupyter outputs: what a notebook's cell would show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.outputs.area import Area, Output, display_id_of, display_output, errors_of
from kernel_supervisor.outputs.widgets import Widgets

_COUNTING = ("execute_input", "execute_result", "execute_reply")


@dataclass(kw_only=True)
class Folded:
    """What an execution has shown so far, and how it ended if it has."""

    outputs: list[Output] = field(default_factory=list)
    execution_count: int | None = None
    reply: dict[str, Any] | None = None
    """The content of its `execute_reply`, once there was one."""
    marks: list[Mark] = field(default_factory=list)
    display_updates: list[Output] = field(default_factory=list)
    """`update_display_data` for displays that belong to other executions."""
    widgets: Widgets = field(default_factory=Widgets, compare=False)

    @property
    def errors(self) -> list[Output]:
        """Those that it showed, the cell's own last."""
        return [*errors_of(self.widgets.captured()), *errors_of(self.outputs)]


class Folder:
    """Folds messages one by one; feeding in pieces equals feeding at once.

    The semantics are nbclient's (`NotebookClient.process_message`) and JupyterLab's: see `Area`; what is printed and
    shown while an Output widget captures belongs to that; and what a reply wants paged (`name?`) is shown.
    """

    def __init__(self, widgets: Widgets | None = None) -> None:
        """`widgets` are those that there were before, which are changed by what is fed."""
        self.folded = Folded() if widgets is None else Folded(widgets=widgets)
        self._seen: set[str] = set()
        self._area = Area()

    def feed(self, item: Message | Mark) -> None:
        """Take one message or mark of this execution, or what belongs to widgets of another; a message seen before
        changes nothing."""
        if isinstance(item, Mark):
            self.folded.marks.append(item)
            self.folded.widgets.hear(item)
            return
        if item.msg_id in self._seen:
            return
        self._seen.add(item.msg_id)
        try:
            if self.folded.widgets.take(item):
                if display_id_of(item):
                    self._area.update(display_output(item, "display_data"))
            else:
                self._take(item)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            detail = f"a message of type {item.msg_type} has not the form of one: {error}"
            self.folded.marks.append(Mark(kind="hole", parent_id=item.parent_id, detail=detail))

    def result(self) -> Folded:
        """What there is so far. The folder may be fed on afterwards."""
        self.folded.outputs = self._area.result()
        return self.folded

    def _take(self, message: Message) -> None:
        if message.msg_type == "update_display_data":
            output = display_output(message, "display_data")
            if not self._area.update(output):
                self.folded.display_updates.append(output)
            return
        if message.msg_type == "execute_reply":
            self.folded.reply = message.content
        if message.msg_type in _COUNTING and (count := count_of(message.content)) is not None:
            self.folded.execution_count = count
        self._area.take(message)


def fold(items: Iterable[Message | Mark], widgets: Widgets | None = None) -> Folded:
    """Fold all of `items` at once; for `widgets` see `Folder`."""
    folder = Folder(widgets)
    for item in items:
        folder.feed(item)
    return folder.result()
