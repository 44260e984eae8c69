"""Promise: on paper lines that are broken are marked where they go on, and what is printed keeps its spaces."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from kernel_supervisor.notebooks.export import export
from tests.browser_support import chromium
from tests.notebooks_corpus.nbf import nbformat, v4
from tests.notebooks_corpus.pages import Pages, Word, pages_of

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
PRINTED = "printed " + " ".join(f"piece{number}" for number in range(60))
CODE = "call(" + ", ".join(f"name{number}={number}" for number in range(40)) + ")"
WARNED = "/a/b.py:3: RuntimeWarning: invalid value that is warned of in words that go on for more than one line here\n"
BAR = "100%|██████████| 10/10 [00:00<00:00, 123.4it/s]\n"
CASES = r"$$f = \begin{cases} 1, & \mathrm{where} \\ 0, & \mathrm{otherwise} \end{cases}$$"
ARRAY = r"$$g = \left\{\begin{array}{ll} 1 \,, & \mbox{whenever} \\ 0, & \mbox{rarely} \end{array}\right.$$"
HEADS = pd.DataFrame([[1, 2, 3, 4]], columns=pd.MultiIndex.from_product([["upper", "second"], ["ppp", "qqq"]]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = [
        v4.new_output("stream", text=f"{PRINTED}\n"),
        v4.new_output("stream", name="stderr", text=WARNED),
        v4.new_output("stream", name="stderr", text=BAR),
        v4.new_output("display_data", {"text/html": HEADS.to_html()}),
    ]
    cells = [
        v4.new_markdown_cell(f"# Set\n\n{CASES}\n\n{ARRAY}\n\n> quoted words"),
        v4.new_code_cell(CODE, outputs=outputs, execution_count=1),
    ]
    path = tmp_path_factory.mktemp("typeset") / "typeset.ipynb"
    nbformat.write(v4.new_notebook(cells=cells), path)
    return asyncio.run(
        export("pdf", path, path.with_suffix(".pdf"), "typst", deadline_s=200, environment=sys.prefix)
    ).path


@pytest.fixture(scope="module")
def paper(path: Path) -> Pages:
    return pages_of(path)


def lines_of(paper: Pages, beginning: str) -> list[list[Word]]:
    """The words that begin so, by the lines on which they stand."""
    lines: dict[int, list[Word]] = {}
    for word in paper.words:
        if word.text.startswith(beginning):
            lines.setdefault(round(word.bottom), []).append(word)
    return [lines[bottom] for bottom in sorted(lines)]


@pytest.mark.parametrize("beginning", ["piece", "name"])
def test_each_line_that_goes_on_has_its_mark_beside_it(paper: Pages, beginning: str) -> None:
    _, *going_on = lines_of(paper, beginning)
    assert len(going_on) >= 3
    marks = [word for word in paper.words if word.text == "↳"]
    for line in going_on:
        middle = (line[0].top + line[0].bottom) / 2
        assert [mark for mark in marks if mark.top < middle < mark.bottom], f"none beside {line[0].text}"


def test_there_are_no_more_marks_than_lines_that_go_on(paper: Pages) -> None:
    going_on = [line for beginning in ("piece", "name") for line in lines_of(paper, beginning)[1:]]
    marks = [word for word in paper.words if word.text == "↳"]
    assert len(marks) == len(going_on) + 1, "and one of the warning's"


def test_spaces_of_printed_text_are_all_of_one_width(paper: Pages) -> None:
    words = [word for word in paper.words if word.text in WARNED.split()]
    lines: dict[int, list[Word]] = {}
    for word in words:
        lines.setdefault(round(word.bottom), []).append(word)
    gaps = [round(after.left - before.right, 1) for line in lines.values() for before, after in pairwise(line)]
    assert len(gaps) > 8
    assert max(gaps) - min(gaps) <= 0.2


def test_columns_of_cases_are_apart(paper: Pages) -> None:
    for words in (("where", "otherwise"), ("whenever", "rarely")):
        after = [word for word in paper.words if word.text in words]
        assert len(after) == 2, "each a word of its own"
        for each in after:
            beside = [word for word in paper.words if abs(word.bottom - each.bottom) < 4 and word.left < each.left]
            assert each.left - max(word.right for word in beside) > 4, each.text


def test_a_name_over_two_columns_stands_over_both(paper: Pages) -> None:
    (upper,) = (word for word in paper.words if word.text == "upper")
    below = [word for word in paper.words if word.text in ("ppp", "qqq")][:2]
    middle = (below[0].left + below[1].right) / 2
    assert abs((upper.left + upper.right) / 2 - middle) < 8


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium")
def test_so_it_does_on_a_page(path: Path) -> None:
    ipynb, html = path.with_suffix(".ipynb"), path.with_suffix(".html")
    asyncio.run(export("html", ipynb, html, deadline_s=200, environment=sys.prefix))
    with chromium("chromium", html.as_uri()) as page:
        page.until("document.readyState === 'complete'", "it is loaded")
        heads = "[...document.querySelectorAll('thead th')].filter(each => each.colSpan > 1)"
        assert page.look(f"{heads}.map(each => getComputedStyle(each).textAlign).join()") == "center,center"


def test_a_bar_that_is_done_is_no_error(path: Path) -> None:
    """Its ground is the page's, the warning's is not."""
    folder = path.parent
    subprocess.run(["pdftoppm", "-r", "72", "-png", "-singlefile", path, folder / "seen"], check=True)
    seen = Image.open(folder / "seen.png").convert("RGB")
    (bar,) = (word for word in pages_of(path).words if word.text == "10/10")
    (warned,) = (word for word in pages_of(path).words if word.text == "RuntimeWarning:")
    assert seen.getpixel((500, round(bar.top + bar.bottom) // 2)) == (255, 255, 255)
    assert seen.getpixel((520, round(warned.top + warned.bottom) // 2)) != (255, 255, 255)
