"""Promise: nothing that a cell showed is lost in silence in a document, set over something else, or cut at an edge."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.notebooks.export import Exported, export
from tests.browser_support import chromium
from tests.notebooks_corpus.contrast import hard_to_read
from tests.notebooks_corpus.gallery import execution_of, gallery
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.pages import Pages, pages_of, pictures_in

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
DEADLINE_S = 200
ENGINES = ("typst", "browser")
LOST = {"folium": "cdn.jsdelivr.net", "unknown": "application/x-unknown+json", "raw bytes": "x-raw", "sound": "a sound"}


@dataclass(frozen=True, slots=True)
class Made:
    """A PDF of the gallery."""

    exported: Exported
    pages: Pages
    text: str


def made(form: str, ipynb: Path, engine: str = "") -> Exported:
    target = ipynb.with_name(f"{ipynb.stem}-{engine or 'page'}.{form}")
    return asyncio.run(export(form, ipynb, target, engine, deadline_s=DEADLINE_S, environment=sys.prefix))


def written(cells: list[Any], folder: Path) -> Path:
    nbformat.write(v4.new_notebook(cells=cells), folder / "notebook.ipynb")
    return folder / "notebook.ipynb"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gallery(tmp_path_factory.mktemp("gallery"))


@pytest.fixture(scope="module", params=ENGINES)
def pdf(request: pytest.FixtureRequest, notebook: Path) -> Made:
    exported = made("pdf", notebook, request.param)
    said = subprocess.run(["pdftotext", "-layout", exported.path, "-"], check=True, capture_output=True, text=True)
    return Made(exported, pages_of(exported.path), said.stdout.replace("\u200b", ""))


@pytest.fixture(scope="module")
def html(notebook: Path) -> Exported:
    return made("html", notebook)


def test_no_word_is_off_the_page_or_over_another(pdf: Made) -> None:
    assert pdf.pages.outside() == []
    assert pdf.pages.over_each_other() == []
    assert 8 <= len(pdf.pages.sizes) <= 20


def test_what_is_not_shown_is_told_by_cell_and_in_its_place(pdf: Made) -> None:
    remarks = [remark for remark in pdf.exported.remarks if "not shown" in remark]
    assert len(remarks) == len(LOST), remarks
    for name, words in LOST.items():
        assert any(each.startswith(execution_of(name) + ":") and words in each for each in remarks), (name, remarks)
    assert pdf.text.count("Not shown:") == len(LOST)
    assert "Three unknown values" in pdf.text, "a placeholder says what the output says of itself"


def test_no_json_and_no_base64_is_printed(pdf: Made) -> None:
    assert pdf.exported.missing in ("", "中文"), "no glyph is missing where there are fonts"
    for words in ("hovertemplate", "bdata", 'secretkey":', "$schema", "docs_json", "QUJDQUJD", "data:audio"):
        assert words not in pdf.text
    assert not [word for word in pdf.pages.words if len(word.text) > 200]


def test_wide_tables_have_every_column_beside_their_index(pdf: Made) -> None:
    for number in range(60):
        assert pdf.text.count(f"measure_{number:02d}") == 1, number
    assert re.search(r"columns 1 to \d+ of 60", pdf.text)
    assert all(width < height for width, height in pdf.pages.sizes), "a short table turns no page"
    for page in {word.page for word in pdf.pages.words if word.text.startswith("measure_")}:
        assert any(word.page == page and word.text == "5" for word in pdf.pages.words), "the index is repeated"


def test_long_tables_repeat_their_head_on_each_page(pdf: Made) -> None:
    heads = {word.page for word in pdf.pages.words if word.text == "tally"}
    rows = {
        word.page
        for word, after in zip(pdf.pages.words, pdf.pages.words[1:], strict=False)
        if word.text == "word" and after.text == "number"
    }
    assert len(rows) >= 2
    assert rows <= heads


def test_tables_keep_levels_captions_and_all_of_long_cells(pdf: Made) -> None:
    for words in ("alpha", "beta", "greek", "left", "right", "A styled caption", "Rome", "Oslo", "shape: (2, 2)"):
        assert words in pdf.text, words
    assert pdf.pages.text.count("several") == 41, "those of the cell, and that of the code"
    numbers = [word for word in pdf.pages.words if word.text in ("1.50", "2.25")]
    assert len({round(word.right) for word in numbers}) == 1, "numbers stand to the right"


def test_long_text_and_code_are_broken_and_shortened_with_a_count(pdf: Made) -> None:
    assert pdf.text.count("y") >= 500
    assert pdf.text.count("z") >= 150
    for words in ("CODE-END", "END", "red and bold green", "ZeroDivisionError", "line 0", "line 599"):
        assert words in pdf.text, words
    assert "line 300" not in pdf.text
    assert "480 lines are left out" in pdf.text
    assert f"{execution_of('printed')}: 480 lines left out" in pdf.exported.remarks


def test_figures_are_pictures(pdf: Made) -> None:
    others = 0 if pdf.exported.engine == "browser" else 2  # what lives by its HTML is a picture there, too
    assert pictures_in(pdf.exported.path) >= len(("plotly", "altair", "bokeh", "matplotlib")) + others
    assert "20/20" in pdf.text


def test_figures_work_in_html_without_a_network(html: Exported) -> None:
    page = html.path.read_text()
    body = page[page.index("<main") :] if "<main" in page else page[page.index("<body") :]
    for words in ("Plotly.newPlot(", "vegaEmbed(", "embed_document"):
        assert words in body, words
    profile = html.path.parent / "profile"
    offline = ("--proxy-server=socks5://127.0.0.1:9", "--proxy-bypass-list=<-loopback>")
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", *offline, "--virtual-time-budget=8000"]
    command += [f"--user-data-dir={profile}", "--dump-dom", html.path.as_uri()]
    drawn = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stdout
    assert "main-svg" in drawn, "plotly drew"
    assert re.search(r'class="[^"]*vega-embed', drawn), "vega drew"
    assert "bk-Figure" in drawn, "bokeh drew"


def test_html_fits_screens_and_phones_by_day_and_night(html: Exported) -> None:
    with chromium("chromium", html.path.as_uri()) as page:
        drawn = ("main-svg", "vega-embed", "bk-Figure")
        page.until(" && ".join(f"!!document.querySelector('.{each}')" for each in drawn), "the figures are drawn")
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                corner: Any = page.seen(width, scheme).getpixel((2, 2))
                assert (sum(corner) > 600) is (scheme == "light")
                assert page.look("document.scrollingElement.scrollWidth") <= width
                assert hard_to_read(page) == [], (width, scheme)
        assert page.look("document.querySelector('.ks-map').offsetHeight") < 120, (
            "a map that is not drawn takes no room"
        )
        bokeh = "document.querySelector('.ks-paper:has([data-root-id])').offsetWidth"
        assert page.until(f"innerWidth === 390 && {bokeh}", "it is narrow") <= 390
        page.seen(1280, "dark")
        page.until(f"innerWidth === 1280 && {bokeh} < 430", "paper is as wide as its figure")
        beside = "document.querySelector('.ks-still').closest('.jp-OutputArea-child').innerText"
        assert str(page.look(beside)).startswith("Out["), "a widget's words stand beside their number"


def test_html_tells_what_it_does_not_show_and_folds_long_text(html: Exported) -> None:
    page = html.path.read_text()
    for name in ("unknown", "raw bytes"):
        assert any(each.startswith(f"{execution_of(name)}:") and "not shown" in each for each in html.remarks)
    assert any(each.startswith(f"{execution_of('folium')}:") and "cdn.jsdelivr.net" in each for each in html.remarks)
    assert page.count('<div class="ks-missing">') == 2
    assert "Three unknown values" in page
    assert "<summary>560 more lines</summary>" in page
    assert "line 300" in page


def test_what_a_page_cannot_hold_is_shortened_before_it_is_set(tmp_path: Path) -> None:
    rows = "".join(f"<tr><th>{number}</th><td>value {number}</td></tr>" for number in range(60_000))
    table = f"<table><thead><tr><th></th><th>v</th></tr></thead><tbody>{rows}</tbody></table>"
    assert len(table) > 2_000_000
    printed = "".join(f"line {number}\n" for number in range(200_000))
    outputs = [v4.new_output("display_data", {"text/html": table}), v4.new_output("stream", text=printed)]
    ipynb = written([v4.new_code_cell("show()", outputs=outputs)], tmp_path)
    for form, engine in (("html", ""), ("pdf", "typst"), ("pdf", "browser")):
        exported = made(form, ipynb, engine)
        assert len(exported.remarks) == 2, exported.remarks
        assert exported.path.stat().st_size < 3_000_000
        if form == "pdf":
            text = pages_of(exported.path).text
            assert "199,880 lines are left out" in text
            assert "59,601 rows are left out" in text
            assert "value 59999" in text


@pytest.mark.parametrize("engine", ENGINES)
def test_scripts_of_others_draw_nothing_and_that_is_said(tmp_path: Path, engine: str) -> None:
    live = "<div id=a></div><script>document.getElementById('a').textContent = 'RAN ' + 'ANYWAY'</script>"
    claim = {"application/vnd.plotly.v1+json": {"data": [{"y": [1, 2]}], "layout": {}, "config": {"x": "</script>"}}}
    outputs = [v4.new_output("display_data", each) for each in ({"text/html": live}, claim)]
    exported = made("pdf", written([v4.new_code_cell("theirs()", outputs=outputs)], tmp_path), engine)
    text = pages_of(exported.path).text
    assert "RAN ANYWAY" not in text
    assert "theirs()" in text
    assert pictures_in(exported.path) >= 1, "a figure that is no script is drawn"
    if engine == "typst":
        assert exported.remarks == ("cell 1: an interactive output is not shown; scripts of others are not run",)
