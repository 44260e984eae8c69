"""`core.limits`: head and tail of a text, shares of a budget, lines by number, tail and pattern."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.outputs.limits import PIECE, cut, line_count, pieces, select, share

MARK = re.compile(r"\[… (?:([\d,]+) lines \()?([\d,]+) characters\)? left out …\]")
LINES = "".join(f"line {number}\n" for number in range(1, 1001))
TEXTS = st.lists(
    st.one_of(st.text(max_size=30), st.sampled_from(["\n", "x" * PIECE, "y" * 2500, "z" * 3000])), max_size=20
)


def read_on(line: int) -> str:
    return f"kernel_output(execution_id=17, from_line={line})"


@given(TEXTS.map("".join))
@example("x" * PIECE + "\n")
@example("x" * (PIECE + 1))
def test_pieces_are_the_text(text: str) -> None:
    lines = pieces(text)
    assert "".join(lines) == text
    assert all(len(line.removesuffix("\n")) <= PIECE for line in lines)
    assert line_count(text) == len(lines)


def test_short_text_is_left_alone() -> None:
    found = cut("a\nb\n", 4)
    assert found.text == "a\nb\n"
    assert found.next_line is None


def test_long_text_keeps_head_and_tail_and_says_how_to_read_on() -> None:
    found = cut(LINES, 200, read_on=read_on)
    assert found.text == (
        "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\n"
        "[… 987 lines (8,789 characters) left out: kernel_output(execution_id=17, from_line=8) …]\n"
        "line 995\nline 996\nline 997\nline 998\nline 999\nline 1000\n"
    )
    assert found.next_line == 8


def test_line_numbers_go_on_from_the_first_line() -> None:
    assert cut(LINES, 200, first_line=101).next_line == 100 + (cut(LINES, 200).next_line or 0)


def test_one_endless_line_is_cut_and_can_be_read_on() -> None:
    text = "".join(chr(ord("a") + index // 1000) for index in range(26_000))
    found = cut(text, 5000)
    assert found.next_line == 3
    assert found.text.startswith("a" * 1000 + "b" * 1000 + "\n[… 22,000 characters left out …]\n" + "y" * 1000)
    assert select(text, from_line=3).lines[0] == (3, "c" * 1000)


@given(TEXTS.map("".join), st.integers(-5, 6000))
def test_cut_stays_within_its_limit(text: str, limit: int) -> None:
    found = cut(text, limit, read_on=read_on)
    assert len(found.text) <= max(0, limit)
    assert (found.next_line is None) == (len(text) <= limit)


@given(TEXTS.map("".join), st.integers(300, 6000))
def test_what_was_left_out_can_be_read_on(text: str, limit: int) -> None:
    found = cut(text, limit)
    if found.next_line is None:
        return
    marks = list(MARK.finditer(found.text))
    assert marks
    missing = sum(int(mark[2].replace(",", "")) for mark in marks)
    around = len(MARK.sub("", found.text)) + missing - len(text)
    assert 0 <= around <= 2 * len(marks), "what is missing is counted, and nothing besides; a break may stand around it"
    first = "".join(pieces(text)[: found.next_line - 1])
    assert found.text.startswith(first), "all before that is there"
    rest = found.text[marks[-1].end() + 1 :]
    assert text.endswith(rest)


def test_a_few_long_lines_all_begin_and_end() -> None:
    lines = [f"{number:02} begins {'abcdefghi ' * 20_000}ends {number:02}" for number in range(5)]
    found = cut("\n".join(["short", *lines, "last"]) + "\n", 11_000, read_on=read_on)
    assert found.within_lines
    first, *shown, last, _ = found.text.split("\n")
    assert (first, last) == ("short", "last")
    for line, cut_line in zip(lines, shown, strict=True):
        assert cut_line[:9] == line[:9]
        assert cut_line[-7:] == line[-7:]
        assert len(cut_line) > 2000
    assert found.next_line == 2 + shown[0].index(" [… ") // PIECE
    assert re.search(r"\[… 197,\d\d\d characters left out: kernel_output\(execution_id=17, from_line=3\) …\]", shown[0])
    assert MARK.search(shown[1]), "it was said once how to read on"


def test_many_long_lines_are_counted_as_the_lines_that_they_are() -> None:
    text = "".join(f"{number:03} {'abcdefghi ' * 100}\n" for number in range(300))
    found = cut(text, 11_000)
    mark = MARK.search(found.text)
    assert mark is not None
    whole = re.findall(r"^(\d{3}) .{1000}$", MARK.sub("", found.text), re.MULTILINE)
    assert int(mark[1]) == 300 - len(whole)


@given(st.lists(st.integers(0, 10_000), max_size=20), st.integers(0, 20_000))
def test_shares_fit_and_waste_nothing(wants: list[int], budget: int) -> None:
    shares = share(wants, budget)
    assert sum(shares) <= budget
    assert all(given <= wanted for given, wanted in zip(shares, wants, strict=True))
    assert sum(shares) == min(budget, sum(wants))


def test_a_flood_leaves_small_outputs_whole() -> None:
    assert share([10, 1_000_000, 30], 1000) == [10, 960, 30]


def test_select_from_line() -> None:
    found = select("a\nb\nc", from_line=2)
    assert found.lines == ((2, "b"), (3, "c"))
    assert (found.total, found.found) == (3, 2)


def test_select_tail_of_what_matches() -> None:
    assert select(LINES, grep=r"9$", tail=2).lines == ((989, "line 989"), (999, "line 999"))
    assert select(LINES, grep=r"9$").found == 100


def test_select_searches_in_whole_lines_and_gives_the_pieces_in_which_it_found_something() -> None:
    text = "short\n" + "a" * 995 + "needle at the seam" + "b" * 3000 + "\nlast needle\n"
    found = select(text, grep="needle at")
    assert [number for number, _ in found.lines] == [2, 3]
    assert "".join(line for _, line in found.lines)[995:].startswith("needle at the seam")
    assert [number for number, _ in select(text, grep="^b").lines] == [], "it is not the beginning of the line"
    assert [number for number, _ in select(text, grep="needle.*b$").lines] == [2, 3, 4, 5, 6]
    assert select(text, grep="^a.*b$", from_line=4).first == 4
    assert [number for number, _ in select(text, grep="needle").lines] == [2, 3, 7]


def test_select_gives_no_more_than_asked_for() -> None:
    assert [number for number, _ in select(LINES, at_most=2).lines] == [1, 2]
    assert [number for number, _ in select(LINES, tail=10, at_most=2).lines] == [999, 1000]
    assert select(LINES, tail=10, at_most=2).found == 10


def test_select_beyond_the_end_is_empty() -> None:
    assert select("a\n", from_line=5).lines == ()


@pytest.mark.parametrize("grep", ["(", "[a", "(a+)+b", "(a|b)*c", r"((\w)+)+$", "x" * 300, "a{99999999999}"])
def test_patterns_that_cannot_be_are_refused(grep: str) -> None:
    with pytest.raises(RefusedError, match="grep"):
        select("aaaa", grep=grep)


def test_lines_that_cannot_be_are_refused() -> None:
    with pytest.raises(RefusedError, match="from_line"):
        select("a", from_line=0)
    with pytest.raises(RefusedError, match="tail"):
        select("a", tail=-1)


@given(TEXTS.map("".join), st.integers(1, 50), st.one_of(st.none(), st.integers(0, 50)))
def test_selected_lines_carry_their_numbers(text: str, from_line: int, tail: int | None) -> None:
    lines = pieces(text)
    found = select(text, from_line=from_line, tail=tail)
    assert all(lines[number - 1].rstrip("\n") == line for number, line in found.lines)
    expected = lines[from_line - 1 :]
    expected = expected if tail is None else expected[max(0, len(expected) - tail) :]
    assert [line for _number, line in found.lines] == [line.rstrip("\n") for line in expected]
