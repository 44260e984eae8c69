"""Promise: a document is called what its text calls it, else what its metadata does, else what its file does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel_supervisor.notebooks.shown.heads import head_of
from tests.notebooks_corpus.nbf import v4


@pytest.mark.parametrize(
    ("cells", "metadata", "title"),
    [
        (["# A *good* [report](x) #"], {}, "A good report"),
        (["(label)=\n\n# Below a label\n\ntext"], {}, "Below a label"),
        (["words", "Underlined\n====="], {}, "Underlined"),
        (["```\n# a comment\n```"], {"title": "Of the metadata"}, "Of the metadata"),
        (["## Smaller"], {"title": 7}, "report"),
        ([], {}, "report"),
    ],
)
def test_the_title(cells: list[str], metadata: dict[str, Any], title: str, tmp_path: Path) -> None:
    (ipynb := tmp_path / "report.ipynb").touch()
    notebook = v4.new_notebook(cells=[*map(v4.new_markdown_cell, cells), v4.new_code_cell("# no title")])
    notebook.metadata.update(metadata, kernel_supervisor={"session": "trees"})
    head = head_of(notebook, ipynb)
    assert head.title == title
    assert head.is_in_text is (title not in ("report", "Of the metadata"))
    assert head.about.startswith("Session trees · ")
