"""What an execution shows, as a person sees it: streams where they belong, Markdown set, pictures in place."""

from __future__ import annotations

import base64
import binascii
import os
import re
import sys
from contextlib import suppress
from typing import Any

from kernel_supervisor.cli.screen import in_colour, is_terminal
from kernel_supervisor.paths import put

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SUFFIXES = {"svg+xml": "svg", "x-ms-bmp": "bmp", "jpeg": "jpg"}


class Shown:
    """Prints what one execution shows, message by message."""

    def __init__(self, cache: str, number: int) -> None:
        """Of execution `number`; pictures that cannot be seen here are files in `cache`."""
        self._folder, self._number, self._pictures = os.path.join(cache, "pictures"), number, 0
        self._updates: dict[str, list[dict[str, Any]]] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Show the next message."""
        content = message["content"]
        match message["msg_type"]:
            case "stream":
                stream = sys.stderr if content["name"] == "stderr" else sys.stdout
                stream.write(content["text"])
                stream.flush()
            case "execute_result" | "display_data" | "execute_reply":
                for each in shown_in(message):
                    self._print(each)
            case "update_display_data":
                name = str((content.get("transient") or {}).get("display_id"))
                self._updates[name] = shown_in(message)
            case "error":
                text = "\n".join(content["traceback"]) or f"{content['ename']}: {content['evalue']}"
                print(text if in_colour(sys.stderr) else _COLOUR.sub("", text), file=sys.stderr)
            case "mark":
                print(f"kernel-supervisor: {content['text']}", file=sys.stderr)

    def finish(self) -> None:
        """It is over: displays that changed are shown as they stand in the end."""
        for changed in self._updates.values():
            for each in changed:
                self._print(each)
        self._updates.clear()

    def _print(self, shown: dict[str, Any]) -> None:
        text = shown["text"]
        if text and shown["markdown"] and is_terminal(sys.stdout):
            _print_markdown(text)
        elif text:
            print(text, flush=True)
        if shown["mime"]:
            self._pictures += 1
            self._print_picture(shown["mime"], shown["data"])

    def _print_picture(self, mime: str, data: str) -> None:
        try:
            picture = data.encode() if mime == "image/svg+xml" else base64.b64decode(data)
        except (binascii.Error, ValueError):
            print(f"[{mime}: damaged]", flush=True)
            return
        if is_terminal(sys.stdout):
            from kernel_supervisor.cli.pictures import inline  # only where there is a picture

            if inline(mime, picture):
                return
        kind = mime.partition("/")[2]
        path = os.path.join(self._folder, f"{self._number}-{self._pictures}.{_SUFFIXES.get(kind, kind)}")
        try:
            os.makedirs(self._folder, 0o700, exist_ok=True)
            put(path, picture, 0o600)
        except OSError as error:
            path = f"not kept: {error.strerror}"
        print(f"[{mime}: {path}]", flush=True)


class Collected:
    """Keeps what one execution shows, apart by what it is."""

    def __init__(self) -> None:
        self._streams = {"stdout": "", "stderr": ""}
        self._result: str | None = None
        self._display: list[str] = []
        self._images: list[dict[str, str]] = []

    def take(self, message: dict[str, Any]) -> None:
        """Keep the next message."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self._streams["stderr" if content["name"] == "stderr" else "stdout"] += content["text"]
        for each in shown_in(message):
            if kind == "execute_result":
                self._result = each["text"]
            elif each["text"]:
                self._display.append(each["text"])
            if each["mime"]:
                self._images.append({"mime": each["mime"], "data": each["data"]})

    def finish(self) -> None:
        """It is over."""

    def apart(self) -> dict[str, Any]:
        """All of it."""
        return {**self._streams, "result": self._result, "display": self._display, "images": self._images}


def shown_in(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What a message displays, as agents see it: text and picture."""
    if "shown" not in message and "data" in message["content"]:  # from a daemon of a version before this one
        text = message["content"]["data"].get("text/plain", "")
        return [{"text": text, "markdown": False, "mime": "", "data": ""}]
    found: list[dict[str, Any]] = message.get("shown", [])
    return found


def _print_markdown(text: str) -> None:
    from rich.console import Console  # 60 ms, once there is something to set
    from rich.markdown import Markdown

    console = Console(no_color=not in_colour(sys.stdout), highlight=False)
    with suppress(BrokenPipeError):
        console.print(Markdown(text))
