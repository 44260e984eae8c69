"""Promise: pages of PDF are laid out as on paper: what belongs together stays together, and can be told apart."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kernel_supervisor.notebooks.export import export
from kernel_supervisor.notebooks.wishes import Wishes
from tests.browser_support import chromium
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.pages import pages_of

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
ENGINES = ("typst", "browser")
PINK, INK = (253, 240, 239), 120
ROWS = "".join(f"<tr><th>{row}</th><td>{row * 11}</td></tr>" for row in range(3))
TABLE = f"<table><thead><tr><th></th><th>value</th></tr></thead><tbody>{ROWS}</tbody></table>"


def picture(width: int, height: int) -> Any:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "green").save(file, "PNG")
    return v4.new_output("display_data", {"image/png": base64.b64encode(file.getvalue()).decode()})


def printed(words: str, name: str = "stdout") -> Any:
    return v4.new_output("stream", name=name, text=words)


def made(cells: list[Any], folder: Path, engine: str, **wishes: Any) -> Path:
    ipynb = folder / "paper.ipynb"
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernel_supervisor": {"session": "trees"}}), ipynb)
    target = folder / f"{engine}.pdf"
    making = export("pdf", ipynb, target, engine, deadline_s=200, environment=sys.prefix, wishes=Wishes(**wishes))
    return asyncio.run(making).path


def seen(pdf: Path, dpi: int = 60) -> Any:
    """Its first page."""
    subprocess.run(["pdftoppm", "-r", str(dpi), "-singlefile", "-png", pdf, pdf.with_suffix("")], check=True)
    return Image.open(pdf.with_suffix(".png")).convert("RGB")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("lines", [18, 30, 40])
def test_code_stays_with_its_figure(tmp_path: Path, engine: str, lines: int) -> None:
    filler = v4.new_code_cell("filler()", outputs=[printed("filler\n" * lines)])
    pdf = made([filler, v4.new_code_cell("draw_it()", outputs=[picture(500, 400)])], tmp_path, engine)
    (code,) = {word.page for word in pages_of(pdf).words if word.text.startswith("draw_it")}
    listed = subprocess.run(["pdfimages", "-list", pdf], check=True, capture_output=True, text=True).stdout
    assert {int(line.split()[0]) - 1 for line in listed.splitlines()[2:] if " image " in line} == {code}


@pytest.mark.parametrize("engine", ENGINES)
def test_long_code_fills_its_page_and_its_last_lines_stay_with_the_figure(tmp_path: Path, engine: str) -> None:
    code = v4.new_code_cell("\n".join(f"line_{number}()" for number in range(30)), outputs=[picture(500, 700)])
    filler = v4.new_code_cell("filler()", outputs=[printed("filler\n" * 12)])
    pdf = made([filler, code], tmp_path, engine)
    lines = [word for word in pages_of(pdf).words if word.text.startswith("line_")]
    assert [word.page for word in lines] == [0] * 26 + [1] * 4
    page, height = seen(pdf), pages_of(pdf).sizes[0][1]
    below = int((lines[25].bottom + 20) / height * page.height)
    assert {page.getpixel((page.width // 2, y)) for y in range(below, int(page.height * 0.92))} == {(255, 255, 255)}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_short_wide_table_turns_no_page(tmp_path: Path, engine: str) -> None:
    rows = "".join(f"<td>{number}.12345678</td>" for number in range(100, 124))
    heads = "".join(f"<th>column_{number}</th>" for number in range(24))
    wide = f"<table><thead><tr>{heads}</tr></thead><tbody>{f'<tr>{rows}</tr>' * 5}</tbody></table>"
    output = v4.new_output("display_data", {"text/html": wide})
    pages = pages_of(made([v4.new_code_cell("short()", outputs=[output])], tmp_path, engine))
    assert len(pages.sizes) == 1
    assert pages.sizes[0][0] < pages.sizes[0][1]
    assert {word.text for word in pages.words if word.text.startswith("column_")} == {f"column_{n}" for n in range(24)}
    assert pages.outside() == []


def of_fixed_width() -> list[Any]:
    """Cells whose pictures and boxes are wider than any page."""
    file = io.BytesIO()
    Image.new("RGB", (1200, 120), "green").save(file, "PNG")
    green = f'src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"'
    size = 'width="1200" height="120"'
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect {size} fill="green"/></svg>'
    markups = [
        f'<div style="width: 1200px"><img width=1200 {green}></div>',
        f'<img style="width: 1200px; height: 120px" {green}>',
        f"<table><tr>{f'<td><img width=400 {green}></td>' * 3}</tr></table>",
        f"<p>drawn</p>{drawing}",
    ]
    bundles = [{"image/svg+xml": drawing}, *({"text/html": each} for each in markups)]
    outputs = [v4.new_output("display_data", each) for each in bundles]
    return [v4.new_markdown_cell(f"<img width=1200 {green}>"), v4.new_code_cell("show()", outputs=outputs)]


@pytest.mark.parametrize("engine", ENGINES)
def test_what_has_a_fixed_width_is_no_wider_than_its_page(tmp_path: Path, engine: str) -> None:
    page = seen(made(of_fixed_width(), tmp_path, engine), 40)
    green = [x for x in range(page.width) for y in range(page.height) if page.getpixel((x, y)) == (0, 128, 0)]
    assert page.width * 0.8 < max(green) < page.width * 0.95


def test_what_has_a_fixed_width_is_shrunk_as_a_whole_on_a_phone(tmp_path: Path) -> None:
    ipynb = tmp_path / "phone.ipynb"
    nbformat.write(v4.new_notebook(cells=of_fixed_width()), ipynb)
    target = tmp_path / "phone.html"
    asyncio.run(export("html", ipynb, target, "", deadline_s=200, environment=sys.prefix))
    with chromium("chromium", target.as_uri()) as page:
        page.until("document.readyState === 'complete'", "it is loaded")
        page.seen(390, "light")
        boxes = page.look(
            "JSON.stringify([...document.querySelectorAll('img, main svg')].map(each => each.getBoundingClientRect())"
            ".map(box => [box.right, box.width / box.height]))"
        )
        found = json.loads(boxes)
        assert len(found) == 8
        assert all(right <= 390 and 9.5 < shape < 10.5 for right, shape in found), found
        assert page.look(
            "[...document.querySelectorAll('main svg')].every(each => each.viewBox.baseVal.width === 1200)"
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_no_line_of_an_error_is_alone_on_its_page(tmp_path: Path, engine: str) -> None:
    for lines in range(47, 62, 2):
        pdf = made([v4.new_code_cell("fail()", outputs=[printed("failing\n" * lines, "stderr")])], tmp_path, engine)
        places = [word.page for word in pages_of(pdf).words if word.text == "failing"]
        assert len(places) == lines
        assert places.count(1) != 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_table_has_rules_above_and_below_its_head_and_at_its_end(tmp_path: Path, engine: str) -> None:
    table = v4.new_output("display_data", {"text/html": TABLE})
    page = seen(made([v4.new_code_cell("", outputs=[table])], tmp_path, engine), dpi=144)
    dark = [[page.getpixel((x, y))[0] < INK for x in range(page.width)] for y in range(page.height // 2)]
    longest = [
        max((len(run) for run in "".join(map("01"[0:2].__getitem__, row)).split("0")), default=0) for row in dark
    ]
    rules = [y for y, length in enumerate(longest) if length > 60]
    assert len({y for y in rules if y - 1 not in rules}) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_what_printed_nothing_has_no_bar(tmp_path: Path, engine: str) -> None:
    blank = [printed("\n", "stderr"), printed("\x1b[0m \r", "stderr")]
    page = seen(made([v4.new_code_cell("work()", outputs=blank)], tmp_path, engine))
    assert PINK not in {colour for _, colour in page.getcolors(1 << 24)}


@pytest.mark.parametrize("engine", ENGINES)
def test_links_are_seen_to_be_links(tmp_path: Path, engine: str) -> None:
    page = seen(
        made([v4.new_markdown_cell("# A title\n\n[a link](https://example.org) and words")], tmp_path, engine), 144
    )
    blue = [colour for _, colour in page.getcolors(1 << 24) if colour[2] > colour[0] + 90]
    assert blue


@pytest.mark.skipif(not shutil.which("xelatex"), reason="no LaTeX: apt-get install texlive-xetex")
def test_latex_has_the_paper_and_the_head_of_the_others(tmp_path: Path) -> None:
    cells = [
        v4.new_markdown_cell(r"# 100 % of \input{x} & $y$"),
        *(v4.new_code_cell(f"cell({n})\n" * 9) for n in range(20)),
    ]
    for page, size in (("a4", (595, 842)), ("letter", (612, 792))):
        pages = pages_of(made(cells, tmp_path, "xelatex", page=page))
        assert {(round(width), round(height)) for width, height in pages.sizes} == {size}
        for number in range(1, len(pages.sizes)):
            text = " ".join(word.text for word in pages.words if word.page == number)
            assert "Session trees" in text
            assert "100 % of" in text
            assert f"{number + 1}/{len(pages.sizes)}" in text.replace(" ", "")
        assert pages.outside() == []
