"""Promise: a colour of a terminal can be read on its ground, and stays what it is where it could be read anyway."""

from __future__ import annotations

import pytest
from nbconvert.filters import ansi2html

from kernel_supervisor.notebooks.shown.legible import DARK, LIGHT, contrast, legible
from kernel_supervisor.notebooks.shown.spans import with_legible_inks


def parts(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


@pytest.mark.parametrize("ground", [LIGHT, DARK, "#ffffff", "#111111"])
def test_every_colour_becomes_one_that_can_be_read(ground: str) -> None:
    for level in range(0, 256, 51):
        for ink in (f"#{level:02x}0000", f"#00{level:02x}00", f"#0000{level:02x}", f"#{3 * f'{level:02x}'}"):
            assert contrast(parts(legible(ink, ground)), parts(ground)) >= 4.5, (ink, ground)


def test_a_colour_that_can_be_read_is_left_as_it_is() -> None:
    assert legible("#1f5fbf", "#ffffff") == "#1f5fbf"


def test_black_and_white_are_as_far_from_each_other_as_can_be() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_a_colour_without_a_ground_of_its_own_is_another_by_night() -> None:
    assert "light-dark(" in with_legible_inks(ansi2html("\x1b[38;5;28mgreen\x1b[0m"))  # type: ignore[no-untyped-call]  # see above
