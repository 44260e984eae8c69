"""Keeping a text within its limit: head and tail, line by line, with the way to read the rest; of a few long lines
each without its middle.

A text is addressed by lines, counted from 1. A line of more than `PIECE` characters counts as several, one
per `PIECE`, so that each part of a text can be asked for, whatever it looks like; a pattern is searched for in the
whole of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kernel_supervisor.core.errors import RefusedError

PIECE = 1000
"""Characters of one line that count as one line."""
_LONG, _LEAST = 500, 300
"""Characters of a line that goes without its middle where there are few lines, and those that it has at the least."""
_PATTERN_LENGTH = 200
_LONG_LINE = 1 << 16
"""Bytes of a line in which a pattern with one repetition is soon done."""
_ESCAPED = re.compile(r"\\.")
_REPEATED_GROUP = re.compile(r"[*+}|][^()]*\)+[*+{]")
"""A repeated group with a repetition or a choice in it: such a pattern can take years on one line."""
_REPETITIONS, _CHOICES = re.compile(r"(?<!\()[*+?{]"), re.compile(r"\(.*\|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A text within its limit, and what was left out of it."""

    text: str
    lines: int
    """How many lines the text has, with those that were left out."""
    next_line: int | None = None
    """Where to read on: the first line that was left out, None where nothing was."""
    within_lines: bool = False
    """Whether what was left out is the middle of long lines alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Numbered lines of a text."""

    lines: tuple[tuple[int, str], ...]
    """Number and text of each line, without its newline."""
    total: int
    """How many lines the text has."""
    found: int
    """How many lines were selected, also where not all of them are given."""
    first: int | None = None
    """The number of the first line that was selected, given or not."""


def pieces(text: str) -> list[str]:
    """The lines of `text` with their newlines, over-long ones in pieces; joined they are `text` again."""
    *lines, last = text.split("\n")
    long = max(map(len, (*lines, last))) > PIECE
    lines = [line + "\n" for line in lines] + ([last] if last else [])
    if not long:
        return lines
    return [piece for line in lines for piece in _split_long(line)]


