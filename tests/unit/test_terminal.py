"""What a terminal would show, whatever is written to it."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_supervisor.outputs.terminal import plain

ESC = "\x1b"

CONTROLS = st.sampled_from(
    ["\r", "\b", "\n", "\t", "\x00", "\x07", "\x0b", "\x7f", "\x85", "\x9b", "\ud83d", "\ude00", ESC, "\r\n"]
)
SEQUENCES = st.sampled_from(
    [f"{ESC}[{number}{final}" for number in ("", "0", "1", "2", "7", "999999999") for final in "ABCDEFGHJKSTdfmsu"]
    + [f"{ESC}[3;4H", f"{ESC}[?25l", f"{ESC}[38;5;1;3m", f"{ESC}7", f"{ESC}8", f"{ESC}M", f"{ESC}c", f"{ESC}(B"]
    + [f"{ESC}]0;title\x07", f"{ESC}]8;;http://x{ESC}\\", f"{ESC}]open", f"{ESC}P1q~{ESC}\\", f"{ESC}[", f"{ESC}[1"]
)
STREAMS = st.lists(st.one_of(st.text(max_size=8), CONTROLS, SEQUENCES), max_size=30).map("".join)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", ""),
        ("hello\n", "hello\n"),
        ("trailing  \n", "trailing  \n"),
        ("\r 0%|   |\r 50%|#  |\r100%|###|\n", "100%|###|\n"),
        ("longer text\rshort", "shortr text"),
        ("working\r       \rdone", "done"),
        ("abc\b\bX", "aXc"),
        ("\b\bx", "x"),
        ("a\r\nb\r\n", "a\nb\n"),
        (f"{ESC}[31mred{ESC}[0m and {ESC}[1;4;38;2;1;2;3mmore{ESC}[m", "red and more"),
        (f"{ESC}]0;a title\x07text", "text"),
        (f"{ESC}]8;;http://example.org{ESC}\\link{ESC}]8;;{ESC}\\!", "link!"),
        (f"{ESC}]0;never ended\nstill here", "\nstill here"),
        (f"one\ntwo\nthree{ESC}[2A{ESC}[2K\rONE", "ONE\ntwo\nthree"),
        (f"bar a\nbar b\n{ESC}[A{ESC}[A\rBAR A\n\rBAR B\n", "BAR A\nBAR B\n"),
        (f"old{ESC}[2J{ESC}[Hnew", "new"),
        (f"1\n2\n3\n{ESC}[2A{ESC}[0Jx", "1\nx"),
        (f"abcdef{ESC}[3D{ESC}[K", "abc"),
        (f"abcdef{ESC}[4G{ESC}[1K", "    ef"),
        (f"a{ESC}[5Gb", "a   b"),
        (f"x{ESC}7\nyz{ESC}8X", "xX\nyz"),
        ("nul\x00 bell\x07 del\x7f", "nul bell del"),
        ("high \ud800 low \udc00", "high � low �"),
        ("pair \ud83d\ude00", "pair 😀"),
        ("mojibake â\x80\x99 stays readable", "mojibake â stays readable"),
        ("\ufeff zero\u200bwidth ü 日本", "\ufeff zero\u200bwidth ü 日本"),
        (f"{ESC}[999999999;999999999Hx{ESC}[Hy", "y" + "\n" * 199 + " " * 400 + "x"),
    ],
)
def test_shows_what_a_terminal_shows(written: str, shown: str) -> None:
    assert plain(written) == shown


def test_tqdm_leaves_its_last_state_only() -> None:
    bars = "".join(f"\r{percent:3d}%|{'█' * (percent // 10):<10}| {percent}/100" for percent in range(101))
    assert plain(f"before\n{bars}\nafter\n") == f"before\n100%|{'█' * 10}| 100/100\nafter\n"


def test_nested_bars_leave_one_line_each() -> None:
    step = "\router {0}\n\rinner {1}" + f"{ESC}[A"
    written = "".join(step.format(outer, inner) for outer in range(3) for inner in range(3))
    assert plain(written + "\n\n") == "outer 2\ninner 2\n"


@given(STREAMS)
def test_result_is_harmless_unicode(text: str) -> None:
    shown = plain(text)
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert not any(character < " " and character not in "\n\t" for character in shown)
    assert not any("\x7f" <= character <= "\x9f" for character in shown)


@given(STREAMS)
def test_folding_what_is_folded_changes_nothing(text: str) -> None:
    once = plain(text)
    assert plain(once) == once


ORACLE_PARTS = st.one_of(
    st.text(alphabet="abcXYZ019 .|#", max_size=6),
    st.sampled_from(["\r", "\b", "\r\n", f"{ESC}[A", f"{ESC}[2A", f"{ESC}[C", f"{ESC}[3C", f"{ESC}[D", f"{ESC}[4G"]),
    st.sampled_from([f"{ESC}[K", f"{ESC}[1K", f"{ESC}[2K", f"{ESC}[J", f"{ESC}[31m", f"{ESC}[2;3H", f"{ESC}[H"]),
    st.sampled_from([f"{ESC}[B", f"{ESC}[E", f"{ESC}[F", f"{ESC}7", f"{ESC}8", f"{ESC}[5d", f"{ESC}D", f"{ESC}[0m"]),
)


ORACLE = st.lists(ORACLE_PARTS, max_size=20).map("".join).filter(lambda text: text.count(f"{ESC}8") < 2)
"""pyte forgets a saved position once it is restored; xterm and VTE do not (DECRC), and nor do we."""


def test_a_saved_position_is_restored_as_often_as_asked() -> None:
    assert plain(f"a{ESC}7bc{ESC}8d{ESC}8e") == "aec"


@given(ORACLE)
def test_agrees_with_a_terminal_emulator(text: str) -> None:
    terminal = pyte.Screen(150, 50)
    pyte.Stream(terminal).feed(text)
    expected = "\n".join(line.rstrip() for line in terminal.display).rstrip("\n")
    assert "\n".join(line.rstrip(" ") for line in plain(text).split("\n")).rstrip("\n") == expected


def test_page_stays_bounded_under_wild_movements() -> None:
    wild = f"{ESC}[99999B{ESC}[99999Cx" * 2000
    assert len(plain(wild)) < 200 * 2 + 400 + 2000 * 2
