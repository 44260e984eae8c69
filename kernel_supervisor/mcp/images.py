"""Images as a client can take them: known formats, scaled, within a budget. Blocking: run it in a thread."""

from __future__ import annotations

import base64
import binascii
import importlib
import io
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from kernel_supervisor.amounts import size
from kernel_supervisor.installer import command_for
from kernel_supervisor.outputs.transcript import Picture

LONG_EDGE = 1568
"""Pixels; a longer image is scaled down by the model's own reader anyway."""
CALL_BUDGET = 6_000_000
"""Bytes of all images of one answer."""
IMAGE_BUDGET = 3_500_000
"""Bytes of one image: 5 MB of base64 is where the model's own interface refuses."""
_PIXELS = 60_000_000
"""More than this is not decoded: a small file can hold an image that fills the memory."""
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_TAKEN = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
"""What clients show as it is."""
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, OverflowError, MemoryError)
"""What Pillow's readers raise for damaged files, by their own sources."""
_SIMPLE_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_QUALITIES = (85, 65, 45)
_ORIENTATION = 0x0112
_SVG_LENGTH = re.compile(r"""\b(width|height)\s*=\s*["']\s*([\d.]{1,9})""")
_SVG_BOX = re.compile(r"""\bviewBox\s*=\s*["']\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]{1,9})[\s,]+([\d.]{1,9})""")
_SVG_EXTENT = (640.0, 480.0)
"""Of a drawing that does not say its own."""

# Pillow's own check only warns up to twice its limit; ours comes before any decoding.
Pillow.MAX_IMAGE_PIXELS = None
# What Pillow has to say about a damaged file is said to the reader, not to the daemon's log.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that can be sent."""

    data: bytes
    mime: str
    width: int
    height: int
    remark: str = ""
    """What was done to it, where anything was."""

    @property
    def base64(self) -> str:
        """The data as MCP carries it."""
        return base64.b64encode(self.data).decode("ascii")


def prepare_all(pictures: Sequence[Picture], *, byte_budget: int = CALL_BUDGET) -> list[Image | str]:
    """Each of `pictures` as it can be sent, all of them within `byte_budget` bytes; or why one is not shown."""
    prepared: list[Image | str] = []
    for index, picture in enumerate(pictures):
        share = min(IMAGE_BUDGET, byte_budget // (len(pictures) - index))
        image = _from_kernel(picture, share)
        byte_budget -= len(image.data) if isinstance(image, Image) else 0
        prepared.append(image)
    return prepared


def prepare(data: bytes, mime: str, *, byte_budget: int = IMAGE_BUDGET) -> Image | str:
    """`data` in at most `byte_budget` bytes, as it is where that will do; else why it is not shown."""
    if mime == "image/svg+xml":
        return _rasterised(data, byte_budget)
    try:
        with Pillow.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > _PIXELS:
                return f"{mime}, {image.width}×{image.height} pixels: too large to be decoded"
            return _fitted(image, data, byte_budget)
    except UnidentifiedImageError:
        return f"{mime}, {size(len(data))}: not an image that can be read"
    except _DAMAGED as error:
        return f"{mime}, {size(len(data))}: damaged ({str(error)[:100] or type(error).__name__})"


def _from_kernel(picture: Picture, byte_budget: int) -> Image | str:
    try:
        svg = picture.mime == "image/svg+xml"
        data = picture.data.encode("utf-8", "replace") if svg else base64.b64decode(picture.data)
    except (binascii.Error, ValueError):
        return f"{picture.mime}: damaged (not base64)"
    return prepare(data, picture.mime, byte_budget=byte_budget)


def _fitted(image: Pillow.Image, data: bytes, byte_budget: int) -> Image | str:
    kind, width, height = image.format or "", image.width, image.height
    image.draft("RGB", (LONG_EDGE, LONG_EDGE)) if kind == "JPEG" and image.mode == "RGB" else None
    image.load()
    turned = kind == "JPEG" and image.getexif().get(_ORIENTATION, 1) != 1
    fits = max(width, height) <= LONG_EDGE and len(data) <= byte_budget
    if kind in _TAKEN and fits and image.mode in _SIMPLE_MODES and not turned:
        return Image(data=data, mime=_TAKEN[kind], width=width, height=height)
    frames = getattr(image, "n_frames", 1)
    pixels = _scaled(_simple(ImageOps.exif_transpose(image)), LONG_EDGE)
    encoded = _encoded(pixels, kind, byte_budget)
    if encoded is None:
        return f"{width}×{height} pixels, {size(len(data))}: does not fit into {size(byte_budget)}"
    remarks = [f"scaled from {width}×{height}"] if max(width, height) > max(encoded.width, encoded.height) else []
    remarks += [f"first of {frames} frames"] if frames > 1 else []
    return replace(encoded, remark=", ".join(remarks))


def _simple(image: Pillow.Image) -> Pillow.Image:
    """`image` in eight bits a channel, with transparency where it has some."""
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    if image.mode.startswith(("I", "F")):
        low, high = image.convert("F").getextrema()
        assert isinstance(low, float)
        assert isinstance(high, float)
        scale = 255 / (high - low) if high > low else 0.0
        return image.convert("F").point(lambda value: value * scale - low * scale).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "L" if image.mode == "1" else "RGB")


