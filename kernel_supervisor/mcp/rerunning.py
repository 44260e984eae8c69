"""Cells that were run or loaded before, run in order: each once however often the call is sent that asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kernel_supervisor.core.model import Execution, SessionRecord
from kernel_supervisor.mcp.call import PROGRESS_S, Call
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import loading

_MAY_FAIL, _NOT_RUN = "raises-exception", "skip-execution"
"""Tags of cells, as nbclient has them."""


async def run(
    call: Call, session: SessionRecord, cells: Sequence[Execution], why: str, *, loaded: bool = False
) -> tuple[int, Ticket | None]:
    """How many cells ran, up to the first that failed and was not to: that one, if there is one.

    Of `loaded` ones, whose entries they replace, those tagged to be skipped are, and those tagged to raise may: so do
    the notebooks that we write run again.
    """
    done = 0
    for index, cell in enumerate(cells):
        tags = await asyncio.to_thread(loading.tags_of, cell) if loaded else frozenset()
        if _NOT_RUN in tags:
            continue
        key = await _key(call, cell, why, index)
        if call.caller.gave_up(call.number):  # from here on nothing comes between, and what cancels the call finds it
            break
        ticket = await _again(call, session, cell, key, replaces=loaded)
        if ticket.execution.status != "ok" and not (ticket.execution.status == "error" and _MAY_FAIL in tags):
            return done, ticket
        done += 1
    return done, None


async def _key(call: Call, cell: Execution, why: str, index: int) -> str:
    """By what one of them is known: its `index` among those that the call runs; a version before this one, which may
    have begun this call, knew it by its entry."""
    older = f"{call.key}:{why}:{cell.id}"
    began_before = await call.supervisor.records.execution_of_call(older) is not None
    return older if began_before else f"{call.key}:{why}-{index}"


async def _again(call: Call, session: SessionRecord, cell: Execution, key: str, *, replaces: bool) -> Ticket:
    """Run one of them, until it is over or waits for something."""
    supervisor = call.supervisor
    session, before = supervisor.sessions.known.get(session.name, session), cell.id if replaces else None
    ticket = await supervisor.executions.execute(
        session, cell.source, call.caller.asker, call.client, key, before, again=call.again
    )
    while call.goes_on(ticket):
        await call.wait(ticket, PROGRESS_S)
    return ticket
