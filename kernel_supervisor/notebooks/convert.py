"""The process that converts one notebook: `… -m …convert FORMAT IPYNB RESULT WISHES DEADLINE`.

It says what it does in answers: `{"progress": …}`, and at the end `{"engine": …}` or what is wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbformat import from_dict

from kernel_supervisor.core.answers import answer
from kernel_supervisor.core.errors import RefusedError, SupervisorError
from kernel_supervisor.notebooks.admonitions import without_myst
from kernel_supervisor.notebooks.document import WIDGET_STATE
from kernel_supervisor.notebooks.html import write_html
from kernel_supervisor.notebooks.loading import read_notebook
from kernel_supervisor.notebooks.markdown import write_markdown
from kernel_supervisor.notebooks.pdf import write_pdf
from kernel_supervisor.notebooks.processes import end_within
from kernel_supervisor.notebooks.script import write_script
from kernel_supervisor.notebooks.shown.choosing import name_of
from kernel_supervisor.notebooks.shown.pictures import with_pictures_attached
from kernel_supervisor.notebooks.wishes import Made, Wishes, from_words
from kernel_supervisor.outputs.widgets import Widgets

WRITERS: dict[str, Callable[[Any, Path, Path, Wishes, Callable[[str], None]], Made]] = {
    "html": write_html,
    "pdf": write_pdf,
    "md": write_markdown,
    "py": write_script,
}
"""By format: writes the document, and says what made it and what it lacks."""


def main() -> int:
    """Convert, and return the exit code."""
    form, ipynb, result, wishes, deadline = sys.argv[1:]
    end_within(float(deadline))
    try:
        notebook = read_notebook(Path(ipynb))
        _show_widgets(notebook, controls=form != "html")
        wanted = from_words(wishes)
        beside = _prepared(notebook, Path(ipynb), wanted) if form in ("html", "pdf") else []
        made = WRITERS[form](notebook, Path(ipynb), Path(result), wanted, lambda words: _say(progress=words))
        _say(engine=made.engine, missing=made.missing, remarks="\n".join([*beside, *made.remarks]))
    except SupervisorError as error:
        fault = "refused" if isinstance(error, RefusedError) else "unavailable"
        _say(**{fault: str(error)})
        return 1
    return 0


def _show_widgets(notebook: Any, *, controls: bool) -> None:
    """Have what Output widgets captured stand in `notebook`, and progress bars and labels as texts, without a script.

    With `controls` those have the value that they have now; else they, and what is of unknown kinds, are left to be
    drawn by scripts.
    """
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    widgets = Widgets.of_notebook(states, controls=controls)
    for cell in notebook.cells:
        if "outputs" in cell:
            shown = [each for output in cell.outputs for each in widgets.shown([output], set())]
            cell.outputs = [from_dict(each) for each in shown]  # type: ignore[no-untyped-call]  # nbformat has no types


def _prepared(notebook: Any, ipynb: Path, wishes: Wishes) -> list[str]:
    """Have the Markdown as all that set it read it, its pictures attached; what of those is not shown."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell["source"] = without_myst(cell.source)
    return with_pictures_attached(notebook, ipynb.parent, name_of, fetch=wishes.fetch_images)


def _say(**words: str) -> None:
    os.write(1, answer(words))


if __name__ == "__main__":
    sys.exit(main())
