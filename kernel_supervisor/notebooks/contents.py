"""What there is in a notebook that a document may fail to show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

IMAGES = ("image/png", "image/jpeg", "image/svg+xml", "image/gif")

_MATH = re.compile(r"\$[^$\n]+\$|\$\$|\\\(|\\\[|\\begin\{")
_DISPLAYED = re.compile(r"\$\\displaystyle\s*([^$]+)\$")
"""As IPython has `Math`: a line in a paragraph, for a reader that sets formulas in one."""
_UNSEEN = re.compile(r"<(style|script)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
_NAME_ONLY = re.compile(r"<[\w.]+( object)?( at 0x[0-9a-f]+)?>\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Counts of what is hard to show, and all characters beyond ASCII."""

    formulas: int
    tables: int
    """Outputs that are tables in HTML, with a text of the same beside it."""
    html_only: int
    """Outputs that are HTML, with neither an image nor a text that says more than a class's name."""
    vectors: int
    """Outputs that are SVG and nothing else."""
    characters: frozenset[str]


def contents_of(notebook: Any) -> Contents:
    """What there is in `notebook`, an nbformat node."""
    bundles = [output.data for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    texts += [bundle[mime] for bundle in bundles for mime in ("text/latex", "text/markdown") if mime in bundle]
    return Contents(
        formulas=sum(bool(_MATH.search(text)) for text in texts),
        tables=sum("<table" in bundle.get("text/html", "") for bundle in bundles),
        html_only=sum(is_html_only(bundle) for bundle in bundles),
        vectors=sum("image/svg+xml" in bundle and "image/png" not in bundle for bundle in bundles),
        characters=frozenset(character for text in _texts(notebook) for character in text if character > "\x7f"),
    )


def is_html_only(bundle: Any) -> bool:
    """Whether `bundle` (data by mime type) loses its meaning without its HTML."""
    if "text/html" not in bundle or any(mime in bundle for mime in (*IMAGES, "text/markdown", "text/latex")):
        return False
    return bool(_NAME_ONLY.match(bundle.get("text/plain", "").strip())) or "text/plain" not in bundle


def read_json(data: Any) -> None:
    """Have JSON as text where an output's own text is but a class's name."""
    if "application/json" in data and _NAME_ONLY.match(data.get("text/plain", "").strip()):
        data["text/plain"] = json.dumps(data["application/json"], indent=2, ensure_ascii=False)


def as_markdown(formula: str) -> str:
    """An output in LaTeX as Markdown has formulas."""
    formula = formula.strip()
    if displayed := _DISPLAYED.fullmatch(formula):
        return f"$${displayed[1]}$$"
    return formula if "$" in formula else f"$${formula}$$"


def _texts(notebook: Any) -> Iterator[str]:
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield "".join(output.get("traceback", ()))
            data = output.get("data", {})
            yield data.get("text/plain", "")
            yield _UNSEEN.sub("", data.get("text/html", ""))
