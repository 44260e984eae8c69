"""Promise: notebooks that no one here wrote are documents to be proud of, as pages of HTML and by both engines."""

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
from tests.notebooks_corpus.foreign import REAL
from tests.notebooks_corpus.nbf import nbformat
from tests.notebooks_corpus.pages import pages_of, pictures_in

pytestmark = [
    pytest.mark.timeout(400),  # the archives are fetched
    pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium: apt-get install chromium"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="no poppler: apt-get install poppler-utils"),
]
LONGEST = {"line": 12, "moves": 6, "parallel": 8, "plotly_graphs": 3, "Notebook_with_R_magic": 3}
"""How many pages are enough for each."""
JSON = ("hovertemplate", "bdata", "$schema", "iVBORw0KGgo", "application/vnd", "data:image")


async def made(real: dict[str, Path], form: str, engine: str = "") -> dict[str, Exported]:
    """A document of each, two at a time: there are two processors."""
    turns = asyncio.Semaphore(2)

    async def one(ipynb: Path) -> Exported:
        target = ipynb.with_name(f"{ipynb.stem}-{engine or 'page'}.{form}")
        async with turns:
            return await export(form, ipynb, target, engine, deadline_s=200, environment=sys.prefix)

    return dict(zip(real, await asyncio.gather(*map(one, real.values())), strict=True))


def cells_of(ipynb: Path) -> list[Any]:
    return list(nbformat.read(ipynb, 4).cells)


def headings_of(ipynb: Path) -> list[str]:
    """In words that stand in a document as they do here."""
    texts = [cell.source for cell in cells_of(ipynb) if cell.cell_type == "markdown"]
    return [found for text in texts for found in re.findall(r"^#+ ([\w ]+)$", text, re.MULTILINE)]


def pictures_of(ipynb: Path) -> int:
    outputs = [output.get("data", {}) for cell in cells_of(ipynb) for output in cell.get("outputs", ())]
    return sum("image/png" in data or "application/vnd.plotly.v1+json" in data for data in outputs)


@pytest.mark.parametrize("engine", ["typst", "browser"])
def test_a_pdf_has_all_of_it_in_its_place(real: dict[str, Path], engine: str) -> None:
    for name, exported in asyncio.run(made(real, "pdf", engine)).items():
        pages = pages_of(exported.path)
        assert exported.missing == "", name
        assert exported.remarks == (), name
        assert len(pages.sizes) <= LONGEST[name], name
        assert pictures_in(exported.path) >= pictures_of(real[name]), name
        assert pages.outside() == [], name
        assert pages.over_each_other() == [], name
        assert not [word for word in JSON if word in pages.text], name
        for heading in headings_of(real[name]):
            assert heading in pages.text, (name, heading)


def test_a_page_fits_screens_and_phones_by_day_and_night(real: dict[str, Path]) -> None:
    made_pages = asyncio.run(made(real, "html"))
    with chromium("chromium", "about:blank") as page:
        for name, exported in made_pages.items():
            assert exported.remarks == (), name
            page.open(exported.path.as_uri())
            shown = "[...document.images].every(each => each.complete && each.naturalWidth)"
            page.until(shown, f"the pictures of {name} are shown")
            for heading in headings_of(real[name]):
                assert page.look(f"document.body.innerText.includes({heading!r})"), (name, heading)
            for width in (1280, 390):
                for scheme in ("light", "dark"):
                    image = page.seen(width, scheme)
                    assert page.look("document.scrollingElement.scrollWidth") <= width, (name, width)
                    corner: Any = image.getpixel((2, 2))
                    assert (sum(corner) > 600) is (scheme == "light"), (name, width, scheme)
                    assert hard_to_read(page) == [], (name, width, scheme)


def test_there_are_five() -> None:
    assert len(REAL) == len(LONGEST) == 5
