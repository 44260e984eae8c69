"""An execution's result as an agent sees it: one status line, the outputs in order, what can be done next."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from kernel_supervisor.mcp import arrangement
from kernel_supervisor.mcp.images import Image, prepare_all
from kernel_supervisor.mcp.view import Content, Reading, Rendered, ResultView
from kernel_supervisor.mcp.ways import said
from kernel_supervisor.mcp.wording import execution_count, footer, header, status
from kernel_supervisor.outputs.cellnames import cells_named
from kernel_supervisor.outputs.figures import Drawable, is_of_a_script
from kernel_supervisor.outputs.folding import Folded
from kernel_supervisor.outputs.limits import cut, fill, share
from kernel_supervisor.outputs.pages import BRIEF
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.outputs.transcript import Picture, Section, transcribe
from kernel_supervisor.outputs.widgets import views_of

META_KEY = "kernel-supervisor/result"
_ERROR_CHARS = 600
_FEW, _LONG = 20, 20_000
META_CHARS = 20_000
"""Of the machine-readable part, as JSON: nobody reads it, and every client keeps it."""
_ROOM_FOR_COUNTS = 500
_LATEST_LAST = ("entries",)
"""Lists in it whose end says more than their beginning."""
_META_TEXT = 1000
"""Characters of a text in one that is longer."""
_REST = 120
"""Characters of the line at the end that says where to read on."""
_ASK_FOR_LESS = "more than this client takes, ask for less of it"


def blocks(folded: Folded) -> bool:
    """Whether `render` takes long enough to be run in a thread: there is more than a few short texts."""
    outputs = [*folded.outputs, *folded.display_updates, *folded.widgets.captured()]
    if len(outputs) > _FEW or views_of(outputs):
        return True
    shown = [text for output in outputs for text in (output.get("text", ""), *output.get("data", {}).values())]
    shown += [line for error in folded.errors for line in error["traceback"]]
    pictured = any(mime.startswith("image/") for output in outputs for mime in output.get("data", {}))
    pictured |= any(isinstance(text, str) and ";base64," in text for text in shown)
    return (
        pictured
        or may_have_figures(folded)
        or not all(isinstance(text, str) for text in shown)
        or sum(map(len, shown)) > _LONG
    )


def may_have_figures(folded: Folded) -> bool:
    """Whether there is something that a library's script draws; a glance, that costs nothing."""
    outputs = [*folded.outputs, *folded.display_updates, *folded.widgets.captured()]
    return any(is_of_a_script(output.get("data", {})) for output in outputs)


def render(view: ResultView, reading: Reading) -> Rendered:
    """The content blocks: the outputs folded to text, the images chosen and prepared.

    All text together is within `reading.max_chars`, and within its `max_bytes` if there are such. Raises RefusedError
    for lines that cannot be selected.
    """
    execution, number = view.execution, view.execution.id
    reason = cells_named(execution.reason, execution.source, execution_count(view))  # in the traceback of a crash
    view = replace(view, execution=replace(execution, reason=reason))
    quoted = number if reading.ways is None else None
    sections = _transcribed(view, reading)
    shown, left = _chosen(sections, reading)
    prepared: dict[int, Image | str] = {each.number: _undrawn(view, each) for each in shown if each.figure is not None}
    pictures = [_as_drawn(view, each) for each in shown if not prepared.get(each.number)]
    prepared |= zip((picture.number for picture in pictures), prepare_all(pictures), strict=True)
    images = {at: image for at, image in prepared.items() if isinstance(image, Image)}
    sections = [_captioned(section, prepared) if section.picture else section for section in sections]
    top = header(view, reading, output=bool(sections))
    brief = any(BRIEF in section.text for section in sections)
    bottom = "\n".join(said(line, reading.ways) for line in footer(view, reading, left, brief=brief))

    def laid_out(max_chars: int) -> tuple[list[Content], arrangement.Arranged]:
        room = max_chars - len(top) - len(bottom) - 2
        if reading.of_lines:
            arranged = arrangement.lines(sections, reading, room, number)
        elif reading.from_image > 1:
            later = [
                section for section in sections if section.picture and section.picture.number >= reading.from_image
            ]
            total = arrangement.line_count_of(sections)
            arranged = replace(arrangement.whole(later, images, room, quoted), lines=total)
        else:
            if quoted is not None and not arrangement.fits(sections, room):
                room -= _REST
            arranged = arrangement.whole(sections, images, room, quoted)
        rest = arrangement.rest(arranged, quoted)
        return _content([top, *arranged.blocks, rest, bottom], max_chars), arranged

    max_chars = reading.max_chars
    content, arranged = laid_out(max_chars)
    while reading.max_bytes is not None and (size := _bytes(content)) > reading.max_bytes:
        max_chars = max_chars * reading.max_bytes // size
        content, arranged = laid_out(max_chars)
    return Rendered(
        content=content,
        truncated=arranged.truncated,
        lines=arranged.lines,
        images=sum(section.picture is not None for section in sections),
    )


def figures_wanted(view: ResultView, reading: Reading) -> dict[int, Drawable]:
    """The figures among the pictures that `render` would show, by their numbers. Blocks as that does."""
    shown, _left = _chosen(_transcribed(view, reading), reading)
    return {picture.number: picture.figure for picture in shown if picture.figure is not None}


def _transcribed(view: ResultView, reading: Reading) -> list[Section]:
    return transcribe(
        view.folded,
        cells=view.cells,
        full_traceback=reading.full_traceback,
        source=view.execution.source,
        drawn=view.draws,
    )


