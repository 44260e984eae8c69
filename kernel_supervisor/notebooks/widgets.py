"""What a notebook's widgets show, for documents: they are drawn without the scripts that draw widgets."""

from __future__ import annotations

from typing import Any

from nbformat import from_dict

from kernel_supervisor.notebooks.document import WIDGET_STATE
from kernel_supervisor.outputs.widgets import Widgets


def show_widgets(notebook: Any, *, controls: bool) -> None:
    """Have what Output widgets captured stand in `notebook`, and progress bars and labels as texts.

    With `controls` those have the value that they have now; else they, and what is of unknown kinds, are left to be
    drawn by scripts.
    """
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    widgets = Widgets.of_notebook(states, controls=controls)
    for cell in notebook.cells:
        if "outputs" in cell:
            shown = [each for output in cell.outputs for each in widgets.shown([output], set())]
            cell.outputs = [from_dict(each) for each in shown]  # type: ignore[no-untyped-call]  # nbformat has no types
