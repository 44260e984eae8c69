"""Promise: printed text reads on its ground, whatever colours a program gave both."""

from __future__ import annotations

from kernel_supervisor.notebooks.shown.legible import contrast
from kernel_supervisor.notebooks.shown.printed import lines_of

_LEAST = 4.5


def parts(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def test_ink_is_read_on_its_own_ground() -> None:
    for ground in ("48;2;30;60;90", "44", "107", "48;5;226"):
        for ink in ("97", "30", "34", "38;2;30;60;90", "39"):
            (((words, style),),) = lines_of(f"\x1b[{ground}m\x1b[{ink}mwords\x1b[0m")
            assert words == "words"
            assert contrast(parts(style.ink), parts(style.ground)) >= _LEAST, (ground, ink)


def test_inverse_text_has_the_text_s_colour_for_its_ground() -> None:
    (((_, inverse), (_, plain)),) = lines_of("\x1b[31;7minverse\x1b[27mplain\x1b[0m")
    assert inverse.ground == plain.ink
    assert contrast(parts(inverse.ink), parts(inverse.ground)) >= _LEAST
    assert not plain.ground
