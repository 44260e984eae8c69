"""Which characters the fonts on this machine can show."""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import groupby
from pathlib import Path

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "~/.fonts",
    "~/.local/share/fonts",
    "~/Library/Fonts",
)
_SCRIPTS = (
    *("Hebrew", "Arabic", "Devanagari", "Bengali", "Tamil", "Telugu"),
    *("Thai", "Lao", "Khmer", "Myanmar", "Georgian", "Armenian"),
)
_FONTS = {
    **dict.fromkeys(("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH", "BOPOMOFO"), "Noto Sans CJK"),
    **{script.upper(): f"Noto Sans {script}" for script in _SCRIPTS},
    "MATHEMATICAL": "Noto Sans Math",
}
"""By the first word of a character's name."""
_NAMED = 20
_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Mn", "Me", "Zs", "Zl", "Zp")
"""Categories that have no picture of their own."""


def missing_characters(characters: Iterable[str], shows: Callable[[str], bool]) -> str:
    """Those of `characters` that are not shown, in order, and "…" where there are too many to name."""
    visible = (character for character in characters if unicodedata.category(character) not in _INVISIBLE)
    missing = sorted(character for character in visible if not shows(character))
    return "".join(missing[:_NAMED]) + ("…" if len(missing) > _NAMED else "")


def fonts_for(characters: str) -> list[str]:
    """Fonts that have them, by the names under which they are free everywhere; none for what few ever need."""
    found = {_font_for(character): None for character in characters if character != "…"}
    return [name for name in found if name]


def _font_for(character: str) -> str:
    if character >= "\U0001f000" or "\u2600" <= character < "\u27c0" or "\u2b00" <= character < "\u2c00":
        return "Noto Color Emoji"
    script = unicodedata.name(character, "").partition(" ")[0]
    return _FONTS.get(script, "")


def in_a_font(character: str) -> bool:
    """Whether a font has `character`; European letters, signs and box drawings every engine brings itself."""
    code = ord(character)
    if code < 0x0590 or 0x1E00 <= code < 0x2600 or code in (0xFFFD,):
        return True
    return any(first <= code <= last for first, last in _covered())


@cache
def _covered() -> frozenset[tuple[int, int]]:
    """The ranges of characters that the installed fonts have."""
    ranges: set[tuple[int, int]] = set()
    files = (path for folder in _FOLDERS for path in Path(folder).expanduser().rglob("*"))
    for path in files:
        if path.suffix.lower() in (".ttf", ".otf", ".ttc", ".otc"):
            with suppress(OSError, struct.error, IndexError):  # a font that cannot be read shows nothing
                ranges.update(_ranges(path.read_bytes()))
    return frozenset(ranges)


def _ranges(font: bytes) -> Iterator[tuple[int, int]]:
    """The ranges in the `cmap` tables of `font`: https://learn.microsoft.com/typography/opentype/spec/cmap"""
    starts = struct.unpack_from(f">{struct.unpack_from('>I', font, 8)[0]}I", font, 12) if font[:4] == b"ttcf" else (0,)
    for start in starts:
        for number in range(struct.unpack_from(">H", font, start + 4)[0]):
            tag, _, offset, _ = struct.unpack_from(">4sIII", font, start + 12 + 16 * number)
            if tag == b"cmap":
                yield from _cmap(font, offset)


def _cmap(font: bytes, start: int) -> Iterator[tuple[int, int]]:
    for number in range(struct.unpack_from(">H", font, start + 2)[0]):
        table = start + struct.unpack_from(">HHI", font, start + 4 + 8 * number)[2]
        form = struct.unpack_from(">H", font, table)[0]
        if form == 4:
            count = struct.unpack_from(">H", font, table + 6)[0] // 2
            lasts = struct.unpack_from(f">{count}H", font, table + 14)
            firsts = struct.unpack_from(f">{count}H", font, table + 16 + 2 * count)
            offsets = struct.unpack_from(f">{count}H", font, table + 16 + 6 * count)
            for place, (first, last, offset) in enumerate(zip(firsts, lasts, offsets, strict=True)):
                glyphs = table + 16 + 6 * count + 2 * place + offset
                yield from _with_glyphs(font, first, last, glyphs) if offset else ((first, last),)
        elif form in (12, 13):
            for group in range(struct.unpack_from(">I", font, table + 12)[0]):
                first, last, _ = struct.unpack_from(">III", font, table + 16 + 12 * group)
                yield first, last


def _with_glyphs(font: bytes, first: int, last: int, glyphs: int) -> Iterator[tuple[int, int]]:
    """The parts of a range whose characters have a glyph other than that of missing ones, which is number 0."""
    numbers = struct.unpack_from(f">{last - first + 1}H", font, glyphs)
    for has_glyph, run in groupby(range(first, last + 1), key=lambda code: numbers[code - first] != 0):
        codes = list(run)
        if has_glyph:
            yield codes[0], codes[-1]
