"""The pictures that Markdown names: attached ones, files beside the notebook, and those from the network.

All come into the document with it, as attachments of their cells; what cannot has a placeholder in its place.
"""

from __future__ import annotations

import html
import mimetypes
import os
import re
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kernel_supervisor.notebooks.contents import IMAGES
from kernel_supervisor.notebooks.shown.damage import is_damaged, of_address, without_damaged
from kernel_supervisor.paths import read_regular

_CODE = r"(?P<code>^(?P<fence>```+|~~~+).*?^(?P=fence)[^\n]*$|(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`))"
_MARKDOWN = r"!\[(?P<alt>[^\]]*)\]\(\s*<?(?P<address>[^)\s>]+)>?(?P<title>\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)"
_NAMED = r"!\[(?P<said>[^\]]*)\]\[(?P<name>[^\]]*)\]"
_TAG = r"<img\b(?P<attributes>[^>]*)>"
_PICTURE = re.compile("|".join((_CODE, _MARKDOWN, _NAMED, _TAG)), re.MULTILINE | re.DOTALL | re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_DEFINED = re.compile(r"^ {0,3}\[(?P<name>[^\]]+)\]:\s*<?(?P<address>[^\s>]+)", re.MULTILINE)
_TYPES = (*IMAGES, "image/webp", "image/bmp")
_DAMAGED = "which is damaged"
_LARGEST, _FETCH_S = 20 << 20, 10.0
"""Bytes of a picture, and seconds in which it comes from the network."""

Place = Callable[[str], tuple[str, str]]
"""Makes of a picture's address the new one, which is empty where the words beside it are to stand in its place."""


def with_pictures_attached(
    notebook: Any, folder: Path, name_of: Callable[[Any, int], str], *, fetch: bool
) -> list[str]:
    """Attach the pictures that the cells' Markdown names; `folder` is the notebook's. Return what is not shown.

    From the network they come only if they are to be fetched; files only from the folder and below it.
    """
    remarks: list[str] = []
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown" and ("![" in cell.source or "<img" in cell.source.lower()):
            failures: list[str] = []
            cell["source"] = replaced(cell.source, partial(_attached, cell, folder, failures, fetch))
            remarks += [f"{name_of(cell, number)}: {words}" for words in failures]
    return remarks


def replaced(source: str, place: Place) -> str:
    """Markdown whose pictures have the address that `place` gives for theirs, or the words where that is empty."""
    defined = {each["name"].lower(): each["address"] for each in _DEFINED.finditer(source)}

    def of(found: re.Match[str]) -> str:
        if found["code"] is not None:
            return found[0]
        if found["attributes"] is not None:
            return _tag(found, place)
        named = found["name"] is not None
        address = defined.get((found["name"] or found["said"]).lower(), "") if named else found["address"]
        if not address:
            return found[0]
        new, instead = place(address)
        alt = found["said"] if named else found["alt"]
        return f"![{alt}]({new}{'' if named else found['title'] or ''})" if new else f"*\\[{_shown(alt, instead)}\\]*"

    return _PICTURE.sub(of, source)


def tags_as_markdown(source: str) -> str:
    """Markdown in which pictures' tags are Markdown, too, as pandoc understands it: with their sizes."""

    def of(found: re.Match[str]) -> str:
        if found["attributes"] is None:
            return found[0]
        said = attributes_of(found["attributes"])
        sizes = " ".join(f"{name}={said[name]}" for name in ("width", "height") if _is_size(said.get(name, "")))
        return f"![{said.get('alt', '')}]({said.get('src', '')})" + (f"{{{sizes}}}" if sizes else "")

    return _PICTURE.sub(of, source)


def attributes_of(tag: str) -> dict[str, str]:
    """A tag's attributes by their names."""
    return {name.lower(): html.unescape(a or b or c) for name, a, b, c in _ATTRIBUTE.findall(tag)}


def _is_size(said: str) -> bool:
    return re.fullmatch(r"\d{1,4}(px|%)?", said) is not None


def _tag(found: re.Match[str], place: Place) -> str:
    said = attributes_of(found["attributes"])
    if not said.get("src"):
        return found[0]
    new, instead = place(said["src"])
    if not new:
        return f"<em>[{html.escape(_shown(said.get('alt', ''), instead))}]</em>"
    kept = "".join(f' {name}="{html.escape(value)}"' for name, value in said.items() if name != "src")
    return f'<img src="{html.escape(new)}"{kept}>'


def _shown(alt: str, why: str) -> str:
    return f"not shown: {why}" + (f" – {alt}" if alt.strip() else "")


def _attached(cell: Any, folder: Path, failures: list[str], fetch: bool, address: str) -> tuple[str, str]:
    """The address of a picture that is attached to `cell` then, or why there is none."""
    address = html.unescape(address)
    if address.startswith("data:"):
        mime, content = of_address(address)
        damaged = mime in IMAGES and is_damaged(mime, content)
        return ("", _failed(failures, f"the picture of type {mime}, {_DAMAGED}")) if damaged else (address, "")
    if address.startswith("attachment:"):
        name = address.removeprefix("attachment:")
        known = cell.get("attachments", {})
        found = next((each for each in (name, unquote(name)) if known.get(each)), None)
        if found is not None and without_damaged(dict(known[found])):
            return "", _failed(failures, f"the picture {name}, {_DAMAGED}")
        if found is not None:
            return address if found == name else f"attachment:{found}", ""
        return "", _failed(failures, f"the picture {name}, which is not attached")
    is_remote = urlsplit(address).scheme in ("http", "https")
    try:
        mime, content = _fetched(address) if is_remote and fetch else _read(folder, address)
        if is_damaged(mime, content):
            raise ValueError(_DAMAGED)
    except (OSError, ValueError) as error:
        return "", _failed(failures, f"the picture {address[:200]}, {str(error)[:200]}")
    name = f"ks-{len(cell.get('attachments', {})) + 1}{mimetypes.guess_extension(mime) or '.png'}"
    cell.setdefault("attachments", {})[name] = {mime: b64encode(content).decode()}
    return f"attachment:{name}", ""


def _failed(failures: list[str], words: str) -> str:
    failures.append(f"{words}, is not shown")
    return words


def _read(folder: Path, address: str) -> tuple[str, bytes]:
    """A picture's type and content, from a file in the folder. Raises OSError and ValueError, in words."""
    if urlsplit(address).scheme in ("http", "https"):
        raise ValueError("which is on the network (the option fetch-images has it fetched)")
    path = Path(os.path.realpath(folder / unquote(address.partition("?")[0].partition("#")[0])))
    mime = mimetypes.guess_type(path.name)[0] or ""
    if not path.is_relative_to(os.path.realpath(folder)):
        raise ValueError("which is not in the notebook's folder")
    if not path.is_file():
        raise ValueError("which is not there")
    if mime not in _TYPES:
        raise ValueError("which is no picture")
    with suppress(OSError):
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"which is larger than {_LARGEST >> 20} MB")
    return mime, read_regular(str(path), _LARGEST)


def _fetched(address: str) -> tuple[str, bytes]:
    """A picture from the network. Raises OSError and ValueError, in words."""
    asked = urllib.request.Request(address, headers={"User-Agent": "kernel-supervisor"})
    with closing(urllib.request.urlopen(asked, timeout=_FETCH_S)) as said:
        mime = said.headers.get_content_type()
        if mime not in _TYPES:
            raise ValueError(f"which is {mime}, no picture")
        content = said.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"which is larger than {_LARGEST >> 20} MB")
    return mime, content
