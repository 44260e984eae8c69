"""An execution's outputs as numbered text in the order in which they appeared, its pictures named in place.

This is what `from_line`, `tail` and `grep` read. What stands above a line never depends on what comes below
it, but for progress bars that are drawn again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from kernel_supervisor.amounts import size
from kernel_supervisor.core.forms import at_depth
from kernel_supervisor.outputs.area import Output, errors_of
from kernel_supervisor.outputs.cellnames import cells_named
from kernel_supervisor.outputs.figures import Drawable, Library, figure_in, place_in
from kernel_supervisor.outputs.folding import Folded
from kernel_supervisor.outputs.markup import shorten_data
from kernel_supervisor.outputs.pages import embedded, page
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.outputs.tracebacks import explain, without_exit_advice

SectionKind = Literal["stdout", "stderr", "result", "display", "error", "picture"]

_PICTURES = tuple(f"image/{kind}" for kind in ("png", "jpeg", "webp", "gif", "bmp", "x-ms-bmp", "tiff", "svg+xml"))
"""In the order of preference where an output has several."""
_PDF = "application/pdf"
_AS_PNG = "not shown as a picture; %config InlineBackend.figure_format = 'png' makes one"
_SHOWN_BELOW = re.compile(r"\n?\[image: data:image/[\w.+-]+(?: \([^)\n]*\))?\]")
"""What stands in a page's text for a picture that has no name."""
_SCRIPT = "application/javascript"
_OF_A_SCRIPT = "a script, which runs in a notebook's page and not here; print() what it is to show"
_WITHOUT_TEXT = "no text comes with it; print() in a cell what it is to say"
_SHORT_SCRIPT = 400
"""Characters of one that is shown itself."""
_STUB = re.compile(r"<[\w.]+[^\n]*>\s*\Z")
"""A text such as `<Figure size 640x480 with 1 Axes>`, which says nothing beside the thing itself."""

_BAR = re.compile(r"\d{1,3}%\s?[|█▏▎▍▌▋▊▉]|\d{1,12}it \[")
"""A progress bar as tqdm draws it, behind its description, which tells it from others."""
_APART: Output = {"output_type": "display_data", "data": {"text/plain": ""}}
"""What shows nothing, and between which nothing is joined with what stands before and after it."""
_ELSEWHERE = "(in an Output widget that is not shown here)"
_BAR_REACH = 400
"""Characters in which a bar begins."""
_INDENTED = 20
"""JSON that is as deep as this is not indented: that would be many times as long as what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image as the kernel sent it."""

    number: int
    """Counted from 1 within the execution."""
    mime: str
    data: str
    """Base64; an SVG's own text; nothing yet of a figure."""
    figure: Drawable | None = None
    """What a library's script is to draw; then `mime` says in words what that is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One output: plain text without a newline at its end, or a picture with the line that stands for it."""

    kind: SectionKind
    text: str
    picture: Picture | None = None


def transcribe(
    folded: Folded,
    *,
    cells: Mapping[int, int] | None = None,
    full_traceback: bool = False,
    source: str = "",
    drawn: Collection[Library] = (),
) -> list[Section]:
    """The sections of what an execution with that source has shown. `cells` and `full_traceback`: see
    `tracebacks.explain`. Figures of the libraries whose figures are `drawn` here are pictures, too."""
    sections: list[Section] = []
    pictures, place = 0, ""
    for output in [*_streams_joined(_seen(folded)), *_beside(folded)]:
        kind = output["output_type"]
        if kind == "stream":
            text = cells_named(plain(_text(output["text"])), source, folded.execution_count)
            _add_text(sections, output["name"], without_exit_advice(text) if output["name"] == "stderr" else text)
        elif kind == "error":
            told = explain(output, current=folded.execution_count, cells=cells, full=full_traceback)
            _add_text(sections, "error", told)
        else:
            text, mime = shown(output["data"])
            own, (mime, picture_data) = mime, pictured(output["data"], mime)
            text = _SHOWN_BELOW.sub("", text) if mime and not own else text
            figure, place = figure_in(output["data"], place) if drawn and not mime else None, place_in(output["data"])
            if text:
                _add_text(sections, "result" if kind == "execute_result" else "display", text, output)
            if figure is not None and figure.library in drawn:
                mime = f"{figure.library} figure"
            if mime:
                pictures += 1
                picture = Picture(number=pictures, mime=mime, data=picture_data, figure=figure)
                sections.append(Section(kind="picture", text=f"[image {pictures}]", picture=picture))
    return sections


