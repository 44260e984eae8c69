"""Colours that can be read on their ground: as they are where they can, else darker or lighter."""

from __future__ import annotations

from collections.abc import Iterable

LIGHT, DARK = "#fdf0ef", "#2f1b1d"
"""The grounds of errors, on which it is harder to read than on a page's own."""
_RATIO = 4.6
"""A little more than WCAG 2.2 asks of text: https://www.w3.org/TR/WCAG22/#contrast-minimum."""
_LEAST, _MIDDLE = 4.5, 0.1791
"""That, and the luminance from which on black is easier to read than white."""
_PAPER = "#f5f5f5"
"""The darkest ground of a table on paper."""
_STEPS = 20


def legible(ink: str, ground: str) -> str:
    """`ink` (`#rrggbb`), or what is nearest to it between it and black or white that can be read on `ground`."""
    colour, paper = _parts(ink), _parts(ground)
    end = 0 if _luminance(paper) > _MIDDLE else 255
    for step in range(_STEPS + 1):
        mixed = tuple(round(part + (end - part) * step / _STEPS) for part in colour)
        if contrast(mixed, paper) >= _RATIO:
            return spelled(mixed)
    return spelled((end, end, end))


def on_ground(ink: str, ground: str) -> str:
    """`ink` where it can be read on the ground that a program chose, else black or white; empty is black and white."""
    if not ground:
        return legible(ink, _PAPER)
    paper = _parts(ground)
    if ink and contrast(_parts(ink), paper) >= _LEAST:
        return ink
    return "#000000" if _luminance(paper) > _MIDDLE else "#ffffff"


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """How much lighter one colour is than the other, from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: tuple[int, ...]) -> float:
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(said: str) -> tuple[int, ...]:
    return tuple(int(said[place : place + 2], 16) for place in (1, 3, 5))


def spelled(parts: Iterable[int]) -> str:
    """Red, green and blue as `#rrggbb`, none of them beyond what there is."""
    return "#" + "".join(f"{min(max(part, 0), 255):02x}" for part in parts)
