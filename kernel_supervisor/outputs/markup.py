"""HTML as readable text: tables as rows, lists as lines, media by name. Not a renderer."""

from __future__ import annotations

import re
from html import unescape

from kernel_supervisor.amounts import size

READ_AT_MOST = 100_000
"""Characters of a document that are read; the rest is counted only."""

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
_STYLES = re.compile(r"<(style|script)\b[^<]*</\1\s*>", re.IGNORECASE)
"""Those without a `<` in them: a styled table has megabytes of them before its first row."""
_SPACES = re.compile(r"[ \t\r\f\v\xa0]+")
_ENDLESS = re.compile("&#[0-9]{20,};?")
"""A character by a number that is none's; of one with thousands of digits Python makes no number at all."""
_BLANK_LINES = re.compile(r"\n\s*\n\s*")


def readable(html: str) -> str:
    """The text that `html` shows, without scripts and styles; empty where it shows none."""
    if len(html) > READ_AT_MOST:
        html = _STYLES.sub("", html)
    text = _BLANK_LINES.sub("\n", _Reader(shorten_data(html[:READ_AT_MOST])).read()).strip()
    if text and len(html) > READ_AT_MOST:
        text += f"\n[… {len(html) - READ_AT_MOST:,} characters of HTML not read …]"
    return text


def shorten_data(text: str) -> str:
    """`text` with embedded data (`data:image/png;base64,…`) named instead of spelt out."""
    if ";base64," not in text:
        return text
    return _DATA_URI.sub(lambda found: f"data:{found[1] or ''} ({size(len(found[2]) * 3 // 4)})", text)


def _unescaped(text: str) -> str:
    return unescape(_ENDLESS.sub("\ufffd", text))


class _Reader:
    """Reads a document from front to end once: the standard library's parser can take minutes for a damaged one."""

    def __init__(self, html: str) -> None:
        self._html = html
        self.parts: list[str] = []
        self._first_cell = True
        self._pre = 0
        self._never_closed: set[str] = set()

    def read(self) -> str:
        """All text of the document."""
        html, position = self._html, 0
        while (start := html.find("<", position)) >= 0:
            self._say(html[position:start])
            position = self._markup(start)
        self._say(html[position:])
        return "".join(self.parts)

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
        if tag in ("td", "th"):
            self.parts.append("" if self._first_cell else " | ")
            self._first_cell = False
        elif tag == "br" or tag in _BLOCKS:
            self.parts.append("\n")
            self._first_cell = self._first_cell or tag == "tr"
            self._pre += tag == "pre"
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in _MEDIA:
            self._name(_MEDIA[tag], attributes[:_ATTRIBUTES])

    def _close(self, tag: str) -> None:
        if tag in _BLOCKS:
            self.parts.append("\n")
            self._pre = max(0, self._pre - (tag == "pre"))

    def _say(self, text: str) -> None:
        text = _unescaped(text)
        self.parts.append(text if self._pre else _SPACES.sub(" ", text.replace("\n", " ")))

    def _name(self, what: str, attributes: str) -> None:
        found = {name.lower(): _unescaped(value.strip("\"'")) for name, value in _ATTRIBUTE.findall(attributes)}
        told = found.get("alt") or found.get("title") or found.get("src") or ""
        if told or what != "source":
            self.parts.append(f"[{what}: {told[:200]}]" if told else f"[{what}]")
