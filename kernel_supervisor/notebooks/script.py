"""A notebook as a Python script in the percent format, which editors run cell by cell; what was shown is left out.

https://jupytext.readthedocs.io/en/latest/formats-scripts.html#the-percent-format
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernel_supervisor.notebooks.wishes import Made, Wishes

_OF_A_SHELL = re.compile(r"^(?=\s*[%!?]|.*\?$)", re.MULTILINE)
"""Where a line begins that IPython alone understands, such as a magic."""


def write_script(notebook: Any, ipynb: Path, script: Path, wishes: Wishes, progress: Callable[[str], None]) -> Made:
    """Write the code of `notebook` to `script`, with its markdown, and lines that only IPython knows, as comments."""
    progress("writing the script")
    cells = [_cell(cell) for cell in notebook.cells if cell.cell_type in ("code", "markdown", "raw")]
    script.write_text("\n".join(cells), encoding="utf-8", errors="replace")
    return Made(engine="nbconvert")


def _cell(cell: Any) -> str:
    if cell.cell_type != "code":
        return f"# %% [{cell.cell_type}]\n{_commented(cell.source)}\n"
    if cell.source.lstrip().startswith("%%"):
        return f"# %%\n{_commented(cell.source)}\n"
    return f"# %%\n{_OF_A_SHELL.sub('# ', cell.source)}\n"


def _commented(text: str) -> str:
    return "\n".join(f"# {line}".rstrip() for line in text.split("\n"))
