"""Promise: what is odd in a notebook is in its documents all the same, and harms nothing beside it."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.notebooks.export import Exported, export
from tests.browser_support import chromium
from tests.notebooks_corpus.contrast import hard_to_read
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.pages import Word, pages_of

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
ENGINES = ("typst", "browser")
TAGS = "# Title\n\na<sub>1</sub> and <b>bold</b>, <div>not closed\n\n"
ALERTS = "".join(
    f"<div class='alert alert-{kind}'>of {kind}</div>" for kind in ("info", "warning", "success", "danger")
)
LINKED = "<p style='background: #fff3cd'>to <a href='#there'>elsewhere</a></p>"
FOLDED = "<details><summary>Closed</summary>\n\nWords *inside*.\n\n</details>"
GROUNDS = ["navy", "yellow", "#888", "rgba(0,0,255,0.4)"]
GRADIENT = "<table>" + "".join(
    f"<tr><td style='background: {each}'>on it</td><td>beside</td><td style='color: {each}'>of it</td></tr>"
    for each in GROUNDS
)
BOX = "<div style='background: #1e3a5f; color: #274'>of its own <a href='#there'>linked</a> <code>code</code>"
INKS = (f"{GRADIENT}</table>", f"{BOX}<table>{'<tr><td>in it</td></tr>' * 2}</table></div>")
PRINTED = "".join(f"\x1b[{ground};{ink}m words \x1b[0m" for ground in (41, 44, 103, 47) for ink in (30, 31, 34, 97, 39))
DAMAGED = "![of mine](data:image/png;base64,iVBORw0KGgo=) and ![drawn](data:image/svg+xml;base64,PHN2Zw==)"
TABLE = "<table><tr><th></th><th>e</th></tr>" + "<tr><th>mean</th><td>NaN</td></tr>" * 3 + "</table>"


def shown(data: dict[str, Any]) -> Any:
    return v4.new_output("display_data", data)


@pytest.fixture(scope="module")
def ipynb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = [
        shown({"text/html": "<div>leftmost</div>"}),
        shown({"text/html": "<div><div>middle</div><div>rightmost</div></div>"}),
        shown({"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 640x480>"}),
        shown({"text/html": TABLE}),
        shown({"text/html": LINKED}),
        *(shown({"text/html": each}) for each in INKS),
        v4.new_output("stream", text=PRINTED),
    ]
    cells = [
        v4.new_markdown_cell(TAGS + DAMAGED),
        v4.new_markdown_cell(FOLDED + "\n\n" + ALERTS + "\n\n<span style='color: blue'>coloured</span>"),
        v4.new_code_cell("show()", outputs=outputs, execution_count=1),
        v4.new_raw_cell("Rawwords: as they are"),
        v4.new_raw_cell("for another format", metadata={"raw_mimetype": "text/x-rst"}),
    ]
    path = tmp_path_factory.mktemp("odd") / "odd.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


def made(ipynb: Path, form: str, engine: str = "") -> Exported:
    target = ipynb.with_name(f"{engine or 'page'}.{form}")
    return asyncio.run(export(form, ipynb, target, engine, deadline_s=200, environment=sys.prefix))


@pytest.fixture(scope="module", params=ENGINES)
def pdf(request: pytest.FixtureRequest, ipynb: Path) -> Exported:
    return made(ipynb, "pdf", request.param)


@pytest.fixture(scope="module")
def html(ipynb: Path) -> str:
    return made(ipynb, "html").path.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_alerts_links_and_words_on_any_ground_can_be_read(ipynb: Path, html: str, scheme: str) -> None:
    assert "alert-danger" in html
    with chromium("chromium", (ipynb.parent / "page.html").as_uri()) as page:
        page.until("document.readyState === 'complete'", "it is loaded")
        page.seen(1280, scheme)
        assert hard_to_read(page) == []


def word(pdf: Exported, text: str) -> Word:
    """The one that begins so."""
    (found,) = [each for each in pages_of(pdf.path).words if each.text.startswith(text)]
    return found


def test_tags_in_markdown_hold_what_is_between_them(html: str) -> None:
    assert "a<sub>1</sub> and <b>bold</b>" in html
    assert re.search(r"<details><summary>Closed</summary>\s*<p>Words <em>inside</em>.</p>\s*</details>", html)
    body = html[html.index("<main") : html.index("</main>")]
    assert body.count("<div") == body.count("</div>"), "what a cell leaves open ends with it"


def test_a_damaged_picture_is_told_and_costs_itself_alone(pdf: Exported) -> None:
    assert pdf.remarks == (
        "cell 1: the picture of type image/png, which is damaged, is not shown",
        "cell 1: the picture of type image/svg+xml, which is damaged, is not shown",
        "cell 3: a damaged picture is not shown",
    )
    text = pages_of(pdf.path).text
    assert "of mine" in text
    assert "a damaged picture" in text
    assert "inside" in text, "what is folded is open on paper"


def test_raw_cells_are_shown_but_those_for_another_format(pdf: Exported, html: str) -> None:
    text = pages_of(pdf.path).text
    for said in (text, html):
        assert "Rawwords" in said
        assert "for another format" not in said


def test_blocks_of_html_stand_below_each_other(pdf: Exported) -> None:
    places = [word(pdf, each).top for each in ("leftmost", "middle", "rightmost")]
    assert places == sorted(set(places))


def test_short_cells_are_not_broken(pdf: Exported) -> None:
    words = [each.text for each in pages_of(pdf.path).words]
    assert words.count("NaN") == 3


def test_the_date_begins_where_the_title_does(pdf: Exported) -> None:
    first = [each for each in pages_of(pdf.path).words if not each.page]
    title = next(each for each in first if each.text == "Title")
    day = min((each for each in first if each.top < title.top), key=lambda each: each.left)
    assert abs(day.left - title.left) < 1.5
