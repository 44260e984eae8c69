"""HTML as readable text: tables as rows, lists as lines, media by name. Not a renderer."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from html import unescape

from kernel_supervisor.amounts import several, size

READ_AT_MOST = 100_000
"""Characters of a document that are read; the rest is counted only."""

_MEASURED = 2
"""Rows of a table by which its columns are counted: the first may be a head that is not marked as one."""

_UNSEEN = frozenset({"script", "style", "head", "template", "svg", "math"})
_BLOCKS = frozenset(
    {"p", "div", "table", "tr", "ul", "ol", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "dt", "dd", "hr"}
    | {"section", "article", "header", "footer", "details", "summary", "form", "figure", "figcaption"}
)
_MEDIA = {"img": "image", "video": "video", "audio": "audio", "iframe": "frame", "embed": "object", "source": "source"}
_DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=-]+)*;base64,([A-Za-z0-9+/=\s]{120,})")
_NAME = re.compile(r"<(/?)([A-Za-z][\w:-]*)")
_ATTRIBUTE = re.compile(r"""(?<![\w:-])([\w:-]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""")
_ATTRIBUTES = 4000
"""Characters of one tag's attributes that are read."""
_OPENED = re.compile(r"<(style|script)\b", re.IGNORECASE)
_CLOSED = {tag: re.compile(f"</{tag}\\s*>", re.IGNORECASE) for tag in ("style", "script")}
_HELD = re.compile(r"""\bsrcdoc\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
"""The page that a frame holds itself."""
_TABLE_END = re.compile("</table", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\f\v\xa0]+")
_ENDLESS = re.compile("&#[0-9]{20,};?")
"""A character by a number that is none's; of one with thousands of digits Python makes no number at all."""
_BLANK_LINES = re.compile(r" *\n\s*\n\s*| +\n")


@dataclass(slots=True)
class Table:
    """How large a table is, without the rows of its head, and the columns that name its rows."""

    rows: int = 0
    cells: int = 0
    """Of its longest row."""
    names: int = 0
    """Cells before a row's first value that are written as heads."""

    @property
    def columns(self) -> int:
        """Those that have values."""
        return self.cells - self.names


@dataclass(frozen=True, slots=True)
class Read:
    """What a document says."""

    text: str
    tables: list[Table]
    is_whole: bool


def readable(html: str) -> str:
    """The text that `html` shows, without scripts and styles; empty where it shows none."""
    return read(html).text


def read(html: str, *, rows: int = sys.maxsize) -> Read:
    """The text that `html` shows, with so many rows of each of its tables, and how large these are."""
    if len(html) > READ_AT_MOST:
        html = _without_scripts(html)
    reader = _Reader(shorten_data(html), rows)
    text = _BLANK_LINES.sub("\n", reader.read()).strip()
    if text and reader.unread:
        text += f"\n[… {reader.unread:,} characters of HTML not read …]"
    return Read(text, reader.tables, not reader.unread)


def _without_scripts(html: str) -> str:
    """`html` without the scripts and styles that are closed: a page has megabytes of them before its first word."""
    kept, position = list[str](), 0
    while (opened := _OPENED.search(html, position)) is not None:
        closed = _CLOSED[opened[1].lower()].search(html, opened.end())
        if closed is None:
            break
        kept.append(html[position : opened.start()])
        position = closed.end()
    return "".join([*kept, html[position:]])


def shorten_data(text: str) -> str:
    """`text` with embedded data (`data:image/png;base64,…`) named instead of spelt out."""
    if ";base64," not in text:
        return text
    return _DATA_URI.sub(lambda found: f"data:{found[1] or ''} ({size(len(found[2]) * 3 // 4)})", text)


def _unescaped(text: str) -> str:
    return unescape(_ENDLESS.sub("\ufffd", text))


class _Reader:
    """Reads a document from front to end once: the standard library's parser can take minutes for a damaged one."""

    def __init__(self, html: str, rows: int = sys.maxsize, framed: bool = False) -> None:
        self._html = html
        self._rows = rows
        self._framed = framed
        self.parts: list[str] = []
        self.tables: list[Table] = []
        self.unread = 0
        self._skipped = 0
        self._is_in_table = False
        self._is_in_head = False
        self._first_cell = True
        self._cells = 0
        self._heads = 0
        self._pre = 0
        self._never_closed: set[str] = set()

    def read(self) -> str:
        """All text of the document."""
        html, position = self._html, 0
        while (start := html.find("<", position)) >= 0 and start - self._skipped < READ_AT_MOST:
            self._say(html[position:start])
            position = self._markup(start)
            if self._is_cut():
                position = self._rest_of_table(position)
        end = min(len(html), max(position, READ_AT_MOST + self._skipped))
        self._say(html[position:end])
        self.unread = len(html) - end
        self._rest_of_table(end)
        return "".join(self.parts)

    def _is_cut(self) -> bool:
        return self._is_in_table and self.tables[-1].rows > self._rows

    def _rest_of_table(self, start: int) -> int:
        """Where the table ends that stands there, its rows counted and not read."""
        if not self._is_in_table:
            return start
        closing = _TABLE_END.search(self._html, start)
        end = closing.start() if closing else len(self._html)
        self.tables[-1].rows += self._html.count("<tr", start, end)
        self._skipped += end - start
        return end

    def _markup(self, start: int) -> int:
        """Read what begins with `<` at `start`, and give where it ends."""
        html = self._html
        if html.startswith("<!--", start):
            return self._behind("-->", start)
        name = _NAME.match(html, start)
        if name is None:
            if html.startswith(("<!", "<?"), start):
                return self._behind(">", start)
            self._say("<")
            return start + 1
        end = self._tag_end(name.end())
        tag = name[2].lower()
        if name[1]:
            self._close(tag)
        elif tag in _UNSEEN:
            return self._unseen_end(tag, end)
        else:
            self._open(tag, html[name.end() : end])
        return end

    def _unseen_end(self, tag: str, start: int) -> int:
        """Where an element that is not shown ends; one that is never closed is not an element."""
        if tag in self._never_closed:
            return start
        closing = re.compile(f"</{tag}\\b", re.IGNORECASE).search(self._html, start)
        if closing is None:
            self._never_closed.add(tag)
            return start
        return self._behind(">", closing.start())

    def _behind(self, mark: str, start: int) -> int:
        """Where what follows `mark` begins: at the end of the document, where there is none."""
        found = self._html.find(mark, start)
        return len(self._html) if found < 0 else found + len(mark)

    def _tag_end(self, start: int) -> int:
        """Where a tag ends: behind the first `>`, or the one behind a quotation that this stands in."""
        end = self._behind(">", start)
        if self._html.count('"', start, end) % 2:
            return self._behind(">", self._behind('"', end))
        return end

    def _open(self, tag: str, attributes: str) -> None:
        self._measure(tag)
        if self._is_cut():
            return
        if tag in ("td", "th"):
            self._trim()
            self.parts.append("" if self._first_cell else " | ")
            self._first_cell = False
        elif tag == "br" or tag in _BLOCKS:
            self.parts.append("\n")
            self._first_cell = self._first_cell or tag == "tr"
            self._pre += tag == "pre"
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in _MEDIA and not (tag == "iframe" and self._read_frame(attributes)):
            self._name(_MEDIA[tag], attributes[:_ATTRIBUTES])

    def _measure(self, tag: str) -> None:
        """Count the rows and columns of the table that is read."""
        if tag == "table":
            self.tables.append(Table())
            self._is_in_table, self._is_in_head = True, False
        elif not self._is_in_table:
            return
        elif tag in ("thead", "tbody"):
            self._is_in_head = tag == "thead"
        elif tag == "tr" and not self._is_in_head:
            self.tables[-1].rows += 1
        elif tag in ("td", "th") and self.tables[-1].rows <= _MEASURED:
            table = self.tables[-1]
            self._cells = 1 if self._first_cell else self._cells + 1
            self._heads = 0 if self._first_cell else self._heads
            table.cells = max(table.cells, self._cells)
            if tag == "td" and self._heads == self._cells - 1:
                table.names = max(table.names, self._heads)
            self._heads += tag == "th"

    def _read_frame(self, attributes: str) -> bool:
        """Read the page that a frame holds itself; whether there is one."""
        found = None if self._framed else _HELD.search(attributes)
        if found is None:
            return False
        inner = _Reader(shorten_data(_unescaped(found[1] or found[2] or "")), self._rows, framed=True)
        self.parts += ["\n", inner.read(), "\n"]
        self.tables += inner.tables
        return True

    def _close(self, tag: str) -> None:
        if tag == "table" and self._is_in_table:
            left, self._is_in_table = self.tables[-1].rows - self._rows, False
            self.parts += [f"\n[… {several(left, 'more row')} …]\n"] if left > 0 else []
        if tag in _BLOCKS:
            self._trim()
            self.parts.append("\n")
            self._pre = max(0, self._pre - (tag == "pre"))

    def _trim(self) -> None:
        """Take the spaces off that only lay the document out, before the next cell."""
        while self.parts and not self.parts[-1].strip(" "):
            self.parts.pop()
        if self.parts:
            self.parts[-1] = self.parts[-1].rstrip(" ")

    def _say(self, text: str) -> None:
        text = _unescaped(text)
        self.parts.append(text if self._pre else _SPACES.sub(" ", text.replace("\n", " ")))

    def _name(self, what: str, attributes: str) -> None:
        found = {name.lower(): _unescaped(value.strip("\"'")) for name, value in _ATTRIBUTE.findall(attributes)}
        told = found.get("alt") or found.get("title") or found.get("src", "").partition(";base64,")[0]
        if told or what != "source":
            self.parts.append(f"[{what}: {told[:200]}]" if told else f"[{what}]")
