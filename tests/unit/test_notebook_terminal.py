"""Promise: a notebook's streams are what a terminal would show, in their colours."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_supervisor.notebooks.terminal import Terminal


def terminal(*pieces: str, height: int = 100) -> str:
    screen = Terminal(height=height)
    for piece in pieces:
        screen.feed(piece)
    return screen.text()


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("10%\r20%\r30%\n", "30%\n"),
        ("abcdef\rxy\n", "xycdef\n"),
        ("12\b3", "13"),
        ("a\b\b\bb", "b"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("long line\r\x1b[Kshort", "short"),
        ("gone\x1b[2K\rhere", "here"),
        ("one\ntwo\x1b[A\rONE\n", "ONE\ntwo"),
        ("bar\r   \rend", "end"),
        ("a\x1b[3Cb", "a   b"),
        ("abc\x1b[2Dx", "axc"),
        ("abc\x1b[1Gx", "xbc"),
        ("abc\x1b[1K", "   "),
        ("one\ntwo\nthree\x1b[2A\r\x1b[J", ""),
        ("\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        ("\x1b[31m10%\x1b[0m\r\x1b[32m20%\x1b[0m", "\x1b[32m20%\x1b[0m"),
        ("\x1b[31mabcd\x1b[0m\rxy", "xy\x1b[31mcd\x1b[0m"),
        ("one\ntwo\x1b[5B!", "one\ntwo!"),
    ],
)
def test_terminal_shows(written: str, seen: str) -> None:
    assert terminal(written) == seen


_WRITTEN = st.lists(
    st.sampled_from(["a", "bc", "\n", "\r", "\b", "\r\n", "\x1b[A", "\x1b[K", "\x1b[3D", "\x1b[2C", "x" * 9]),
    max_size=20,
).map("".join)


@given(_WRITTEN, st.integers(0, 60))
@example("a\x1b[A", 2)
def test_terminal_does_not_mind_where_the_stream_is_cut(written: str, cut: int) -> None:
    assert terminal(written[:cut], written[cut:]) == terminal(written)


@given(st.text(st.characters(exclude_characters="\r\b\x1b", exclude_categories=["Cs"])), st.integers(1, 5))
def test_terminal_leaves_plain_text_alone(text: str, height: int) -> None:
    assert terminal(text, height=height) == text


@given(_WRITTEN)
def test_terminal_shows_what_a_terminal_emulator_shows(written: str) -> None:
    screen = pyte.Screen(200, 60)
    screen.set_mode(pyte.modes.LNM)
    pyte.Stream(screen).feed(written)
    theirs = "\n".join(line.rstrip() for line in screen.display).rstrip()
    assert "\n".join(line.rstrip() for line in terminal(written, height=60).split("\n")).rstrip() == theirs


def test_rows_that_scrolled_out_are_given_away_whole() -> None:
    screen = Terminal(height=2)
    screen.feed("1\n2\n3\n4\r5")
    assert screen.scrolled() == "1\n2\n"
    screen.feed("\x1b[9A!")
    assert screen.scrolled() == ""
    assert screen.text() == "3!\n5"


def test_long_lines_in_small_pieces_take_linear_time() -> None:
    screen = Terminal()
    screen.feed("start\r")
    for _ in range(20_000):
        screen.feed("x" * 100)
    assert len(screen.text()) == 2_000_000
