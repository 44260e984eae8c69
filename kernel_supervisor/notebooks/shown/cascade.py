"""What a piece of HTML says of its elements' looks, in style sheets, styles and old attributes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import tinycss2
from soupsieve import SelectorSyntaxError
from tinycss2.color3 import parse_color

from kernel_supervisor.notebooks.shown.legible import spelled

_STYLED = frozenset({"background", "background-color", "color", "text-align", "font-weight"})
IMAGE = "image"
"""A ground that is more than one colour."""
_ID, _LESSER = re.compile(r"#[\w-]+\Z"), re.compile(r"[.\[:]")

Colour = tuple[tuple[int, int, int], float]
"""Red, green and blue to 255, and how opaque it is."""


def declared_in(soup: Any) -> dict[int, dict[str, str]]:
    """What is declared of each element of `soup`, by its `id()`: the strongest where there are several."""
    found: dict[int, dict[str, str]] = {}
    names = {str(tag["id"]): tag for tag in soup.find_all(id=True)}
    for _, selector, declared in sorted(_rules(soup), key=lambda rule: rule[0]):
        if not _ID.match(selector):
            declared.pop("text-align", None)  # pandas says it of each head of a table, whatever is below
        for tag in _chosen(soup, names, selector) if declared else ():
            found.setdefault(id(tag), {}).update(declared)
    for tag in soup.find_all(style=True):
        found.setdefault(id(tag), {}).update(declarations(str(tag["style"])))
    for tag in soup.find_all(bgcolor=True):
        found.setdefault(id(tag), {}).setdefault("background-color", str(tag["bgcolor"]))
    for tag in soup.find_all("font", color=True):
        found.setdefault(id(tag), {}).setdefault("color", str(tag["color"]))
    return found


def declare(tag: Any, style: str) -> None:
    """Have `style` behind what a tag says of its own."""
    before = str(tag.get("style", "")).rstrip("; \n")
    tag["style"] = f"{before}; {style}" if before else style


def declarations(style: Any) -> dict[str, str]:
    """What of a style counts here; of a ground but its colour, or `IMAGE` where it is not one alone."""
    said = {}
    for each in tinycss2.parse_declaration_list(style, skip_comments=True, skip_whitespace=True):
        if each.type == "declaration" and each.lower_name in _STYLED:
            name = "background-color" if each.lower_name == "background" else each.lower_name
            said[name] = _ground(each.value) if name == "background-color" else tinycss2.serialize(each.value).strip()
    return said


def colour(said: str) -> Colour | None:
    """The colour that `said` names in a style sheet; None where it is none, or is another element's."""
    parsed = parse_color(said)
    if parsed is None or isinstance(parsed, str):
        return None
    red, green, blue = (round(min(max(part, 0), 1) * 255) for part in parsed[:3])
    return (red, green, blue), float(parsed.alpha)


def hexadecimal(said: str, ground: str = "#ffffff") -> str:
    """The colour as `#rrggbb` where it lies on `ground`; empty for none, and for one that is not seen."""
    found = colour(said) if said else None
    if found is None or not found[1]:
        return ""
    parts, share = found
    behind = bytes.fromhex(ground[1:])
    return spelled(round(part * share + back * (1 - share)) for part, back in zip(parts, behind, strict=True))


def _ground(value: Any) -> str:
    if any(each.type == "url" or "gradient" in getattr(each, "lower_name", "") for each in value):
        return IMAGE
    colours = [tinycss2.serialize([each]) for each in value if parse_color(each) is not None]
    return colours[0] if colours else str(tinycss2.serialize(value)).strip()


def _rules(soup: Any) -> Iterator[tuple[tuple[int, int], str, dict[str, str]]]:
    """How strong each rule is, for what, and what it says; in their order."""
    for sheet in soup.find_all("style"):
        for rule in tinycss2.parse_stylesheet(sheet.get_text(), skip_comments=True, skip_whitespace=True):
            if rule.type == "qualified-rule" and (declared := declarations(rule.content)):
                for selector in map(str.strip, tinycss2.serialize(rule.prelude).split(",")):
                    yield (selector.count("#"), len(_LESSER.findall(selector))), selector, dict(declared)


def _chosen(soup: Any, names: dict[str, Any], selector: str) -> list[Any]:
    if _ID.match(selector):
        return [names[selector[1:]]] if selector[1:] in names else []
    try:
        return list(soup.select(selector))
    except (SelectorSyntaxError, NotImplementedError):
        return []  # such as a part that is no element
