"""What stands where on the pages of a PDF."""

from __future__ import annotations

import html
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PAGE = re.compile(r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', re.DOTALL)
_WORD = re.compile(r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>', re.DOTALL)
_EDGE = 1.0
_TOUCHING = 0.35
"""Of the smaller of two words: so much of it may be within the other's box, which is taller than its letters."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its box, in points from the top left of its page."""

    page: int
    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(self.right - self.left, 0.01) * max(self.bottom - self.top, 0.01)


@dataclass(frozen=True, slots=True)
class Pages:
    """A PDF as it was read."""

    sizes: tuple[tuple[float, float], ...]
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def outside(self) -> list[Word]:
        """The words that are not wholly on their page."""
        return [word for word in self.words if not self._holds(word)]

    def _holds(self, word: Word) -> bool:
        width, height = self.sizes[word.page]
        return min(word.left, word.top) > -_EDGE and word.right < width + _EDGE and word.bottom < height + _EDGE

    def over_each_other(self) -> list[tuple[Word, Word]]:
        """Each two words of which one is set over the other."""
        found = []
        rows: dict[tuple[int, int], list[Word]] = {}
        for word in self.words:
            for row in {int(word.top // 20), int(word.bottom // 20)}:
                rows.setdefault((word.page, row), []).append(word)
        for words in rows.values():
            words.sort(key=lambda word: word.left)
            for place, word in enumerate(words):
                for other in words[place + 1 :]:
                    if other.left >= word.right:
                        break
                    if _shared(word, other) > _TOUCHING * min(word.area, other.area):
                        found.append((word, other))
        return found


def pages_of(pdf: Path) -> Pages:
    """The words of `pdf`, and how large its pages are."""
    said = subprocess.run(["pdftotext", "-bbox", str(pdf), "-"], check=True, capture_output=True, text=True).stdout
    sizes, words = [], []
    for number, page in enumerate(_PAGE.finditer(said)):
        sizes.append((float(page[1]), float(page[2])))
        for word in _WORD.finditer(page[3]):
            text = html.unescape(word[5]).replace("\u200b", "")
            if text.strip():
                words.append(Word(number, text, *map(float, word.groups()[:4])))
    return Pages(tuple(sizes), tuple(words))


def pictures_in(pdf: Path) -> int:
    """How many pictures there are in `pdf`, masks of others aside."""
    said = subprocess.run(["pdfimages", "-list", str(pdf)], check=True, capture_output=True, text=True).stdout
    return sum(line.split()[2] == "image" for line in said.splitlines()[2:])


def _shared(one: Word, other: Word) -> float:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    return max(width, 0) * max(height, 0)
