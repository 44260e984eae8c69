"""One place in which outputs are shown, a cell's or an Output widget's: what messages show there, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kernel_supervisor.core.forms import count_of, formed
from kernel_supervisor.core.model import Message

Output = dict[str, Any]
"""One output in nbformat's form (v4): `output_type` is stream, display_data, execute_result or error.

https://nbformat.readthedocs.io/en/latest/format_description.html#code-cell-outputs
"""
_KINDS = ("stream", "display_data", "execute_result", "error")
_LEFT_OUT = "[the beginning is left out]\n"


class Area:
    """Outputs in order: streams are joined per name while they are adjacent, `clear_output(wait=True)` takes effect
    with the next output, displays are updated in place."""

    def __init__(self, room: int | None = None) -> None:
        """Show nothing yet, and of more than about `room` characters, if that is given, the last only."""
        self.outputs: list[Output] = []
        self._room, self.size = room, 0
        self._clear_pending = False
        self._parts: dict[int, list[str]] = {}
        self._displays: dict[str, Output] = {}
        """The latest of each display, by its id."""

    def result(self) -> list[Output]:
        """What there is so far."""
        for index, parts in self._parts.items():
            if len(parts) > 1:
                parts[:] = ["".join(parts)]
            self.outputs[index]["text"] = parts[0]
        for output in self.outputs if self._displays else ():
            if (latest := self._displays.get(shown_as(output))) is not None:
                output.update(data=latest["data"], metadata=latest["metadata"])
        return self.outputs

    def copy(self) -> Area:
        """The same once more."""
        twin = Area(self._room)
        twin.outputs = [dict(output) for output in self.result()]
        twin._parts = {index: list(parts) for index, parts in self._parts.items()}
        twin._clear_pending, twin.size = self._clear_pending, self.size
        twin._displays = dict(self._displays)
        return twin

    def clear(self, *, wait: bool) -> None:
        """Show nothing, from now on or with the next output."""
        self._clear_pending = wait
        if not wait:
            self.outputs.clear()
            self._parts.clear()
            self._displays.clear()
            self.size = 0

    def take(self, message: Message, *, updated: bool = True) -> None:
        """Print, show or clear, as `message` says; a display that it shows is one that can be `updated`, or is not."""
        if message.msg_type == "stream":
            self.stream(*stream_of(message))
        elif message.msg_type == "clear_output":
            self.clear(wait=bool(message.content.get("wait")))
        else:
            for output in outputs_of(message):
                if not updated:
                    output.pop("transient", None)
                self.show(output)

    def show(self, output: Output) -> None:
        """Show what comes next, not a stream that goes on."""
        if output["output_type"] == "stream":
            self.stream(output["name"], output["text"])
            return
        self._begin(weight_of(output) if self._room is not None else 0)
        self.outputs.append(output)
        if wanted := shown_as(output):
            self._displays[wanted] = output

    def stream(self, name: str, text: str) -> None:
        """Print."""
        self._begin(len(text))
        last = len(self.outputs) - 1
        if last not in self._parts or self.outputs[last]["name"] != name:
            last += 1
            self.outputs.append({"output_type": "stream", "name": name, "text": ""})
            self._parts[last] = []
        self._parts[last].append(text)

    def update(self, output: Output) -> bool:
        """Show this in the place of a display, where that is here."""
        here = shown_as(output) in self._displays
        if here:
            self._displays[shown_as(output)] = output
        return here

    def _begin(self, size: int) -> None:
        if self._clear_pending:
            self.clear(wait=False)
        self.size += size
        if self._room is not None and self.size > self._room:
            self._shorten(self._room // 2)
            self.size += size

    def _shorten(self, room: int) -> None:
        """Let go of what was shown first, so that what it costs is in proportion to what is shown."""
        left: list[Output] = []
        self.size = 0
        for output in reversed(self.result()):
            if output["output_type"] == "stream":
                output = {**output, "text": output["text"][-room:]}
            self.size += weight_of(output)
            if self.size > room and left:
                break
            left.append(output)
        self.clear(wait=False)
        self.stream("stdout", _LEFT_OUT)
        for output in reversed(left):
            self.show(output)


def stream_of(message: Message) -> tuple[str, str]:
    """The name and the text of a `stream` message."""
    return str(message.content.get("name", "stdout")), str(message.content.get("text", ""))


def outputs_of(message: Message) -> list[Output]:
    """The outputs that `message` shows by itself: none for most types, several where a reply pages several.

    Streams are not among them: what they show depends on their neighbours.
    """
    if message.msg_type in ("display_data", "execute_result"):
        return [display_output(message, message.msg_type)]
    if message.msg_type == "error":
        return [_error_output(message)]
    if message.msg_type == "execute_reply":
        return _paged_outputs(message)
    return []


def output_from(value: Any) -> Output | None:
    """An output that stands in JSON which others wrote; None where it is none."""
    kind = value.get("output_type") if isinstance(value, dict) else None
    if kind not in _KINDS:
        return None
    content = {**value, "text": lines_joined(value["text"])} if kind == "stream" and "text" in value else value
    content = formed(kind, content)
    if kind == "stream":
        return {"output_type": kind, "name": content["name"], "text": content["text"]}
    if kind == "error":
        return {"output_type": kind, **{key: content[key] for key in ("ename", "evalue", "traceback")}}
    output = {"output_type": kind, "data": content["data"], "metadata": content["metadata"]}
    return {**output, "execution_count": count_of(content)} if kind == "execute_result" else output


def lines_joined(value: Any) -> Any:
    """A text, which nbformat lets be a list of lines."""
    return "".join(value) if isinstance(value, list) and all(isinstance(line, str) for line in value) else value


def errors_of(outputs: Iterable[Output]) -> list[Output]:
    """Those that are errors."""
    return [output for output in outputs if output["output_type"] == "error"]


def display_id_of(message: Message) -> str:
    """The display id that `message` shows or updates, empty where it has none."""
    return str((message.content.get("transient") or {}).get("display_id") or "")


def shown_as(output: Output) -> str:
    """The display id of an output, empty where it has none."""
    return str(output.get("transient", {}).get("display_id") or "")


def display_output(message: Message, output_type: str) -> Output:
    """What a message of a display shows."""
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


def within(value: Any) -> Iterator[Any]:
    """A value of JSON, and all that is in it, the names of an object's fields apart; the last of a list first."""
    values = [value]
    while values:
        each = values.pop()
        yield each
        if isinstance(each, dict):
            values.extend(each.values())
        elif isinstance(each, list):
            values.extend(each)


def weight_of(value: Any) -> int:
    """About the characters that a value of JSON takes."""
    return sum(len(each) if isinstance(each, str) else 8 for each in within(value))


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
