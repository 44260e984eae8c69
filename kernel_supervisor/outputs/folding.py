"""Folding a stream of kernel messages into Jupyter outputs: what a notebook's cell would show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kernel_supervisor.core.forms import count_of
from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.outputs.widgets import Widgets

Output = dict[str, Any]
"""One output in nbformat's form (v4): `output_type` is stream, display_data, execute_result or error.

https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
"""


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
    widgets: Widgets = field(default_factory=Widgets)


class Folder:
    """Folds messages one by one; feeding in pieces equals feeding at once.

    The semantics are nbclient's (`NotebookClient.process_message`) and JupyterLab's: streams are joined per
    name while they are adjacent, `clear_output(wait=True)` takes effect with the next output, displays are
    updated in place, and what a reply wants paged (`name?`) is shown.
    """

    def __init__(self) -> None:
        self.folded = Folded()
        self._seen: set[str] = set()
        self._clear_pending = False
        self._stream_parts: dict[int, list[str]] = {}
        self._displays: dict[str, Output] = {}
        """The latest of each display, by its id."""

    def feed(self, item: Message | Mark) -> None:
        """Take one message or mark of this execution; a message seen before changes nothing."""
        if isinstance(item, Mark):
            self.folded.marks.append(item)
            return
        if item.msg_id in self._seen:
            return
        self._seen.add(item.msg_id)
        try:
            if take := _TAKERS.get(item.msg_type):
                take(self, item)
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            detail = f"a message of type {item.msg_type} has not the form of one: {error}"
            self.folded.marks.append(Mark(kind="hole", parent_id=item.parent_id, detail=detail))

    def result(self) -> Folded:
        """What there is so far. The folder may be fed on afterwards."""
        for index, parts in self._stream_parts.items():
            self.folded.outputs[index]["text"] = "".join(parts)
        for output in self.folded.outputs if self._displays else ():
            if (latest := self._displays.get(_shown_as(output))) is not None:
                output.update(data=latest["data"], metadata=latest["metadata"])
        return self.folded

    def _append(self, output: Output) -> None:
        if self._clear_pending:
            self._clear()
        self.folded.outputs.append(output)

    def _clear(self) -> None:
        self.folded.outputs.clear()
        self._stream_parts.clear()
        self._displays.clear()
        self._clear_pending = False

    def _stream(self, message: Message) -> None:
        name, text = stream_of(message)
        if self._clear_pending:
            self._clear()
        last = len(self.folded.outputs) - 1
        if last not in self._stream_parts or self.folded.outputs[last]["name"] != name:
            last += 1
            self._append({"output_type": "stream", "name": name, "text": ""})
            self._stream_parts[last] = []
        self._stream_parts[last].append(text)

    def _show(self, message: Message) -> None:
        for output in outputs_of(message):
            self._append(output)
            if wanted := _shown_as(output):
                self._displays[wanted] = output

    def _result(self, message: Message) -> None:
        self._count(message)
        self._show(message)

    def _update(self, message: Message) -> None:
        output = _display_output(message, "display_data")
        if (wanted := _shown_as(output)) in self._displays:
            self._displays[wanted] = output
        else:
            self.folded.display_updates.append(output)

    def _clear_output(self, message: Message) -> None:
        if message.content.get("wait"):
            self._clear_pending = True
        else:
            self._clear()

    def _count(self, message: Message) -> None:
        count = count_of(message.content)
        self.folded.execution_count = self.folded.execution_count if count is None else count

    def _reply(self, message: Message) -> None:
        self.folded.reply = message.content
        self._result(message)

    def _comm(self, message: Message) -> None:
        self.folded.widgets.take(message)


_TAKERS = {
    "stream": Folder._stream,
    "display_data": Folder._show,
    "execute_result": Folder._result,
    "update_display_data": Folder._update,
    "error": Folder._show,
    "clear_output": Folder._clear_output,
    "execute_input": Folder._count,
    "execute_reply": Folder._reply,
    "comm_open": Folder._comm,
    "comm_msg": Folder._comm,
    "comm_close": Folder._comm,
}


def fold(items: Iterable[Message | Mark]) -> Folded:
    """Fold all of `items` at once."""
    folder = Folder()
    for item in items:
        folder.feed(item)
    return folder.result()


def stream_of(message: Message) -> tuple[str, str]:
    """The name and the text of a `stream` message."""
    return str(message.content.get("name", "stdout")), str(message.content.get("text", ""))


def outputs_of(message: Message) -> list[Output]:
    """The outputs that `message` shows by itself: none for most types, several where a reply pages several.

    Streams are not among them: what they show depends on their neighbours.
    """
    if message.msg_type in ("display_data", "execute_result"):
        return [_display_output(message, message.msg_type)]
    if message.msg_type == "error":
        return [_error_output(message)]
    if message.msg_type == "execute_reply":
        return _paged_outputs(message)
    return []


def errors_of(outputs: Iterable[Output]) -> list[Output]:
    """Those that are errors."""
    return [output for output in outputs if output["output_type"] == "error"]


def display_id_of(message: Message) -> str:
    """The display id that `message` shows or updates, empty where it has none."""
    return str((message.content.get("transient") or {}).get("display_id") or "")


def _shown_as(output: Output) -> str:
    """The display id of an output, empty where it has none."""
    return str(output.get("transient", {}).get("display_id") or "")


def _display_output(message: Message, output_type: str) -> Output:
    content = message.content
    output: Output = {
        "output_type": output_type,
        "data": dict(content.get("data") or {}),
        "metadata": dict(content.get("metadata") or {}),
        "transient": dict(content.get("transient") or {}),
    }
    if output_type == "execute_result":
        output["execution_count"] = count_of(content)
    return output


def _error_output(message: Message) -> Output:
    content = message.content
    return {
        "output_type": "error",
        "ename": str(content.get("ename", "")),
        "evalue": str(content.get("evalue", "")),
        "traceback": [str(line) for line in content.get("traceback") or []],
    }


def _paged_outputs(message: Message) -> list[Output]:
    """Payloads `page` as outputs, as JupyterLab shows them.

    https://jupyter-client.readthedocs.io/en/stable/messaging.html#payloads-deprecated
    """
    pages = [payload for payload in message.content.get("payload") or [] if payload.get("source") == "page"]
    return [
        {"output_type": "display_data", "data": dict(page.get("data") or {}), "metadata": {}, "transient": {}}
        for page in pages
    ]
