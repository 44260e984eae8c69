"""Pictures in the terminal itself, for terminals that can: kitty's protocol, iTerm2's, and sixels."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
import time
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image as Pillow

_KITTIES = ("ghostty", "WezTerm")
_CHUNK = 4096
"""Characters of one piece, as https://sw.kovidgoyal.net/kitty/graphics-protocol/ has it."""
_ANSWERED_S = 0.5
"""How long a terminal is given to say what it can."""
_SIXEL = re.compile(rb"\x1b\[\?(?:\d+;)*4(?:;\d+)*c")
"""The answer to a request for device attributes of a terminal that has sixels."""
_ATTRIBUTES = re.compile(rb"\x1b\[\?[\d;]*c")
_WIDEST, _COLOURS = 800, 64


def inline(mime: str, data: bytes) -> bool:
    """Show a picture where the cursor is; False where this terminal, or this picture, is not made for it."""
    try:
        if _is_kitty():
            shown = _kitty(data if mime == "image/png" else _as_png(data))
        elif _is_iterm():
            shown = _iterm(data if mime != "image/svg+xml" else _as_png(data))
        elif _has_sixels():
            shown = sixels(data)
        else:
            return False
    except (OSError, ValueError):  # what Pillow cannot read, such as SVG
        return False
    print(shown, flush=True)
    return True


def _is_kitty() -> bool:
    inside = os.environ.get("TMUX") or os.environ.get("STY")
    named = os.environ.get("TERM") == "xterm-kitty" or os.environ.get("TERM_PROGRAM") in _KITTIES
    return not inside and (named or bool(os.environ.get("KITTY_WINDOW_ID")))


def _is_iterm() -> bool:
    inside = os.environ.get("TMUX") or os.environ.get("STY")
    return not inside and "iTerm" in os.environ.get("LC_TERMINAL", os.environ.get("TERM_PROGRAM", ""))


def _kitty(png: bytes) -> str:
    text = base64.b64encode(png).decode()
    pieces = [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]
    heads = ["a=T,f=100,"] + [""] * (len(pieces) - 1)
    more = [1] * (len(pieces) - 1) + [0]
    parts = zip(heads, more, pieces, strict=True)
    return "".join(f"\x1b_G{head}m={goes_on};{piece}\x1b\\" for head, goes_on, piece in parts)


def _iterm(data: bytes) -> str:
    return f"\x1b]1337;File=inline=1;size={len(data)}:{base64.b64encode(data).decode()}\a"


def _as_png(data: bytes) -> bytes:
    from PIL import Image as Pillow  # 60 ms, only for pictures that are not PNG

    with Pillow.open(io.BytesIO(data)) as image:
        made = io.BytesIO()
        image.convert("RGBA").save(made, "PNG")
    return made.getvalue()


def _has_sixels() -> bool:
    """Whether the terminal says so. What else was typed meanwhile is lost, as with every program that asks."""
    import termios
    import tty

    if not sys.stdin.isatty():
        return False
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        os.write(sys.stdout.fileno(), b"\x1b[c")
        return _SIXEL.search(_answer(descriptor)) is not None
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _answer(descriptor: int) -> bytes:
    end, heard = time.monotonic() + _ANSWERED_S, b""
    while not _ATTRIBUTES.search(heard) and (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            heard += os.read(descriptor, 1024)
    return heard


def sixels(data: bytes) -> str:
    """A picture as sixels (https://vt100.net/docs/vt3xx-gp/chapter14.html), in a few colours. Raises OSError.

    No library that is kept up makes them: six rows at a time, each colour's cells on top of the others'.
    """
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(data)) as opened:
        image: Pillow.Image = opened.convert("RGBA")
    image.thumbnail((_WIDEST, _WIDEST))
    ground = Pillow.new("RGBA", image.size, "white")
    ground.alpha_composite(image)
    few = ground.convert("RGB").quantize(_COLOURS)
    width, height = few.size
    palette, cells = few.getpalette() or [], few.tobytes()
    colours = [
        f"#{each};2;{';'.join(str(part * 100 // 255) for part in palette[each * 3 : each * 3 + 3])}"
        for each in sorted(set(cells))
    ]
    bands = [_band(cells[top * width : (top + 6) * width], width) for top in range(0, height, 6)]
    return f'\x1bPq"1;1;{width};{height}{"".join(colours)}{"-".join(bands)}\x1b\\'


def _band(cells: bytes, width: int) -> str:
    """Six rows, or what is left of them."""
    colours: dict[int, bytearray] = {}
    for at, colour in enumerate(cells):
        row, column = divmod(at, width)
        colours.setdefault(colour, bytearray(width))[column] |= 1 << row
    return "$".join(f"#{colour}{_repeated(bits)}" for colour, bits in colours.items())


def _repeated(bits: bytearray) -> str:
    runs = ((chr(63 + each), len(list(run))) for each, run in groupby(bits))
    return "".join(f"!{count}{sign}" if count > 3 else sign * count for sign, count in runs)
