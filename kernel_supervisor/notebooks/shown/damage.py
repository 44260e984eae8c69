"""Pictures that an engine cannot take as they are: of one that is damaged it makes no document at all, and a drawing
in SVG that says its size, but not what of it is seen, is cut where it is to be made smaller."""

from __future__ import annotations

import binascii
import io
import re
import warnings
from base64 import b64decode
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from PIL import Image

from kernel_supervisor.notebooks.contents import IMAGES

_SVG = "image/svg+xml"
_DRAWING = re.compile(r"<svg\b[^>]*>", re.IGNORECASE)
_SIZE = re.compile(r"""(?<![\w-])(width|height)\s*=\s*["']?\s*(\d+(?:\.\d+)?)(?:px)?\s*(?=["'\s>])""", re.IGNORECASE)


def is_damaged(mime: str, content: bytes) -> bool:
    """Whether `content` is no picture of that type, or only some of one."""
    if mime == _SVG:
        return not _is_xml(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is large is no damage
            with Image.open(io.BytesIO(content)) as picture:
                picture.verify()
    except Image.DecompressionBombError:
        return False
    except (OSError, SyntaxError, ValueError):
        return True
    return False


def of_address(address: str) -> tuple[str, bytes]:
    """The type and content that a `data:` address has in it: https://www.rfc-editor.org/rfc/rfc2397"""
    about, _, said = address.removeprefix("data:").partition(",")
    mime, *parameters = about.lower().split(";")
    content = unquote_to_bytes(said)
    return mime, _decoded(content) if "base64" in parameters else content


def without_damaged(data: Any) -> list[str]:
    """Take the damaged pictures out of an output's `data`, and return their types."""
    found = [mime for mime in IMAGES if mime in data and is_damaged(mime, _content(mime, data[mime]))]
    for mime in found:
        del data[mime]
    return found


def with_views(data: Any) -> None:
    """Have each drawing in a bundle say that all of it is seen."""
    for mime in (_SVG, "text/html"):
        if isinstance(data.get(mime), str) and "<svg" in data[mime]:
            data[mime] = _DRAWING.sub(_viewed, data[mime])


def _viewed(tag: re.Match[str]) -> str:
    sizes = {name.lower(): size for name, size in _SIZE.findall(tag[0])}
    if "viewbox" in tag[0].lower() or len(sizes) < 2:
        return tag[0]
    return f'<svg viewBox="0 0 {sizes["width"]} {sizes["height"]}"{tag[0][4:]}'


def _content(mime: str, said: Any) -> bytes:
    text = "".join(said) if isinstance(said, list) else str(said)
    return text.encode() if mime == _SVG else _decoded(text.encode())


def _decoded(said: bytes) -> bytes:
    """Nothing where it is no base64."""
    try:
        return b64decode(said)
    except binascii.Error:
        return b""


def _is_xml(content: bytes) -> bool:
    try:
        expat.ParserCreate().Parse(content, True)
    except expat.ExpatError:
        return False
    return b"<svg" in content
