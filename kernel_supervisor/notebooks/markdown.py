"""A notebook as Markdown, through nbconvert, with its pictures in a folder beside it, as nbconvert has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbconvert.exporters import MarkdownExporter

from kernel_supervisor.notebooks.shown.choosing import on_paper
from kernel_supervisor.notebooks.shown.figures import Draughtsman
from kernel_supervisor.notebooks.shown.placeholders import says_something
from kernel_supervisor.notebooks.terminal import INVISIBLE
from kernel_supervisor.notebooks.wishes import BESIDE, Made, Wishes


def write_markdown(notebook: Any, ipynb: Path, markdown: Path, wishes: Wishes, progress: Callable[[str], None]) -> Made:
    """Write `notebook`, which stands at `ipynb`, to `markdown`; figures are pictures."""
    progress("writing Markdown")
    shown = on_paper(notebook, Draughtsman(markdown.parent, wishes.environment), inline_html=False)
    folder = markdown.stem + BESIDE
    resources = {"unique_key": markdown.stem, "output_files_dir": folder}
    exporter = MarkdownExporter(exclude_input=not wishes.with_code)  # type: ignore[no-untyped-call]  # nbconvert has no types
    text, made = exporter.from_notebook_node(_plain(shown.notebook), resources)
    markdown.write_text(text, encoding="utf-8", errors="replace")
    for name, content in made["outputs"].items():
        (picture := markdown.parent / name).parent.mkdir(exist_ok=True)
        picture.write_bytes(content)
    return Made(engine="nbconvert", remarks=shown.remarks)


def _plain(notebook: Any) -> Any:
    """`notebook` without terminal colours, and with the texts of what has one, rather than its HTML."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if says_something(data.get("text/plain", "")):
                data.pop("text/html", None)
            if "text" in output:
                output["text"] = INVISIBLE.sub("", output.text)
            if "traceback" in output:
                output["traceback"] = [INVISIBLE.sub("", line) for line in output.traceback]
    return notebook
