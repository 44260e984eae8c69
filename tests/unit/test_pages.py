"""`outputs.pages`: what an HTML output is, before what it says; never its scripts, styles or data."""

from __future__ import annotations

import pytest

from kernel_supervisor.outputs.pages import embedded, page

ROW = "<tr>\n      <td>fig</td>\n      <td>1</td>\n    </tr>\n"
HEAD = "<thead><tr><th>fruit</th><th>kg</th></tr></thead>"


def table(rows: int, row: str = ROW) -> str:
    return f"<table><caption>Crop</caption>{HEAD}<tbody>{row * rows}</tbody></table>"


def test_what_is_short_needs_no_word_about_it() -> None:
    assert page(f"<style>{'p { } ' * 9000}</style>{table(2)}") == "Crop\nfruit | kg\nfig | 1\nfig | 1"


def test_a_table_says_how_large_it_is_and_is_shown_whole_where_it_can_be_read() -> None:
    text = page(table(100))
    assert text.startswith("HTML, 5 kB: table of 100 rows × 2 columns:\nCrop\nfruit | kg\nfig | 1\n")
    assert text.count("fig | 1") == 100


@pytest.mark.parametrize(
    "row", [ROW, ROW.replace("<td>", f"<td style='{'color: red;' * 20}'>")], ids=["plain", "styled"]
)
def test_a_long_table_is_its_first_rows_and_what_stands_behind_it_is_seen(row: str) -> None:
    text = page(f"<h1>Report</h1>{table(5000, row)}<h2>Outlook</h2>{table(3)}")
    assert ": table of 5,000 rows × 2 columns, table of 3 rows × 2 columns:\nReport\n" in text
    assert "fig | 1\n[… 4,990 more rows …]\nOutlook\n" in text
    assert text.count("fig | 1") == 13


def test_a_long_text_is_shortened_and_says_by_how_much() -> None:
    text = page(f"<html><head><title>My\n report</title></head><body><p>{'word ' * 4000}</p></body></html>")
    assert text.startswith("HTML, 20 kB: 'My report':\nword word")
    assert text.endswith("\n[… 11,999 more characters of text …]\n[in brief: this is not the whole page]")


def test_a_page_in_a_frame_is_read() -> None:
    inner = "&lt;script&gt;no()&lt;/script&gt;&lt;h1&gt;Inner&lt;/h1&gt;"
    assert page(f'<iframe srcdoc="{inner}" width="100"></iframe>') == "Inner"
    assert page('<iframe src="http://localhost/x" width="100"></iframe>') == "[frame: http://localhost/x]"


def test_a_script_that_is_longer_than_what_is_read_is_no_text() -> None:
    script = f"<script>{'if (a < b) x(); ' * 20_000}Plotly.newPlot('a', [])</script>"
    assert page(f"{script}<p>seen</p>") == "HTML, 320 kB: drawn by a script (plotly):\nseen"


def test_a_picture_is_found_only_where_it_is_shown_alone() -> None:
    data = "data:image/png;base64," + "A" * 200
    assert embedded({"text/html": f'<p><IMG class="x" src="{data}"></p>'}) == ("image/png", "A" * 200)
    assert embedded({"text/html": ["<img ", f"src='{data}'>"]}) == ("image/png", "A" * 200)
    for html in (
        f'<img src="{data}"><img src="{data}">',
        f"<style>a {{ background: url({data}) }}</style>",
        data,
        None,
    ):
        assert embedded({"text/html": html}) == ("", "")


DAMAGED = {
    "scripts": "<script" * 100_000,
    "pictures": "<img " * 200_000 + "data:image/png;base64,",
    "tables": "<table><tr>" * 50_000,
    "frames": '<iframe srcdoc="' * 50_000,
    "moving": 'frames[0] = "data:image/png;base64,' * 50_000,
    "data": "<img data:image/png;base64," * 40_000,
    "titles": "<title" * 100_000,
}


@pytest.mark.parametrize("html", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_page_is_read_once(html: str) -> None:
    assert len(page(html)) < 10_000
    assert len(embedded({"text/html": html})) == 2


def test_columns_that_name_the_rows_are_not_counted_as_columns_of_a_table() -> None:
    row = "<tr><th>0</th><td>fig</td><td>1</td></tr>"
    head = "<thead><tr><th></th><th>fruit</th><th>n</th></tr></thead>"
    marked = page(f"<table>{head}<tbody>{row * 30}</tbody></table>")
    unmarked = page(f"<table><tr><th>fruit</th><th>n</th></tr>{'<tr><td>fig</td><td>1</td></tr>' * 30}</table>")
    assert "table of 30 rows × 2 columns" in marked
    assert "table of 31 rows × 2 columns" in unmarked