def _add_text(sections: list[Section], name: str, text: str, output: Output | None = None) -> None:
    text = text.rstrip("\n")
    if not text.strip():
        return
    kind: SectionKind = name if name in ("stderr", "result", "display", "error") else "stdout"  # type: ignore[assignment]  # the tuple's members are the Literal's
    label = _label(kind, output) if sections or kind == "stderr" else ""
    if label and kind == "display" and sections[-1].kind in ("display", "picture"):
        label = ""
    separator = " " if kind == "result" and "\n" not in text else "\n"
    sections.append(Section(kind=kind, text=f"{label}{separator}{text}" if label else text))


def _label(kind: SectionKind, output: Output | None) -> str:
    if kind == "result":
        count = output.get("execution_count") if output else None
        return f"Out[{count}]:" if count is not None else "Out:"
    return f"[{kind}]"


def _text(value: Any) -> str:
    """A text of a MIME bundle, which nbformat lets be a list of lines."""
    return value if isinstance(value, str) else "".join(map(str, value)) if isinstance(value, list) else str(value)


def _streams_joined(outputs: Iterable[Output]) -> Iterator[Output]:
    """Outputs, with a bar that one stream draws again and again while the other one prints drawn once."""
    for of_streams, group in groupby(outputs, lambda output: output["output_type"] == "stream"):
        run = list(group)
        yield from _joined([(output["name"], _text(output["text"])) for output in run]) if of_streams else run


def _joined(run: list[tuple[str, str]]) -> Iterator[Output]:
    for name, parts in groupby(_redrawn_once(run), key=lambda part: part[0]):
        yield {"output_type": "stream", "name": name, "text": "".join(text for _name, text in parts)}


