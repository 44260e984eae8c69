"""Promise: words can be read whatever colours a program gave them and their ground: by day, by night, on paper."""

from __future__ import annotations

import re

import pytest
from nbconvert.filters import ansi2html

from kernel_supervisor.notebooks.shown.inks import readable
from kernel_supervisor.notebooks.shown.legible import LIGHT, contrast
from kernel_supervisor.notebooks.shown.printed import lines_of
from kernel_supervisor.notebooks.shown.spans import with_legible_inks
from kernel_supervisor.notebooks.shown.tables import TableCell, tables_of, with_words_to_the_left

_LEAST = 4.5
GROUNDS = ("navy", "yellow", "#888", "rgb(200, 30, 30)", "hsl(120, 60%, 40%)", "white", "black", "rgba(0, 0, 255, 0.4)")
INKS = ("#f1f1f1", "black", "orange", "rgb(90, 90, 200)", "")
FRAME = (
    "<style scoped>.dataframe thead th { text-align: right }</style>"
    '<table class="dataframe"><thead><tr style="text-align: right"><th></th><th>words</th><th>number</th></tr></thead>'
    "<tbody><tr><th>0</th><td>some</td><td>1.5</td></tr></tbody></table>"
)


def parts(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def cell_of(markup: str) -> TableCell:
    return tables_of(f"<table>{markup}</table>")[0].body[0][0]


@pytest.mark.parametrize("ground", GROUNDS)
def test_ink_in_a_table_on_paper_can_be_read_on_its_cell(ground: str) -> None:
    for ink in INKS:
        style = f"background: {ground}" + (f"; color: {ink}" if ink else "")
        for markup in (
            f"<tr><td style='{style}'>words</td></tr>",
            f"<tr style='{style}'><td>words</td></tr>",
            f"<style>.of {{{style}}}</style><tr><td class=of>words</td></tr>",
            f"<tr bgcolor='#000'><td style='{style}'>words</td></tr>",
        ):
            cell = cell_of(markup)
            assert cell.ground, markup
            assert contrast(parts(cell.ink), parts(cell.ground)) >= _LEAST, (markup, cell)


def test_ink_that_can_be_read_stays() -> None:
    cell = cell_of("<tr><td style='background-color: #ffff00; color: #00f'>words</td></tr>")
    assert (cell.ground, cell.ink) == ("#ffff00", "#0000ff")
    assert "!important" not in readable("<p style='background: #ff0; color: #00f'>words</p>")


def test_ink_without_a_ground_can_be_read_on_a_table_s() -> None:
    for ink in filter(None, INKS):
        assert contrast(parts(cell_of(f"<tr><td style='color: {ink}'>words</td></tr>").ink), parts("#f5f5f5")) >= _LEAST


def test_words_on_a_page_are_lighter_by_night_than_by_day() -> None:
    (light, dark) = re.findall(r"light-dark\((#\w+), (#\w+)\)", readable("<b style='color: blue'>words</b>"))[0]
    assert light == "#0000ff"
    assert contrast(parts(dark), parts("#2a2a2a")) >= _LEAST


def test_the_strongest_rule_counts_and_what_is_not_an_element_is_passed_over() -> None:
    sheet = "<style>td::after {color: red} #a {background: navy} td {background: white} td.b:hover {color: red}</style>"
    said = readable(f"{sheet}<table><tr><td id=a class=b>words</td></tr></table>")
    assert 'style="color: #ffffff !important"' in said


def test_heads_stand_as_their_columns_do_whatever_a_sheet_says_of_all_heads() -> None:
    (table,) = tables_of(FRAME)
    assert [table.aligned(cell) for cell in table.head[0]] == ["right", "left", "right"]
    said = with_words_to_the_left(FRAME)
    assert 'text-align: left">words</th>' in said
    assert 'text-align: left">some</td>' in said
    assert said.count("text-align: left") == 2


def test_what_a_script_or_another_place_colours_is_left_alone() -> None:
    for markup in ("<script>color: red</script>", "<p style='color: var(--theirs)'>a</p>", "<p>no colours"):
        assert readable(markup) == markup


@pytest.mark.parametrize("ground", [41, 44, 103, 107, "48;5;226", "48;2;30;60;90"])
def test_printed_ink_in_a_page_can_be_read_on_its_own_ground(ground: int | str) -> None:
    for ink in (30, 31, 34, 93, 97, "38;5;21", "38;5;226", 39, 7):
        said = with_legible_inks(ansi2html(f"\x1b[{ground}m\x1b[{ink}mwords\x1b[0m"))  # type: ignore[no-untyped-call]  # nbconvert has no types
        inks = dict(re.findall(r"(?<![\w-])(color|background-color): (#\w+)", said))
        assert contrast(parts(inks["color"]), parts(inks["background-color"])) >= _LEAST, said


def test_printed_ink_on_paper_can_be_read_on_the_page() -> None:
    for ink in (30, 33, 93, 97, "38;5;226", "38;2;250;250;250"):
        (((_, style),),) = lines_of(f"\x1b[{ink}mwords\x1b[0m")
        assert contrast(parts(style.ink), parts(LIGHT)) >= _LEAST


def test_what_is_long_is_left_as_it_is_and_takes_no_time() -> None:
    row = "<tr><th>0</th><td style='color: navy'>words</td></tr>"
    table = f'<table class="dataframe">{row * 25_000}</table>'
    assert readable(table) is table
    assert with_words_to_the_left(table) is table


def test_a_table_of_numbers_alone_is_left_as_it_is() -> None:
    numbers = FRAME.replace("some", "-1.5")
    assert with_words_to_the_left(numbers) is numbers
