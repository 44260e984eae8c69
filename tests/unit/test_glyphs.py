"""Promise: what no font has is known, and which fonts would help."""

from __future__ import annotations

import struct

import pytest

from kernel_supervisor.notebooks import glyphs


@pytest.mark.parametrize(
    ("characters", "fonts"),
    [
        ("", []),
        ("✅🇩👩…", ["Noto Color Emoji"]),
        ("中あ한", ["Noto Sans CJK"]),
        ("שल𝔸", ["Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Math"]),
        ("\U00012000", []),
    ],
)
def test_fonts_are_named_that_would_help(characters: str, fonts: list[str]) -> None:
    assert glyphs.fonts_for(characters) == fonts


def test_a_character_without_a_glyph_within_a_fonts_range_is_not_there() -> None:
    ends, starts, deltas, offsets, numbers = (0x2708, 0xFFFF), (0x2705, 0xFFFF), (0, 1), (4, 0), (5, 0, 0, 6)
    table = struct.pack(">7H 2H x x 2H 2h 2H 4H", 4, 0, 0, 4, 0, 0, 0, *ends, *starts, *deltas, *offsets, *numbers)
    cmap = struct.pack(">HHHHI", 0, 1, 3, 1, 12) + table
    assert list(glyphs._cmap(cmap, 0)) == [(0x2705, 0x2705), (0x2708, 0x2708), (0xFFFF, 0xFFFF)]
