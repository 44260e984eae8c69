"""Promise: documents are good to look at: dark where that is wanted, on a phone, on either paper, without code."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.notebooks.export import Exported, export
from kernel_supervisor.notebooks.wishes import Wishes
from tests.browser_support import Page, chromium
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.pages import pages_of, pictures_in

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
LETTER, A4 = (612, 792), (595, 842)
PLOTLY = {"data": [{"y": [1, 2]}], "layout": {"title": {"text": "Drawn"}}}
TEXT = """\
# A *good* report

A note.[^1] Attached: <img src="attachment:red.png" width="40">, beside: ![it](beside.png),
from elsewhere: ![far away](https://example.org/far.png)

[^1]: The words of the note.
"""


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 80), colour).save(file, "PNG")
    return file.getvalue()


def shown(data: dict[str, Any]) -> Any:
    return v4.new_output("display_data", data)


@pytest.fixture(scope="module")
def ipynb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look")
    (folder / "beside.png").write_bytes(picture("blue"))
    red = {"red.png": {"image/png": base64.b64encode(picture("red")).decode()}}
    styled = "<style>#T1 {background-color: #ffffaa}</style><table><tr><td id=T1>cell</td><td>plain</td></tr></table>"
    wide = "".join(f"<td>column {number}</td>" for number in range(40))
    outputs = [
        shown({"application/vnd.plotly.v1+json": PLOTLY}),
        shown({"text/html": styled}),
        shown({"text/html": f"<table><tr>{wide}</tr></table>"}),
        v4.new_output("stream", text="w" * 400 + "\n" + "printed\n" * 3),
    ]
    cells = [
        v4.new_markdown_cell(TEXT, attachments=red),
        v4.new_code_cell("secret_code = 'x' * 1  # " + "long " * 60, outputs=outputs, execution_count=1),
    ]
    notebook = v4.new_notebook(cells=cells, metadata={"kernel_supervisor": {"session": "trees"}})
    nbformat.write(notebook, folder / "report.ipynb")
    return folder / "report.ipynb"


def made(ipynb: Path, form: str, option: str = "", **wishes: Any) -> Exported:
    target = ipynb.with_name(f"{option or 'page'}-{'-'.join(wishes) or 'plain'}.{form}")
    making = export(form, ipynb, target, option, deadline_s=200, environment=sys.prefix, wishes=Wishes(**wishes))
    return asyncio.run(making)


@pytest.fixture(scope="module")
def html(ipynb: Path) -> Exported:
    return made(ipynb, "html")


@pytest.fixture(scope="module")
def page(html: Exported) -> Iterator[Page]:
    with chromium("chromium", html.path.as_uri()) as page:
        page.until("!!document.querySelector('.main-svg')", "the figure is drawn")
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_beyond_the_edge_and_dark_pages_do_not_glare(page: Page, width: int, scheme: str) -> None:
    image = page.seen(width, scheme)
    assert page.look("document.scrollingElement.scrollWidth") <= width
    assert (sum(image.getpixel((2, 2))) > 600) is (scheme == "light")  # type: ignore[arg-type]  # an RGB image
    colours = {colour for _, colour in image.getcolors(1 << 24) or []}
    assert (255, 255, 170) in colours, "the styled cell has its colour, and no paper around it"
    full = 255 if scheme == "light" else round(255 * 0.84)
    assert {(full, 0, 0), (0, 0, full)} <= colours, "the pictures"
    white = sum(image.convert("L").histogram()[231:])
    assert (white < 0.02 * image.width * image.height) is (scheme == "dark"), "nothing glares"


def test_a_page_has_its_head_its_pictures_and_footnotes(html: Exported) -> None:
    text = html.path.read_text()
    assert "<title>A good report</title>" in text
    assert re.search(r"Session trees · \d+ \w+ \d{4}", text)
    assert text.count("<h1") == 1, "a title that the text has is not said twice"
    assert len(re.findall('<img[^>]* src="data:image/png', text)) == 2
    assert 'src="http' not in text
    assert "which is on the network" in text
    assert re.search(r'href="#(fn-\d+-1)".*id="\1"', text, re.DOTALL), "a footnote's number leads to it"
    (remark,) = html.remarks
    assert remark.startswith("cell 1: the picture https://example.org/far.png, which is on the network")


@pytest.mark.parametrize("engine", ["typst", "browser"])
def test_pages_are_of_that_size_numbered_and_without_code_if_so_wanted(ipynb: Path, engine: str) -> None:
    exported = made(ipynb, "pdf", engine, page="letter", with_code=False)
    pages = pages_of(exported.path)
    upright = [size for size in pages.sizes if size[1] > size[0]]
    assert {(round(width), round(height)) for width, height in upright} == {LETTER}
    assert {(round(height), round(width)) for width, height in set(pages.sizes) - set(upright)} <= {LETTER}
    assert "secret_code" not in pages.text
    for words in ("A good report", "The words of the note", "far away", "which is on the network", "Session trees"):
        assert words in pages.text, words
    for number in range(len(pages.sizes)):
        assert f"{number + 1} / {len(pages.sizes)}" in pages.text
    assert pages.text.count("Session trees") == len(pages.sizes), "each page says of what it is"
    assert pictures_in(exported.path) == 3
    assert pages.outside() == []
    assert pages.over_each_other() == []


def test_a_template_of_nbconverts_is_taken_and_another_refused(ipynb: Path) -> None:
    (own := ipynb.parent / "own").mkdir()
    (own / "conf.json").write_text('{"base_template": "classic", "mimetypes": {"text/html": true}}')
    (own / "index.html.j2").write_text(
        "{% extends 'classic/index.html.j2' %}{% block body_header %}<body>OWN{% endblock %}"
    )
    text = made(ipynb, "html", template=str(own), with_code=False).path.read_text()
    assert "OWN" in text
    assert "ks-head" not in text
    assert "secret_code" not in text.partition("<body")[2]
    assert "Plotly.newPlot" in text
    with pytest.raises(RefusedError, match="there is no template 'nosuch'"):
        made(ipynb, "html", template="nosuch")
