"""The colours of printed text in a page of HTML: what nbconvert makes of a terminal's, such as can be read."""

from __future__ import annotations

import re

from kernel_supervisor.notebooks.shown.legible import DARK, LIGHT, legible, on_ground, spelled
from kernel_supervisor.notebooks.shown.printed import COLOURS

_SPAN = re.compile(r'<span(?: class="(?P<names>[^"]*)")?(?: style="(?P<style>[^"]*)")?>')
_CLASS = re.compile(r"ansi-(?P<name>[a-z]+(?:-[a-z]+)?)-(?P<of>fg|bg)\b")
_STYLE = re.compile(r"(?P<of>background-color|(?<!-)color): rgb\((?P<parts>[\d,]+)\)")
_EIGHT = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
NAMES = (*_EIGHT, *(f"{name}-intense" for name in _EIGHT))
"""What nbconvert calls a terminal's sixteen colours."""
_KNOWN = {**dict(zip(NAMES, COLOURS, strict=True)), "default-inverse": "#111111"}


def with_legible_inks(markup: str) -> str:
    """Printed text in HTML whose own colours are such as can be read: on their ground, or by day and by night."""
    return _SPAN.sub(_read, markup)


def _read(span: re.Match[str]) -> str:
    names, style = span["names"] or "", span["style"] or ""
    ink, ground = _colours(names, style)
    if not ground:
        said = _either(ink) if style and ink else style
    elif names == "ansi-default-inverse-fg ansi-default-inverse-bg":
        said = style
    else:
        said = f"color: {on_ground(ink, ground)}; background-color: {ground}"
    names = f' class="{names}"' if names else ""
    return f'<span{names} style="{said}">' if said else f"<span{names}>"


def _colours(names: str, style: str) -> tuple[str, str]:
    """The ink and the ground, empty where that has none of its own."""
    found = {each["of"]: _KNOWN.get(each["name"], "") for each in _CLASS.finditer(names)}
    found |= {each["of"]: spelled(map(int, each["parts"].split(","))) for each in _STYLE.finditer(style)}
    ink = "" if "default-inverse-fg" in names else found.get("fg", "")
    return found.get("color", ink), found.get("background-color", found.get("bg", ""))


def _either(ink: str) -> str:
    light, dark = legible(ink, LIGHT), legible(ink, DARK)
    return f"color: {light}; color: light-dark({light}, {dark})"