def _redrawn_once(run: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Where a piece draws the open line before it on its stream again, that line goes."""
    latest: dict[str, int] = {}
    left = list(run)
    for index, (name, text) in enumerate(run):
        before = latest.get(name)
        if before is not None:
            kept, newline, open_line = left[before][1].rpartition("\n")
            if open_line and _draws_again(open_line, text):
                left[before] = (name, kept + newline)
        latest[name] = index
    return [part for part in left if part[1]]


def _draws_again(open_line: str, text: str) -> bool:
    """Whether `text` begins on the line that was left open: by a carriage return, or as the same progress bar."""
    if text.startswith("\r"):
        return text.strip() != ""
    old = _bar(open_line)
    return old is not None and old == _bar(text)


def _bar(text: str) -> str | None:
    """The description of the progress bar that `text` begins with."""
    line = plain(text[:_BAR_REACH]).partition("\n")[0]
    found = _BAR.search(line)
    return None if found is None else line[: found.start()].rstrip()


def _seen(folded: Folded) -> Iterator[Output]:
    """What is seen of its outputs, its widgets included, and what it showed in widgets that are not among them."""
    above: set[str] = set()
    for output in folded.outputs:
        found = list(folded.widgets.shown([output], above))
        yield from found if found == [output] else (_APART, *found, _APART)
    elsewhere = list(folded.widgets.shown(folded.widgets.captured(above), above))
    yield from ({**_APART, "data": {"text/plain": _ELSEWHERE}}, *elsewhere) if elsewhere else ()


def _beside(folded: Folded) -> Iterator[Output]:
    """What it showed elsewhere: in an earlier execution's display, as the next input, in its reply only."""
    updates = {update.get("transient", {}).get("display_id"): update for update in folded.display_updates}
    yield from updates.values()
    reply = folded.reply or {}
    for payload in reply.get("payload") or ():
        if payload.get("source") == "set_next_input":
            text = f"(suggested as the next input)\n{payload.get('text', '')}"
            yield {"output_type": "display_data", "data": {"text/plain": text}}
    if reply.get("status") == "error" and not errors_of(folded.outputs) and not _says(folded.outputs, reply):
        yield {**reply, "output_type": "error"}


def _says(outputs: Sequence[Output], reply: Mapping[str, Any]) -> bool:
    """Whether what was printed ends with a reply's error, as IPython prints that of a magic that there is not."""
    last = outputs[-1] if outputs else {}
    printed = _text(last["text"]).rstrip() if last.get("output_type") == "stream" else ""
    return printed.endswith(f"{reply.get('ename')}: {reply.get('evalue')}")


def shown(data: Mapping[str, Any]) -> tuple[str, str]:
    """The text that stands for a MIME bundle, and the type of its picture; either may be empty."""
    text, mime = _told(data)
    if mime or not data.get(_PDF) or _PDF in text:
        return text, mime
    return "\n".join(filter(None, (text, f"[{_PDF}, {size(len(_text(data[_PDF])) * 3 // 4)}: {_AS_PNG}]"))), ""


def is_markdown(data: Mapping[str, Any]) -> bool:
    """Whether the text that stands for it is Markdown."""
    return bool(data.get("text/markdown")) and not data.get("text/llm+plain")


def pictured(data: Mapping[str, Any], mime: str) -> tuple[str, str]:
    """The picture of a MIME bundle, as its type and its data: that of `mime`, if any, or the one in its page."""
    said = plain(_text(data.get("text/plain", "")))
    if mime:
        return mime, _text(data[mime])
    return embedded(data) if not said.strip() or _STUB.match(said) else ("", "")


def _told(data: Mapping[str, Any]) -> tuple[str, str]:
    mime = next((kind for kind in _PICTURES if data.get(kind)), "")
    for kind in ("text/llm+plain", "text/markdown"):
        if data.get(kind):
            return plain(shorten_data(_text(data[kind]))), mime
    said = plain(_text(data.get("text/plain", "")))
    if said.strip() and (len(data) == 1 or not _STUB.match(said)):
        return said, mime
    if mime:
        return "", mime
    if place_in(data):
        return "", ""
    if set(data) == {"text/html", "text/plain"} and not said.strip():
        return plain(page(_text(data["text/html"]))), ""  # where this is empty, both say that there is nothing
    return _converted(data) or said or _named(data), ""


def _converted(data: Mapping[str, Any]) -> str:
    """Text made from what is not text yet."""
    html = plain(page(_text(data.get("text/html", ""))))
    if html:
        return html
    if data.get("text/latex"):
        return plain(_text(data["text/latex"]))
    if "application/json" in data:
        said = data["application/json"]
        indent = None if at_depth(said, _INDENTED) else 1
        return plain(json.dumps(said, indent=indent, ensure_ascii=False, default=str))
    return _named(data) if any(not kind.startswith("text/plain") for kind in data) else ""


def _named(data: Mapping[str, Any]) -> str:
    kinds = [f"{kind}, {size(len(_text(value)))}" for kind, value in data.items() if kind != "text/plain"]
    script = _text(data[_SCRIPT]).strip() if _SCRIPT in data else ""
    what = _OF_A_SCRIPT if script else _WITHOUT_TEXT
    short = f"\n{script}" if 0 < len(script) <= _SHORT_SCRIPT else ""
    return plain(f"[{'; '.join(kinds)}: {what}]{short}") if kinds else ""