def _undrawn(view: ResultView, figure: Picture) -> str:
    """Why there is no picture of a figure; empty where there is one."""
    drawing = view.drawings.get(figure.number, "it was not drawn")
    return "" if isinstance(drawing, bytes) else f"{figure.mime}: {drawing}"


def _as_drawn(view: ResultView, picture: Picture) -> Picture:
    drawing = view.drawings.get(picture.number)
    if picture.figure is None or not isinstance(drawing, bytes):
        return picture
    return replace(picture, mime="image/png", data=base64.b64encode(drawing).decode())


def within(content: Sequence[Content], max_bytes: int | None) -> Sequence[Content]:
    """`content` with so many bytes of text at the most: the longest text goes without its middle."""
    if max_bytes is None or (size := _bytes(content)) <= max_bytes:
        return content
    longest = max((each for each in content if isinstance(each, str)), key=lambda each: _bytes([each]))
    room, short, max_chars = max(0, max_bytes - size + _bytes([longest])), longest, len(longest)
    while (size := _bytes([short])) > room:
        max_chars = max_chars * room // size
        short = cut(longest, max_chars, read_on=lambda line: _ASK_FOR_LESS).text
    return [short if each is longest else each for each in content]


def _bytes(content: Iterable[Content]) -> int:
    """What a client counts that counts bytes."""
    return sum(len(each.encode("utf-8", "replace")) for each in content if isinstance(each, str))


def _chosen(sections: Sequence[Section], reading: Reading) -> tuple[list[Picture], list[Picture]]:
    """The pictures that are to be shown inline, and those that would be were there not so many before them."""
    if reading.of_lines:
        return [], []
    pictures = [found.picture for found in sections if found.picture and found.picture.number >= reading.from_image]
    return pictures[: reading.max_images], pictures[reading.max_images :]


def machine(view: ResultView, rendered: Rendered) -> dict[str, Any]:
    """The machine-readable part of a result, for `_meta`."""
    execution = view.execution
    found: dict[str, Any] = {
        "execution_id": execution.id,
        "status": status(view),
        "execution_count": execution_count(view),
        "session": execution.session,
        "kernel_id": execution.kernel_id,
        "duration_s": None if view.duration_s is None else round(view.duration_s, 3),
        "truncated": rendered.truncated,
        "lines": rendered.lines,
        "images": rendered.images,
        "notices": list(view.notices),
        "advice": list(view.advice),
    }
    error = _error(view.folded)
    if error is not None:
        found["error"] = {key: plain(str(error.get(key, ""))[:_ERROR_CHARS]) for key in ("ename", "evalue")}
    if view.behind:
        found |= {"behind": list(view.behind), "ahead": view.ahead}
    if view.question is not None:
        found["question"] = plain(view.question.prompt)[:_ERROR_CHARS]
        found["password"] = view.question.password
    return found


def bounded(facts: dict[str, Any]) -> dict[str, Any]:
    """A machine-readable part that is not too long: where it is, without the ends of its texts, and of its lists.

    `left_out` counts what is not in which list.
    """
    if _length(facts) <= META_CHARS:
        return facts
    facts = _clipped(facts)
    lists = {name: each for name, each in facts.items() if isinstance(each, list)}
    kept = {name: each for name, each in facts.items() if name not in lists}
    wants = {name: _length(each) for name, each in lists.items()}
    shares = share(list(wants.values()), META_CHARS - _length(kept) - _ROOM_FOR_COUNTS)
    for (name, each), room in zip(lists.items(), shares, strict=True):
        latest = name in _LATEST_LAST
        count, _ = fill([json.dumps(element) + ", " for element in (each[::-1] if latest else each)], room)
        if room < wants[name]:
            each = each[len(each) - count :] if latest else each[:count]
        kept[name] = each
    left_out = {name: len(each) - len(kept[name]) for name, each in lists.items() if len(kept[name]) < len(each)}
    return {**kept, **({"left_out": left_out} if left_out else {})}


def _length(value: Any) -> int:
    return len(json.dumps(value))


def _clipped(value: Any) -> Any:
    """A machine-readable part with no long text in it."""
    match value:
        case dict():
            return {name: _clipped(each) for name, each in value.items()}
        case list():
            return [_clipped(each) for each in value]
        case str() if len(value) > _META_TEXT:
            return f"{value[:_META_TEXT]}…"
    return value


def _error(folded: Folded) -> Mapping[str, Any] | None:
    """The last error of an execution: from its outputs, else from its reply."""
    errors, reply = folded.errors, folded.reply
    if errors:
        return errors[-1]
    return reply if reply and reply.get("status") == "error" and "ename" in reply else None


def _captioned(section: Section, prepared: Mapping[int, Image | str]) -> Section:
    """A picture's line, with what is known of it once it is prepared."""
    assert section.picture is not None
    number, found = section.picture.number, prepared.get(section.picture.number)
    if isinstance(found, Image):
        found = f"{found.width}×{found.height}" + (f", {found.remark}" if found.remark else "")
    return replace(section, text=f"[image {number}: {found or f'{section.picture.mime}, not shown here'}]")


def _content(parts: Iterable[str | Image], max_chars: int) -> list[Content]:
    """`parts` as blocks: neighbouring texts as one, all texts together within `max_chars` characters."""
    content: list[Content] = []
    for kind, group in groupby(parts, type):
        run = list(group)
        if kind is Image:
            content += run
        elif text := "\n".join(part for part in run if part and isinstance(part, str))[:max_chars]:
            max_chars -= len(text)
            content.append(text)
    return content
