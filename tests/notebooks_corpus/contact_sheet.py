"""All pages of the documents that tests read back, on one picture: `python -m tests.notebooks_corpus.contact_sheet`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from kernel_supervisor.notebooks.export import export
from tests.browser_support import Page, chromium
from tests.notebooks_corpus.foreign import real_notebooks
from tests.notebooks_corpus.gallery import gallery

_SHEET = Path(__file__).parents[2] / "docs" / "documents.webp"
_WIDE, _TALL, _GAP, _MOST = 140, 200, 6, 18
_GROUND = (120, 120, 120)
_LOOKS = ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"))
_DRAWN = "document.readyState === 'complete' && [...document.images].every(each => each.complete)"


def main() -> None:
    """Make the documents and the sheet, and say how large it is."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notebooks = {"gallery": gallery(folder), **real_notebooks(folder, folder)}
        with chromium("chromium", "about:blank") as page:
            rows = [row for title, ipynb in notebooks.items() for row in _rows(title, ipynb, page)]
    _SHEET.parent.mkdir(exist_ok=True)
    _laid_out(rows).save(_SHEET, quality=60, method=6)
    print(f"{_SHEET}: {_SHEET.stat().st_size >> 10} kB")


def _rows(title: str, ipynb: Path, page: Page) -> Iterator[tuple[str, list[Image.Image]]]:
    """The page of HTML as it is seen in four ways, then the pages of a PDF by each engine."""
    page.open(_made(ipynb, "html").as_uri())
    page.until(_DRAWN, "it is drawn")
    yield f"{title}, HTML at 1,280 and 390 px, light and dark", [page.seen(*look) for look in _LOOKS]
    for engine in ("typst", "browser"):
        pdf = _made(ipynb, "pdf", engine)
        subprocess.run(["pdftoppm", "-r", "40", "-png", str(pdf), str(pdf.with_suffix(""))], check=True)
        pages = [Image.open(each).convert("RGB") for each in sorted(pdf.parent.glob(f"{pdf.stem}-*.png"))]
        yield f"{title}, PDF by {engine}: {len(pages)} pages", pages


def _made(ipynb: Path, form: str, engine: str = "") -> Path:
    target = ipynb.with_name(f"{ipynb.stem}-{engine}.{form}")
    return asyncio.run(export(form, ipynb, target, engine, deadline_s=200, environment=sys.prefix)).path


def _laid_out(rows: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    step = _TALL + 20
    sheet = Image.new("RGB", (_MOST * (_WIDE + _GAP) + _GAP, len(rows) * step), _GROUND)
    draw = ImageDraw.Draw(sheet)
    for number, (title, pages) in enumerate(rows):
        draw.text((_GAP, number * step + 3), title, fill="white")
        left = _GAP
        for page in pages[:_MOST]:
            small = page.crop((0, 0, page.width, min(page.height, page.width * 3)))
            small.thumbnail(
                (_WIDE * 2, _TALL) if page.width > page.height else (_WIDE, _TALL), Image.Resampling.LANCZOS
            )
            sheet.paste(small, (left, number * step + 18))
            left += small.width + _GAP
    return sheet


if __name__ == "__main__":
    main()