def line_count(text: str) -> int:
    """How many lines `text` has, as `pieces` counts them."""
    count = text.count("\n") + (text != "" and not text.endswith("\n"))
    if len(text) <= PIECE:
        return count
    lengths = list(map(len, text.split("\n")))
    return count if max(lengths) <= PIECE else count + sum(max(0, length - 1) // PIECE for length in lengths)


def cut(text: str, max_chars: int, *, first_line: int = 1, read_on: Callable[[int], str] | None = None) -> Cut:
    """Head and tail of `text` in at most `max_chars` characters, on line boundaries where they allow it; where a few
    lines are so long that it does not fit, all of these, the long ones cut.

    `first_line` is the number of the text's first line in what `read_on(line)` reads; the mark in the middle
    counts what was left out and quotes `read_on` of the first line that was.
    """
    if len(text) <= max_chars:
        return Cut(text=text, lines=line_count(text))
    if 0 < text.count("\n", 0, -1) < max_chars // _LEAST and max(map(len, lines := text.split("\n"))) > _LONG:
        return _cut_within(lines, max_chars, first_line, read_on)
    total = line_count(text)
    room = max_chars - len(_mark(total, len(text), first_line + total, read_on)) - 2
    head, head_chars = fill(_beginning(text, room // 2), room // 2)
    if not head and room > 0:  # a line that is longer than that: its beginning says most
        head_chars = room // 2
    tail, tail_chars = fill(_end(text, head_chars, room - head_chars), room - head_chars)
    if not tail and not head and room > 0:
        tail_chars = room - head_chars
    start, end = text[:head_chars], text[len(text) - tail_chars :]
    omitted = text[head_chars : len(text) - tail_chars]
    lines_of_it = omitted.count("\n") + (not omitted.endswith("\n"))
    mark = _mark(lines_of_it, len(omitted), first_line + head, read_on)
    shown = start + ("\n" if start and not start.endswith("\n") else "") + mark + ("\n" if end else "") + end
    within = lines_of_it == 1 and len(omitted) > PIECE
    return Cut(text=shown[: max(0, max_chars)], lines=total, next_line=first_line + head, within_lines=within)


def _cut_within(lines: Sequence[str], max_chars: int, first_line: int, read_on: Callable[[int], str] | None) -> Cut:
    """Few lines, each in its share of `max_chars`: long ones without their middle. The first says how to read on."""
    shown, next_line, number = list[str](), None, first_line
    for line, room in zip(lines, share(list(map(len, lines)), max_chars - len(lines) + 1), strict=True):
        parts = max(1, -(-len(line) // PIECE))
        if len(line) > room:
            how = read_on if next_line is None else None
            room -= len(_mark(1, len(line), number + parts, how)) + 2
            head, tail = max(0, room - room // 3), max(0, room // 3)
            next_line = next_line or number + head // PIECE
            mark = _mark(1, len(line) - head - tail, next_line, how)
            shown.append(f"{line[:head]} {mark} {line[len(line) - tail :]}")
        else:
            shown.append(line)
        number += parts
    total = number - first_line - (lines[-1] == "")
    return Cut(text="\n".join(shown)[:max_chars], lines=total, next_line=next_line, within_lines=True)


def share(wants: Sequence[int], budget: int) -> list[int]:
    """Divide `budget` among `wants`: small ones get all they want, large ones equal parts of what is left."""
    shares = [0] * len(wants)
    left = max(0, budget)
    order = sorted(range(len(wants)), key=wants.__getitem__)
    for done, index in enumerate(order):
        shares[index] = min(wants[index], left // (len(order) - done))
        left -= shares[index]
    return shares


def select(
    text: str,
    *,
    from_line: int | None = None,
    tail: int | None = None,
    grep: str | None = None,
    at_most: int | None = None,
) -> Selection:
    """The lines of `text` from `from_line` on that match `grep`; of these the last `tail`.

    `grep` is a regular expression, searched for in each line; of an over-long one those pieces match in which what
    was found stands. Of all that, `at_most` lines are given: the first ones, with `tail` the last ones. Raises
    RefusedError for a pattern that is not valid or could take for ever, and for a line below 1.
    """
    if from_line is not None and from_line < 1:
        raise RefusedError(f"from_line counts from 1, {from_line} is not a line.")
    if tail is not None and tail < 0:
        raise RefusedError(f"tail is a number of lines from the end, {tail} is not one.")
    lines = pieces(text)
    numbers: Sequence[int] = range(from_line or 1, len(lines) + 1)
    if grep is not None:
        numbers = [number for number in _matching(lines, _pattern(grep)) if number in numbers]
    if tail is not None:
        numbers = numbers[max(0, len(numbers) - tail) :]
    given = numbers
    if at_most is not None:
        given = numbers[:at_most] if tail is None else numbers[max(0, len(numbers) - at_most) :]
    chosen = tuple((number, lines[number - 1].rstrip("\n")) for number in given)
    first = numbers[0] if numbers else None
    return Selection(lines=chosen, total=len(lines), found=len(numbers), first=first)


def takes_long(grep: str, size: int = 0) -> bool:
    """Whether a pattern can be busy for long in a text of `size`: it has several repetitions, or choices in groups.

    In a text that may have a long line, one repetition will do. The interpreter is held all that time: no other thread
    of the process gets a turn.
    """
    pattern = _ESCAPED.sub("", grep)
    few = 0 if size > _LONG_LINE else 1
    return len(_REPETITIONS.findall(pattern)) > few or _CHOICES.search(pattern) is not None


def fill(lines: Sequence[str], room: int) -> tuple[int, int]:
    """How many of the first `lines` fit into `room` characters, and their length."""
    chars = 0
    for count, line in enumerate(lines):
        if chars + len(line) > room:
            return count, chars
        chars += len(line)
    return len(lines), chars


def _matching(lines: Sequence[str], pattern: re.Pattern[str]) -> Iterator[int]:
    """The numbers of `lines`, as `pieces` has them, in which the pattern is found; or a part of what it found."""
    begin = 0
    while begin < len(lines):
        end = begin + 1
        while end < len(lines) and not lines[end - 1].endswith("\n"):
            end += 1
        whole = "".join(lines[begin:end])
        if end == begin + 1:
            yield from (end,) if pattern.search(whole) else ()
        else:
            yield from (begin + 1 + at for at in _places(whole, pattern))
        begin = end


def _places(line: str, pattern: re.Pattern[str]) -> list[int]:
    """The pieces of a long line in which there is something that was found, counted from 0, each once."""
    found: dict[int, None] = {}
    for match in pattern.finditer(line):
        first, last = match.start() // PIECE, max(match.start(), match.end() - 1) // PIECE
        found.update(dict.fromkeys(min(at, (len(line) - 1) // PIECE) for at in range(first, last + 1)))
    return list(found)


def _split_long(line: str) -> list[str]:
    body = line.removesuffix("\n")
    if len(body) <= PIECE:
        return [line]
    parts = [body[start : start + PIECE] for start in range(0, len(body), PIECE)]
    parts[-1] += line[len(body) :]
    return parts


def _beginning(text: str, room: int) -> list[str]:
    """The first lines of `text`: at least those that fit into `room` characters."""
    return pieces(text[: max(0, room) + PIECE + 1])[:-1]


def _end(text: str, after: int, room: int) -> list[str]:
    """The last lines of `text` from `after` on, the last one first: at least those that fit."""
    start = max(after, len(text) - max(0, room) - PIECE - 1)
    line = text.rfind("\n", 0, start) + 1
    newline = text.find("\n", start)
    line_end = newline if newline >= 0 else len(text)
    boundary = line - (line - start) // PIECE * PIECE
    if boundary >= line_end and boundary > start:
        boundary = line_end + 1
    return pieces(text[boundary:])[::-1]


def _mark(lines: int, chars: int, next_line: int, read_on: Callable[[int], str] | None) -> str:
    what = f"{lines:,} lines ({chars:,} characters)" if lines > 1 else f"{chars:,} characters"
    return f"[… {what} left out{': ' + read_on(next_line) if read_on else ''} …]"


def _pattern(grep: str) -> re.Pattern[str]:
    if len(grep) > _PATTERN_LENGTH:
        raise RefusedError(f"grep takes a pattern of at most {_PATTERN_LENGTH} characters, this one has {len(grep)}.")
    if _REPEATED_GROUP.search(_ESCAPED.sub("", grep)):
        raise RefusedError(
            "grep takes no repeated group with a repetition or a choice in it: that could take for ever."
        )
    try:
        return re.compile(grep)
    except (re.error, OverflowError) as error:
        raise RefusedError(f"grep is not a valid regular expression: {error}.") from error
