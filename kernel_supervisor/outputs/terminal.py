"""What a terminal would show of a stream of text: escapes, `\\r`, `\\b` and cursor movements folded.

The page has no height and no width: nothing scrolls away and nothing wraps. One character is one cell, so
double-width characters that are half overwritten come out whole. Colours and titles are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_WIDTH = 400
"""A movement goes no further right than this, except over text that is there: padding stays bounded."""
_HEIGHT = 200
"""A movement goes no further down than this, except over lines that are there."""

_NOT_PLAIN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SILENT = re.compile("[\x00-\x07\x0e-\x1f\x7f-\x9f]+")
"""Shown as nothing; eight-bit control sequences too, which are met as wrongly decoded text only."""
_CSI = r"\x1b\[([0-?]{0,64})[ -/]{0,4}([@-~])?"
_STRING = r"\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
"""A command with text in it (a title, a link). It ends with its line at the latest: it hides little."""
_SHORT = r"\x1b[ -/]{0,4}([0-Z\\`-~])?"
_TOKEN = re.compile(rf"{_CSI}|{_STRING}|{_SHORT}|([\r\b\x0b\x0c])")
_MOVES = re.compile(r"[\r\b\x0b\x0c]|\x1b\[[0-?]{0,64}[ -/]{0,4}[A-HJK`adefsu]|\x1b[78DEMc]")


def plain(text: str) -> str:
    """What a terminal would show after `text`: valid Unicode without control characters but `\\n` and `\\t`.

    Linear in the length of `text`; text without control characters is returned as it is.
    """
    if _NOT_PLAIN.search(text) is None:
        return text
    text = _valid(text.replace("\r\n", "\n"))
    if _NOT_PLAIN.search(text) is None:
        return text
    if _MOVES.search(text) is None:
        return _SILENT.sub("", _TOKEN.sub("", text))
    return Screen().shown(text)


def _valid(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Screen:
    """A page that a text is written on."""

    def __init__(self) -> None:
        self._lines: list[str | list[str]] = [""]
        self._edited = bytearray(1)
        """Per line, whether something on it was overwritten or erased: then blanks at its end say nothing."""
        self._row = self._column = 0
        self._saved = (0, 0)

    def shown(self, text: str) -> str:
        """What the page shows once `text` is written on it."""
        position = 0
        for token in _TOKEN.finditer(text):
            if token.start() > position:
                self._put(text[position : token.start()])
            self._obey(token)
            position = token.end()
        self._put(text[position:])
        return "\n".join(map(self._line, range(len(self._lines))))

    def _line(self, row: int) -> str:
        line = self._lines[row]
        shown = line if isinstance(line, str) else "".join(line)
        return shown.rstrip(" ") if self._edited[row] else shown

    def _put(self, text: str) -> None:
        """Write text in which newlines are the only controls that show."""
        parts = _SILENT.sub("", text).split("\n")
        self._write(parts[0])
        if len(parts) == 1:
            return
        if self._row == len(self._lines) - 1:
            self._lines += parts[1:]
            self._edited += bytes(len(parts) - 1)
            self._row, self._column = len(self._lines) - 1, len(parts[-1])
            return
        for part in parts[1:]:
            self._newline()
            self._write(part)

    def _write(self, run: str) -> None:
        """Put `run` over what stands at the cursor."""
        if not run:
            return
        line, column = self._lines[self._row], self._column
        width = len(line)
        if column > width:
            column = min(column, max(width, _WIDTH))
        if width > column:
            self._edited[self._row] = 1
        self._column = column + len(run)
        if column == 0 and len(run) >= width:
            self._lines[self._row] = run
            return
        if isinstance(line, str):
            line = self._lines[self._row] = list(line)
        if column > width:
            line.extend(" " * (column - width))
        line[column : column + len(run)] = run

    def _newline(self) -> None:
        self._row += 1
        self._column = 0
        if self._row == len(self._lines):
            self._lines.append("")
            self._edited.append(0)

    def _obey(self, token: re.Match[str]) -> None:
        parameters, final, short, control = token.groups()
        if control == "\r":
            self._column = 0
        elif control == "\b":
            self._column = max(0, self._column - 1)
        elif control is not None:
            self._newline()
        elif final in _MOVEMENTS:
            _MOVEMENTS[final](self, _numbers(parameters))
        elif short in _SHORT_MOVEMENTS:
            _SHORT_MOVEMENTS[short](self, [])

    def _go(self, row: int, column: int) -> None:
        """Move the cursor, within what is there or within the bounds that a movement may open."""
        if (more := min(row + 1, _HEIGHT) - len(self._lines)) > 0:
            self._lines += [""] * more
            self._edited += bytes(more)
        self._row = max(0, min(row, len(self._lines) - 1))
        self._column = max(0, min(column, max(_WIDTH, self._column, len(self._lines[self._row]))))

    def _erase_line(self, numbers: list[int]) -> None:
        line, column, mode = self._lines[self._row], self._column, numbers[0]
        self._edited[self._row] = 1
        if mode == 2 or (mode == 0 and column == 0):
            self._lines[self._row] = ""
            return
        if isinstance(line, str):
            line = self._lines[self._row] = list(line)
        if mode == 0:
            del line[column:]
        elif mode == 1:
            start, end = max(0, column + 1 - _WIDTH), min(column + 1, len(line))
            line[start:end] = " " * (end - start)

    def _erase_page(self, numbers: list[int]) -> None:
        mode = numbers[0]
        if mode == 0:
            self._erase_line([0])
            del self._lines[self._row + 1 :]
            del self._edited[self._row + 1 :]
        elif mode in (2, 3):
            self._lines, self._edited = [""], bytearray(1)
            self._row = 0

    def _save(self, _numbers: list[int]) -> None:
        self._saved = (self._row, self._column)

    def _restore(self, _numbers: list[int]) -> None:
        self._go(*self._saved)

    def _reset(self, _numbers: list[int]) -> None:
        self._erase_page([2])
        self._column = 0


def _numbers(parameters: str) -> list[int]:
    """The numbers of a control sequence; those beyond any page are cut to seven digits."""
    return [int(part[:7]) if part[:7].isdigit() else 0 for part in parameters.split(";")]


def _at(numbers: list[int], index: int) -> int:
    """A position of a control sequence, counted from 0."""
    return max(0, numbers[index] - 1) if index < len(numbers) else 0


_MOVEMENTS: dict[str, Callable[[Screen, list[int]], None]] = {
    "A": lambda s, n: s._go(s._row - (n[0] or 1), s._column),
    "B": lambda s, n: s._go(s._row + (n[0] or 1), s._column),
    "C": lambda s, n: s._go(s._row, s._column + (n[0] or 1)),
    "D": lambda s, n: s._go(s._row, s._column - (n[0] or 1)),
    "E": lambda s, n: s._go(s._row + (n[0] or 1), 0),
    "F": lambda s, n: s._go(s._row - (n[0] or 1), 0),
    "G": lambda s, n: s._go(s._row, _at(n, 0)),
    "`": lambda s, n: s._go(s._row, _at(n, 0)),
    "a": lambda s, n: s._go(s._row, s._column + (n[0] or 1)),
    "d": lambda s, n: s._go(_at(n, 0), s._column),
    "e": lambda s, n: s._go(s._row + (n[0] or 1), s._column),
    "H": lambda s, n: s._go(_at(n, 0), _at(n, 1)),
    "f": lambda s, n: s._go(_at(n, 0), _at(n, 1)),
    "J": Screen._erase_page,
    "K": Screen._erase_line,
    "s": Screen._save,
    "u": Screen._restore,
}
_SHORT_MOVEMENTS: dict[str, Callable[[Screen, list[int]], None]] = {
    "7": Screen._save,
    "8": Screen._restore,
    "D": lambda s, n: s._go(s._row + 1, s._column),
    "E": lambda s, n: s._go(s._row + 1, 0),
    "M": lambda s, n: s._go(s._row - 1, s._column),
    "c": Screen._reset,
}
