"""What a terminal shows of a stream, as a notebook keeps it: colours stay, and what has scrolled away is let go.

What a model is shown has none of the colours; see `outputs.terminal`.
"""

from __future__ import annotations

import re

_MOVE = re.compile(r"(\r|\x08|\x1b\[\d*[A-DGK]|\x1b\[0?J)")
INVISIBLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
"""Escape sequences that show nothing themselves: colours, titles."""
_TORN = re.compile(r"\x1b(?:\[[0-?]{0,20})?\Z")
_SLICE = 1 << 20


class Terminal:
    """What a terminal shows of a stream: a progress bar drawn four hundred times is one line.

    Understood are carriage return, backspace, and the moves and erasures that progress bars use (ECMA-48
    CUU, CUD, CUF, CUB, CHA, EL, ED); each character counts as one column. Colours stay with their
    characters, and text without any of these is left as it is, but that CR LF becomes LF.
    """

    def __init__(self, *, height: int = 100) -> None:
        """`height` is how many rows can still be changed; what is above has scrolled out."""
        self._height = height
        self._scrolled: list[str] = []
        self._rows: list[list[str]] = [[]]
        self._row = 0
        self._column: int | None = None  # None: behind the last character, known without measuring the row
        self._torn = ""

    def feed(self, text: str) -> None:
        """Take more of the stream; pieces may be cut anywhere."""
        for start in range(0, len(text), _SLICE):
            self._take(self._torn + text[start : start + _SLICE])

    def scrolled(self) -> str:
        """Whole lines that nothing can change any more, and forget them."""
        text = "".join(self._scrolled)
        self._scrolled.clear()
        return text

    def text(self) -> str:
        """All that is shown, without what `scrolled` has given away."""
        return "".join(self._scrolled) + "\n".join("".join(row) for row in self._rows) + self._torn

    def _take(self, text: str) -> None:
        torn = _TORN.search(text)
        self._torn = torn[0] if torn else ""
        text = text[: len(text) - len(self._torn)].replace("\r\n", "\n")
        for index, piece in enumerate(_MOVE.split(text)):
            if index % 2:
                self._move(piece)
            else:
                self._print(piece)
        self._scroll()

    def _print(self, text: str) -> None:
        for index, line in enumerate(text.split("\n")):
            if index:
                self._next_row()
            if line:
                self._write(line)

    def _next_row(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self._rows):
            self._rows.append([])
            self._column = None

    def _write(self, text: str) -> None:
        row = self._rows[self._row]
        if self._column is None:
            row.append(text)
        else:
            shown, self._column = _overwrite("".join(row), self._column, text)
            row[:] = [shown]

    def _scroll(self) -> None:
        surplus = len(self._rows) - self._height
        if surplus > 0:
            self._scrolled.append("".join("".join(row) + "\n" for row in self._rows[:surplus]))
            del self._rows[:surplus]
            self._row = max(0, self._row - surplus)

    def _move(self, move: str) -> None:
        column = self._measured_column()
        kind, argument = move[-1], int(move[2:-1] or 0) if len(move) > 2 else 0
        steps = max(argument, 1)
        if kind == "A":
            self._row = max(0, self._row - steps)
        elif kind == "B":
            self._row = min(len(self._rows) - 1, self._row + steps)
        elif kind in "KJ":
            self._erase(kind, argument, column)
        else:
            column = {"\r": 0, "\b": column - 1, "C": column + steps, "D": column - steps, "G": steps - 1}[kind]
        self._column = max(0, column)

    def _measured_column(self) -> int:
        if self._column is None:
            return len(INVISIBLE.sub("", "".join(self._rows[self._row])))
        return self._column

    def _erase(self, kind: str, argument: int, column: int) -> None:
        cells = _cells("".join(self._rows[self._row]))
        if kind == "K" and argument == 1:
            cells[: column + 1] = [("", " ")] * min(column + 1, len(cells))
        elif kind == "K" and argument == 2:
            cells.clear()
        else:
            del cells[column:]
        self._rows[self._row] = [_render(cells)]
        if kind == "J":
            del self._rows[self._row + 1 :]


def _overwrite(shown: str, column: int, text: str) -> tuple[str, int | None]:
    """`shown` with `text` written over it from `column` on, and the column behind, None for the row's end."""
    if "\x1b" in shown or "\x1b" in text:
        old, new = _cells(shown), _cells(text)
        old += [("", " ")] * (column - len(old))
        old[column : column + len(new)] = new
        while old and old[-1] == ("", " "):
            old.pop()
        return _render(old), column + len(new)
    end = column + len(text)
    row = (shown[:column].ljust(column) + text + shown[end:]).rstrip(" ")
    return row, None if end == len(row) else end


def _cells(text: str) -> list[tuple[str, str]]:
    """The characters of `text`, each with the escape sequences that colour it."""
    cells: list[tuple[str, str]] = []
    style, position = "", 0
    for sequence in INVISIBLE.finditer(text):
        cells += [(style, character) for character in text[position : sequence.start()]]
        style = "" if sequence[0] in ("\x1b[0m", "\x1b[m") else style + sequence[0]
        position = sequence.end()
    return cells + [(style, character) for character in text[position:]]


def _render(cells: list[tuple[str, str]]) -> str:
    parts, current = [], ""
    for style, character in cells:
        if style != current:
            parts.append(style[len(current) :] if style.startswith(current) else "\x1b[0m" + style)
            current = style
        parts.append(character)
    return "".join(parts) + ("\x1b[0m" if current else "")
