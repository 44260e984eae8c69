"""supervisor/follow: what an execution prints and shows, as it comes, for a terminal."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types

from kernel_supervisor.core.model import Execution, Message
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.records.stream import Place

_PATIENCE_S = 20.0
"""How long a request waits for something to tell."""


class FollowParams(types.RequestParams):
    """supervisor/follow. On the wire in camel case, as all of MCP: `executionId`."""

    execution_id: int
    place: list[int] | None = None
    """Where to go on, as the result before this one said; empty for the beginning. Command lines of versions before
    this one name none: they are told in progress messages."""


async def follow(call: Call, params: FollowParams) -> dict[str, Any]:
    """The next `messages` of an execution, and the `place` to go on from; without one where that is all."""
    execution, ticket = await call.supervisor.executions.find(params.execution_id)
    if params.place is None:
        return await _push(call, execution)
    before = Place(*params.place) if params.place else None
    try:
        reading = call.supervisor.executions.read_on(execution, ticket, before)
        messages, place = await asyncio.wait_for(reading, _PATIENCE_S)
    except asyncio.TimeoutError:
        return {"messages": [], "place": params.place}
    told = {"messages": list(map(_fields, messages)), "place": place}
    return told if place is not None else {**told, **_outcome(ticket.execution if ticket is not None else execution)}


async def _push(call: Call, execution: Execution) -> dict[str, Any]:
    executions, place, number = call.supervisor.executions, None, 0
    while True:
        execution, ticket = await executions.find(execution.id)
        messages, place = await executions.read_on(execution, ticket, place)
        for message in messages:
            number += 1
            await call.ctx.session.report_progress(number, message=json.dumps(_fields(message), default=str))
        if place is None:
            return _outcome(ticket.execution if ticket is not None else execution)


def _fields(message: Message) -> dict[str, Any]:
    return {"msg_id": message.msg_id, "msg_type": message.msg_type, "content": message.content}


def _outcome(execution: Execution) -> dict[str, Any]:
    return {"status": execution.status, "reason": execution.reason, "execution_count": execution.execution_count}
