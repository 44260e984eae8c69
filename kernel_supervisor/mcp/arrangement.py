"""Fitting a result's sections into the room there is, so that none pushes the others out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from kernel_supervisor.amounts import several
from kernel_supervisor.core.model import ExecutionId
from kernel_supervisor.mcp.images import Image
from kernel_supervisor.mcp.view import Reading
from kernel_supervisor.outputs.limits import PIECE, Selection, cut, fill, line_count, select, share
from kernel_supervisor.outputs.transcript import Section

_SECTIONS = 24
"""With more sections than this, each would get too little to be read: neighbours are taken together."""

_AROUND = 200
"""Characters of what stands around lines that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """What is shown between the first lines and the last ones."""

    blocks: list[str | Image]
    truncated: bool
    lines: int
    """How many lines there are in all."""
    next_line: int | None = None
    """The first line that was left out in the middle."""
    within_lines: bool = False
    """Whether that is in the middle of a long line."""


def whole(
    sections: Sequence[Section], images: Mapping[int, Image], room: int, execution: ExecutionId | None
) -> Arranged:
    """All sections in `room` characters, each cut in its middle where it is too long; `images` in place.

    The marks say how the rest of an `execution` is read; None where its reader cannot.
    """
    read_on = None if execution is None else lambda line: _call(execution, f"from_line={line}")
    if fits(sections, room):
        return Arranged(blocks=list(_blocks(sections, images)), truncated=False, lines=line_count_of(sections))
    if len(sections) > _SECTIONS:
        sections = _together(sections, images)
    room -= len(sections)
    wants, reserved = [len(section.text) for section in sections], 0
    if sections and sections[-1].kind == "error":
        reserved, wants[-1] = min(wants[-1], room // 3), 0
    shares = share(wants, room - reserved)
    if reserved:
        shares[-1] = room - sum(shares)
    first, fitted, left_out, within = 1, [], [], False
    for section, allowed in zip(sections, shares, strict=True):
        piece = cut(section.text, allowed, first_line=first, read_on=read_on)
        first += piece.lines
        left_out += [] if piece.next_line is None else [piece.next_line]
        within |= piece.within_lines
        fitted.append(replace(section, text=piece.text))
    return Arranged(
        blocks=list(_blocks(fitted, images)),
        truncated=bool(left_out),
        lines=first - 1,
        next_line=min(left_out, default=None),
        within_lines=within,
    )


def fits(sections: Sequence[Section], room: int) -> bool:
    """Whether all of their text has room."""
    return sum(len(section.text) + 1 for section in sections) <= room


def rest(arranged: Arranged, execution: ExecutionId | None) -> str:
    """What is said once more at the end of a result that lacks its middle: some clients cut there, too."""
    if arranged.next_line is None or execution is None:
        return ""
    call = _call(execution, f"from_line={arranged.next_line}")
    parts = ', grep="…" shows parts of long lines' if arranged.within_lines else ""
    return f"[… left out above: {call}{parts} …]"


def line_count_of(sections: Sequence[Section]) -> int:
    """How many lines all of their text has."""
    return sum(line_count(section.text) for section in sections)


def lines(sections: Sequence[Section], reading: Reading, room: int, execution: ExecutionId) -> Arranged:
    """The lines that `reading` asks for, as many as `room` characters take.

    Raises RefusedError where they cannot be selected.
    """
    text = "\n".join(section.text for section in sections)
    room -= _AROUND + len(repr(reading.grep or ""))
    found = select(text, from_line=reading.from_line, tail=reading.tail, grep=reading.grep, at_most=max(1, room))
    if not found.lines:
        return Arranged(blocks=[_nothing(found, reading)], truncated=False, lines=found.total)
    rows = [f"{number}: {line}" if reading.grep is not None else line for number, line in found.lines]
    from_end = reading.tail is not None
    count, _chars = fill([row + "\n" for row in (rows[::-1] if from_end else rows)], room)
    chosen = slice(len(rows) - count, None) if from_end else slice(0, count)
    numbers = [number for number, _line in found.lines[chosen]]
    parts = [_title(found, numbers, reading), *rows[chosen]]
    if count < found.found:
        parts.insert(1 if from_end else len(parts), _more(found, numbers, reading, execution))
    return Arranged(blocks=["\n".join(parts)], truncated=count < found.found, lines=found.total)


def _blocks(sections: Sequence[Section], images: Mapping[int, Image]) -> Iterator[str | Image]:
    texts: list[str] = []
    for section in sections:
        texts.append(section.text)
        if section.picture is not None and section.picture.number in images:
            yield "\n".join(texts)
            yield images[section.picture.number]
            texts = []
    if texts:
        yield "\n".join(texts)


def _together(sections: Sequence[Section], images: Mapping[int, Image]) -> list[Section]:
    """Fewer sections: neighbouring streams as one; if need be all between two images but the ends."""
    fewer: list[Section] = []
    for stream, group in groupby(sections, lambda section: section.kind in ("stdout", "stderr")):
        run = list(group)
        fewer += [_merged(run)] if stream else run
    if len(fewer) <= _SECTIONS:
        return fewer
    result: list[Section] = []
    for pictured, group in groupby(fewer, lambda each: each.picture is not None and each.picture.number in images):
        run = list(group)
        result += run if pictured or len(run) <= 3 else [run[0], _merged(run[1:-1]), run[-1]]
    return result


def _merged(run: Sequence[Section]) -> Section:
    return Section(kind="stdout", text="\n".join(section.text for section in run))


def _nothing(found: Selection, reading: Reading) -> str:
    if reading.grep is not None:
        return f"No line matches ({several(found.total, 'line')})."
    all_of_it = f"there {'is' if found.total == 1 else 'are'} {several(found.total, 'line')}"
    return f"Nothing from line {reading.from_line or found.total + 1} on: {all_of_it}."


def _title(found: Selection, numbers: Sequence[int], reading: Reading) -> str:
    if reading.grep is not None:
        return f"{len(numbers):,} of {several(found.found, 'matching line')}, of {several(found.total, 'line')}:"
    if not numbers:
        return f"None of {several(found.total, 'line')} fits:"
    divided = any(len(line) == PIECE for _number, line in found.lines)
    remark = f" (one longer than {PIECE:,} characters counts as several)" if divided else ""
    return f"Lines {numbers[0]:,} to {numbers[-1]:,} of {found.total:,}{remark}:"


def _more(found: Selection, numbers: Sequence[int], reading: Reading, execution: ExecutionId) -> str:
    """The line that says how to get what did not fit."""
    grep = f", grep={reading.grep!r}" if reading.grep is not None else ""
    if reading.tail is not None:
        return f"[… left out before this: {_call(execution, f'from_line={found.first}{grep}')} …]"
    following = numbers[-1] + 1 if numbers else found.first
    return f"[… more: {_call(execution, f'from_line={following}{grep}')} …]"


def _call(execution: ExecutionId, arguments: str) -> str:
    return f"kernel_output(execution_id={execution}, {arguments})"
