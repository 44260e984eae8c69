"""Printed text as lines of coloured pieces, and shortened where nobody would read it all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernel_supervisor.notebooks.shown.legible import LIGHT, legible, spelled

_SEQUENCE = re.compile(r"\x1b\[([\d;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.?")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\ufffe\uffff]")
_LONGEST_LINE = 4000
_BAR = re.compile(r"[^\n]{0,400}?\d{1,3}%\s?(?:\x1b\[[\d;]*m)?[|█▏▎▍▌▋▊▉]")
COLOURS = (
    *("#3e424d", "#c0392b", "#007a33", "#9a6700", "#1f5fbf", "#a0318c", "#0b7285", "#6b7078"),
    *("#282c36", "#d64545", "#12934a", "#b58100", "#3b7de0", "#bf4dab", "#1791a5", "#8f959e"),
)
"""Of a terminal's sixteen, dark enough to be read on paper."""
_SWITCHES = {"is_bold": (1, 22), "is_italic": (3, 23), "is_underlined": (4, 24), "is_inverse": (7, 27)}
_CHANGES: dict[int, dict[str, Any]] = {
    **{code: {name: code == on} for name, (on, off) in _SWITCHES.items() for code in (on, off)},
    **{code: {"ink": colour} for code, colour in zip((*range(30, 38), *range(90, 98)), COLOURS, strict=True)},
    **{code: {"ground": colour} for code, colour in zip((*range(40, 48), *range(100, 108)), COLOURS, strict=True)},
    39: {"ink": ""},
    49: {"ground": ""},
}
"""What a code changes of a style (ECMA-48, SGR)."""
_INK, _PAPER = "#1f2328", "#ffffff"


@dataclass(frozen=True, slots=True)
class Style:
    """How a piece of a line looks."""

    ink: str = ""
    """`#rrggbb`; empty for the text's own."""
    ground: str = ""
    is_bold: bool = False
    is_italic: bool = False
    is_underlined: bool = False
    is_inverse: bool = False

    def as_seen(self) -> Style:
        """With its colours in their places, and the ink such that it can be read on its ground, or on a page's."""
        ink, ground = (self.ground or _PAPER, self.ink or _INK) if self.is_inverse else (self.ink, self.ground)
        ink = legible(ink or _INK, ground or LIGHT) if ink or ground else ""
        return replace(self, ink=ink, ground=ground, is_inverse=False)


PLAIN = Style()
Line = list[tuple[str, Style]]


def lines_of(text: str) -> list[Line]:
    """The lines of `text`, in pieces of one style each."""
    lines: list[Line] = [[]]
    style, position = PLAIN, 0
    for sequence in (*_SEQUENCE.finditer(text), None):
        said = text[position : sequence.start() if sequence else None]
        for number, piece in enumerate(said.split("\n")):
            if number:
                lines.append([])
            if piece := _CONTROL.sub("", piece.expandtabs(8)):
                lines[-1].append((piece, style.as_seen()))
        if sequence:
            position = sequence.end()
            style = _after(style, sequence[1]) if sequence[1] is not None else style
    return lines


def shortened(text: str, first: int, last: int) -> tuple[str, int]:
    """`text` without the lines between its `first` and its `last`, in whose place it says how many; and that number."""
    lines = text.split("\n")
    trailing = lines.pop() if lines[-1] == "" and len(lines) > 1 else None
    left_out = len(lines) - first - last
    if left_out > 0:
        lines[first : first + left_out] = [
            f"\x1b[3m… {left_out:,} lines are left out here; they are in the notebook …\x1b[23m"
        ]
    cut = [_cut(line) for line in lines]
    return "\n".join(cut if trailing is None else [*cut, trailing]), max(left_out, 0)


def is_progress(text: str) -> bool:
    """Whether it is bars and nothing else, as tqdm draws them: on standard error, and no error."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(map(_BAR.match, lines))


def _cut(line: str) -> str:
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[: _LONGEST_LINE // 2]} … {len(line) - _LONGEST_LINE:,} characters … {line[-_LONGEST_LINE // 2 :]}"


def _after(style: Style, codes: str) -> Style:
    numbers = [int(code or 0) for code in re.split("[;:]", codes)]
    while numbers:
        code, numbers = numbers[0], numbers[1:]
        if code == 0:
            style = PLAIN
        elif code in (38, 48):
            colour, numbers = _colour(numbers)
            style = replace(style, ink=colour) if code == 38 else replace(style, ground=colour)
        else:
            style = replace(style, **_CHANGES.get(code, {}))
    return style


def _colour(numbers: Sequence[int]) -> tuple[str, list[int]]:
    """The colour that follows 38 or 48, by its number or its parts, and the codes behind it."""
    if numbers[:1] == [5] and len(numbers) > 1:
        return _of_256(numbers[1]), list(numbers[2:])
    if numbers[:1] == [2] and len(numbers) > 3:
        return spelled(numbers[1:4]), list(numbers[4:])
    return "", []


def _of_256(number: int) -> str:
    if number < 16:
        return COLOURS[number]
    if number < 232:
        number -= 16
        return spelled(0 if step == 0 else 55 + 40 * step for step in (number // 36, number // 6 % 6, number % 6))
    return spelled(3 * [8 + 10 * (number - 232)])
