"""Colours that can be read on their ground: as they are where they can, else darker or lighter."""

from __future__ import annotations

import re

LIGHT, DARK = "#fdf0ef", "#2f1b1d"
"""The grounds of errors, on which it is harder to read than on a page's own."""
_RATIO = 4.6
"""A little more than WCAG 2.2 asks of text: https://www.w3.org/TR/WCAG22/#contrast-minimum."""
_STEPS = 20
_INLINE = re.compile(r'(?<=style=")color: rgb\((\d+),(\d+),(\d+)\)(?=")')


def legible(ink: str, ground: str) -> str:
    """`ink` (`#rrggbb`), or what is nearest to it between it and black or white that can be read on `ground`."""
    colour, paper = _parts(ink), _parts(ground)
    end = 0 if _luminance(paper) > 0.18 else 255
    for step in range(_STEPS + 1):
        mixed = tuple(round(part + (end - part) * step / _STEPS) for part in colour)
        if contrast(mixed, paper) >= _RATIO:
            return _said(mixed)
    return _said((end, end, end))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """How much lighter one colour is than the other, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def with_legible_inks(markup: str) -> str:
    """Printed text in HTML whose own colours are others where a page is light than where it is dark."""
    return _INLINE.sub(lambda found: _either(_said(tuple(map(int, found.groups())))), markup)


def _either(ink: str) -> str:
    light, dark = legible(ink, LIGHT), legible(ink, DARK)
    return f"color: {light}; color: light-dark({light}, {dark})"


def _luminance(colour: tuple[int, ...]) -> float:
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(said: str) -> tuple[int, ...]:
    return tuple(int(said[place : place + 2], 16) for place in (1, 3, 5))


def _said(parts: tuple[int, ...]) -> str:
    return "#" + "".join(f"{part:02x}" for part in parts)