def _scaled(image: Pillow.Image, long_edge: int) -> Pillow.Image:
    factor = long_edge / max(image.size)
    if factor >= 1:
        return image
    wanted = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(wanted, Pillow.Resampling.LANCZOS, reducing_gap=2.0)


def _encoded(image: Pillow.Image, kind: str, byte_budget: int) -> Image | None:
    """The best form within the budget: lossless unless it was a JPEG, then coarser, then smaller."""
    while min(image.size) >= 1:
        attempts = [] if kind == "JPEG" else [("PNG", 0)]
        for form, quality in attempts + [("JPEG", quality) for quality in _QUALITIES]:
            data = _saved(image, form, quality)
            if len(data) <= byte_budget:
                return Image(data=data, mime=_TAKEN[form], width=image.width, height=image.height)
        if max(image.size) < 64:
            return None
        image = _scaled(image, max(image.size) * 2 // 3)
    return None


def _saved(image: Pillow.Image, form: str, quality: int) -> bytes:
    out = io.BytesIO()
    if form == "JPEG" and image.mode == "RGBA":
        white = Pillow.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        image = white
    image.save(out, form, quality=quality)
    return out.getvalue()


def _rasterised(data: bytes, byte_budget: int) -> Image | str:
    """An SVG as PNG where cairosvg is installed, else a note. It fetches nothing but what stands in the drawing."""
    width, height = _extent(data[:4000].decode("utf-8", "replace"))
    told = f"SVG, {width:.0f}×{height:.0f}, {size(len(data))}"
    try:
        cairosvg = importlib.import_module("cairosvg")
    except ImportError:
        command = command_for("kernel-supervisor[svg]")
        return f"{told}: not shown for want of cairosvg, which `{command}` installs; a notebook shows it"
    except OSError:  # cairosvg is there, the cairo library is not
        return f"{told}: not shown for want of the cairo library, which cairosvg draws with; a notebook shows it"
    factor = min(LONG_EDGE, max(width, height, 800)) / max(width, height)
    try:
        png = cairosvg.svg2png(
            bytestring=data,
            output_width=max(1, round(width * factor)),
            output_height=max(1, round(height * factor)),
        )
    except Exception as error:  # noqa: BLE001  # what a drawing makes the rasteriser raise concerns the drawing alone
        return f"{told}: could not be drawn ({str(error)[:100]})"
    return prepare(png, "image/png", byte_budget=byte_budget)


def _extent(svg: str) -> tuple[float, float]:
    """Width and height that a drawing asks for, from its opening."""
    opening = svg.partition("<svg")[2].partition(">")[0]
    lengths, box = dict(_SVG_LENGTH.findall(opening)), _SVG_BOX.search(opening)
    sides = (lengths["width"], lengths["height"]) if len(lengths) == 2 else box.groups() if box else ()
    try:
        width, height = map(float, sides)
    except ValueError:
        return _SVG_EXTENT
    return (width, height) if width > 0 and height > 0 else _SVG_EXTENT
