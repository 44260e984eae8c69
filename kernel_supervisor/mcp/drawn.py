"""The figures of a result, drawn where this machine can: they are pictures to the agent, and never cost it the text."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from kernel_supervisor.core.model import Interpreter
from kernel_supervisor.mcp.content import figures_wanted, may_have_figures
from kernel_supervisor.mcp.view import Reading, ResultView
from kernel_supervisor.notebooks.drawing import Drawings, libraries_drawn
from kernel_supervisor.sessions.saving import environment_of
from kernel_supervisor.tasks import Tasks, apart

_PATIENCE_S = 8.0
"""How long a result waits for its figures; what is drawn later is there when it is looked at again."""
_LATER = "still being drawn: read this once more (from_image={}) to see it"
_drawings = Drawings()


async def with_figures_drawn(
    view: ResultView, reading: Reading, interpreter: Interpreter | None, tasks: Tasks
) -> ResultView:
    """A view that has the figures that are to be shown as pictures; what takes too long goes on as one of `tasks`."""
    if not may_have_figures(view.folded):
        return view
    view = replace(view, draws=await apart("results", libraries_drawn))
    wanted = await apart("results", figures_wanted, view, reading) if view.draws else {}
    if not wanted:
        return view
    ours = view.execution.kernel_id is not None
    drawing = tasks.begin(
        _drawings.of(list(wanted.values()), environment_of(interpreter), ours=ours), "drawing figures", awaited=True
    )
    await asyncio.wait({drawing}, timeout=_PATIENCE_S)
    if drawing.done() and not drawing.cancelled() and drawing.exception() is None:
        return replace(view, drawings=dict(zip(wanted, drawing.result(), strict=True)))
    failed = drawing.done() and not drawing.cancelled()
    why = str(drawing.exception()) if failed else ""
    return replace(view, drawings={number: why or _LATER.format(number) for number in wanted})
