"""HTML whose words can be read on the grounds that it has of its own, and on a page's, by day and by night."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bs4 import BeautifulSoup

from kernel_supervisor.notebooks.shown.cascade import IMAGE, declare, declared_in, hexadecimal
from kernel_supervisor.notebooks.shown.legible import legible, on_ground

STYLE = """
.ks-on { print-color-adjust: exact; }
.ks-on :is(tr, td, th, code, pre, blockquote):not(.ks-on) { background: none !important; }
.jp-RenderedHTMLCommon .ks-on :is(a, code, pre, blockquote, table) { color: inherit; }
"""
"""What lies on a ground of its own has nothing of the page's."""
_COLOURED = re.compile(r"background|(?<![\w-])color\s*[:=]|bgcolor", re.IGNORECASE)
_LIVE = re.compile(r"<(script|canvas|svg|iframe|form|math)\b|var\(|@media|@import", re.IGNORECASE)
_MOST = 1_000_000
"""Characters of what is looked into: that takes 3 s already, and there is paper for what is longer."""
_PAGE = ("#f0f0f0", "#2a2a2a")
"""A page's ground by day and by night, there where it is hardest to read on."""
_PICTURED = ("#ffffff", "#d6d6d6")
"""What lies beneath a ground that is more than a colour."""

Pair = tuple[str, str]
"""A colour by day, and by night."""


@dataclass(frozen=True, slots=True)
class _Look:
    ground: Pair = _PAGE
    ink: Pair | None = None
    """None for the page's own."""
    is_on_its_own: bool = False


def is_understood(markup: str) -> bool:
    """Whether the colours in `markup` are all there are: nothing draws more, and none depends on what is elsewhere."""
    return len(markup) <= _MOST and not _LIVE.search(markup)


def readable(markup: str) -> str:
    """`markup` with other inks where its own, or the page's, could not be read on the ground where they stand."""
    if not _COLOURED.search(markup) or not is_understood(markup):
        return markup
    soup = BeautifulSoup(markup, "html.parser")
    declared, looks = declared_in(soup), dict[int, _Look]()
    for tag in soup.find_all(True):
        above = looks.get(id(tag.parent), _Look())
        looks[id(tag)] = _settled(tag, above, declared[id(tag)]) if id(tag) in declared else above
    return str(soup)


def _settled(tag: Any, above: _Look, own: dict[str, str]) -> _Look:
    """How what is in `tag` looks; it has a style of ours where that is not what it says."""
    said = own.get("background-color", "")
    ground = _PICTURED if said == IMAGE else _mixed(said, above.ground)
    ink = _mixed(own.get("color", ""), ground or above.ground)
    if ground is None and ink is None:
        return above
    is_on_its_own, paper = above.is_on_its_own or ground is not None, ground or above.ground
    wanted = ink or above.ink
    chosen = _read(wanted, paper, is_on_its_own=is_on_its_own)
    if ground is not None:
        tag["class"] = [*tag.get_attribute_list("class"), "ks-on"] if tag.get("class") else ["ks-on"]
    if said == IMAGE:
        declare(tag, f"background-color: light-dark(transparent, {_PICTURED[1]})")
    if chosen != wanted or (ground is not None and ink is None):
        declare(tag, _either(chosen))
    return _Look(paper, chosen, is_on_its_own)


def _mixed(said: str, behind: Pair) -> Pair | None:
    light, dark = (hexadecimal(said, ground) for ground in behind)
    return (light, dark) if light else None


def _read(ink: Pair | None, paper: Pair, *, is_on_its_own: bool) -> Pair:
    inks = ink or ("", "")
    light, dark = (
        on_ground(each, ground) if is_on_its_own else legible(each, ground)
        for each, ground in zip(inks, paper, strict=True)
    )
    return light, dark


def _either(ink: Pair) -> str:
    light, dark = ink
    night = f"; color: light-dark({light}, {dark}) !important" if light != dark else ""
    return f"color: {light} !important{night}"
