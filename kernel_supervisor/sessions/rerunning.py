"""Cells that were run or loaded before, run in order: each once however often that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kernel_supervisor.core.model import Execution
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import loading

_MAY_FAIL, _NOT_RUN = "raises-exception", "skip-execution"
"""Tags of cells, as nbclient has them."""
SeeThrough = Callable[[int, Execution], Awaitable[Ticket]]
"""Runs the source of a cell, which has this index among those to be run, until it is over or waits for something."""


async def run(
    cells: Sequence[Execution], see_through: SeeThrough, *, loaded: bool = False
) -> tuple[int, Ticket | None]:
    """How many cells ran, up to the first that failed and was not to: that one, if there is one.

    Of `loaded` ones those tagged to be skipped are, and those tagged to raise may: so do the notebooks that we write
    run again.
    """
    done = 0
    for index, cell in enumerate(cells):
        tags = await asyncio.to_thread(loading.tags_of, cell) if loaded else frozenset()
        if _NOT_RUN in tags:
            continue
        ticket = await see_through(index, cell)
        if ticket.execution.status != "ok" and not (ticket.execution.status == "error" and _MAY_FAIL in tags):
            return done, ticket
        done += 1
    return done, None
