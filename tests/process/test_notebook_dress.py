"""Promise: what a document shows is set as such things are: formulas, printed text, figures on a phone, colours."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bokeh.embed import components
from bokeh.plotting import figure
from PIL import Image

from kernel_supervisor.notebooks.export import Exported, export
from tests.browser_support import Page, chromium
from tests.notebooks_corpus.contrast import hard_to_read
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.pages import pages_of

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
TALL = r"$$\left(\frac{\frac{a}{b}}{\frac{c}{d}}\right) = \sum_{n=1}^{N} x_n$$"
LONG = "$$" + " + ".join(f"x_{{{number}}}^2" for number in range(60)) + "$$"
NARROW, WIDE = "iiiiiiiiii", "mmmmmmmmmm"
PLOTLY = {"data": [{"y": [1, 2]}], "layout": {"title": {"text": "Drawn"}}}
ANSI = "".join(f"\x1b[{code}mink {code}\x1b[0m " for code in (*range(30, 38), *range(90, 98)))
ANSI += "".join(f"\x1b[38;5;{code}mink {code}\x1b[0m " for code in range(16, 256, 6))
SLIDER = {"model_name": "IntSliderModel", "model_module": "@jupyter-widgets/controls", "state": {"value": 7}}
STATE = {"version_major": 2, "version_minor": 0, "state": {"a": SLIDER}}
WIDGETS = {"widgets": {"application/vnd.jupyter.widget-state+json": STATE}}
MYST = ":::{note}\nA thing to *note*.\n:::"


def bokeh() -> list[Any]:
    """A figure as `show` has it in a notebook: where it is drawn, and what draws it."""
    drawn = figure(width=600, height=300)
    drawn.line([1, 2], [1, 2])
    script, place = components(drawn)
    data = {"application/vnd.bokehjs_exec.v0+json": "", "text/html": place}
    code = script.partition(">")[2].rpartition("</script>")[0]
    return [v4.new_output("display_data", {**data, "application/javascript": code})]


@pytest.fixture(scope="module")
def ipynb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dress")
    widget: dict[str, Any] = {
        "application/vnd.jupyter.widget-view+json": {"model_id": "a", "version_major": 2, "version_minor": 0}
    }
    widget["text/plain"] = "IntSlider(value=7, description='A slider')"
    outputs = [
        v4.new_output("stream", text=f"{NARROW}\n{WIDE}\n{ANSI}\n"),
        v4.new_output("stream", name="stderr", text=f"{ANSI}\n"),
        v4.new_output("display_data", {"application/vnd.plotly.v1+json": PLOTLY}),
        v4.new_output("display_data", widget),
        *bokeh(),
        v4.new_output("stream", name="stderr", text="".join(f"{NARROW if n % 2 else WIDE}\n" for n in range(500))),
    ]
    cells = [
        v4.new_markdown_cell("\n\n".join(("# Set", TALL, LONG, MYST))),
        v4.new_code_cell("draw(1.5) + 'all'  # of it", outputs=outputs, execution_count=123),
    ]
    notebook = v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}, **WIDGETS})
    nbformat.write(notebook, folder / "dress.ipynb")
    return folder / "dress.ipynb"


def made(ipynb: Path, form: str, option: str = "") -> Exported:
    target = ipynb.with_name(f"{option or 'page'}.{form}")
    return asyncio.run(export(form, ipynb, target, option, deadline_s=200, environment=sys.prefix))


@pytest.fixture(scope="module")
def page(ipynb: Path) -> Iterator[Page]:
    with chromium("chromium", made(ipynb, "html").path.as_uri()) as page:
        page.until("!!document.querySelector('.main-svg') && !!document.querySelector('.bk-Figure')", "it is drawn")
        page.until("document.fonts.status === 'loaded'", "the fonts are there")
        yield page


@pytest.fixture(scope="module")
def printed(ipynb: Path) -> Path:
    return made(ipynb, "pdf", "browser").path


def height(selector: str) -> str:
    return f"document.querySelector({selector!r}).getBoundingClientRect().height"


def test_brackets_and_sums_are_as_tall_as_what_they_hold(page: Page) -> None:
    page.seen(1280, "light")
    assert page.look(f"{height('math mo')} > 0.9 * {height('math mfrac')}"), "the bracket"
    sums = "[...document.querySelectorAll('math mo')].find(each => each.textContent === '∑')"
    letter = "document.querySelector('math mi').getBoundingClientRect().height"
    assert page.look(f"{sums}.getBoundingClientRect().height > 1.5 * {letter}")


def test_the_browser_s_pdf_has_the_font_of_formulas(printed: Path) -> None:
    fonts = subprocess.run(["pdffonts", printed], check=True, capture_output=True, text=True).stdout
    assert "STIXTwoMath" in fonts


def test_a_long_formula_scrolls_and_prints_whole(page: Page, printed: Path) -> None:
    page.seen(390, "light")
    wider = "[...document.querySelectorAll('.ks-formula')].filter(each => each.scrollWidth > each.clientWidth)"
    assert page.look(f"{wider}.every(each => getComputedStyle(each).overflowX === 'auto') && {wider}.length") >= 1
    assert page.look("document.scrollingElement.scrollWidth") <= 390
    assert pages_of(printed).outside() == []


def test_printed_text_is_monospaced_on_screen_and_on_paper(page: Page, printed: Path) -> None:
    words = [word for word in pages_of(printed).words if word.text in (NARROW, WIDE)]
    assert len(words) > 20
    assert len({round(word.right - word.left, 1) for word in words}) == 1
    families = (
        "[...document.querySelectorAll('.jp-OutputArea-output pre')].map(each => getComputedStyle(each).fontFamily)"
    )
    assert page.look(f"{families}.every(each => each.includes('monospace'))")


def test_figures_are_as_wide_as_there_is_room(page: Page) -> None:
    for selector in (".main-svg", ".bk-Figure"):
        page.seen(1280, "light")
        width = f"document.querySelector('{selector}').getBoundingClientRect().width"
        page.until(f"{width} > 500", f"{selector} is wide")
        page.seen(390, "light")
        page.until(f"{width} <= 390", f"{selector} is narrow")


def test_a_widget_says_what_it_is_until_it_is_drawn(page: Page) -> None:
    page.seen(1280, "light")
    said = "document.querySelector('.ks-still').checkVisibility()"
    assert page.look("document.querySelector('.ks-still').innerText") == "IntSlider(value=7, description='A slider')"
    assert page.look(said)
    page.look("document.querySelector('.jupyter-widgets').innerHTML = '<div class=widget-subarea></div>'")
    assert page.look(said) is False, page.look(
        "document.querySelector('.ks-still').closest('.jp-OutputArea').outerHTML"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read(page: Page, scheme: str) -> None:
    page.seen(1280, scheme)
    assert hard_to_read(page) == []


def test_an_admonition_is_one(page: Page) -> None:
    assert ":::" not in page.look("document.querySelector('main').innerText")
    assert page.look("document.querySelector('blockquote').innerText").split() == ["Note", "A", "thing", "to", "note."]


def test_what_stands_below_each_other_begins_at_one_edge(page: Page) -> None:
    page.seen(1280, "light")
    left = "Math.round(document.querySelector({!r}).getBoundingClientRect().left)"
    places = (".jp-InputArea-editor", ".jp-OutputArea-output", ".jp-RenderedMarkdown")
    assert len({page.look(left.format(each)) for each in places}) == 1
    text = "(range => (range.selectNodeContents({}), range.getBoundingClientRect().left))(document.createRange())"
    day, title = (page.look(text.format(f"document.querySelector({each!r})")) for each in (".ks-head p", "h1"))
    assert abs(day - title) <= 1
    prompts = "[...document.querySelectorAll('.jp-InputPrompt, .jp-OutputPrompt')]"
    assert page.look(f"{prompts}.every(each => each.scrollWidth <= each.clientWidth)"), "no prompt is cut"


def test_errors_have_their_ground_on_paper(ipynb: Path, printed: Path) -> None:
    for pdf in (printed, made(ipynb, "pdf", "typst").path):
        picture = pdf.with_suffix("")
        subprocess.run(["pdftoppm", "-r", "20", "-singlefile", "-png", str(pdf), str(picture)], check=True)
        image = Image.open(picture.with_suffix(".png")).convert("RGB")
        colours = {colour for _, colour in image.getcolors(1 << 24) or []}
        assert (253, 240, 239) in colours, pdf.name
