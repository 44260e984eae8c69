"""supervisor/follow: what an execution prints and shows, as it comes, for a terminal."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp_types as types

from kernel_supervisor.core.model import Mark, Message
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.wording import remark
from kernel_supervisor.outputs.area import Output, display_output, outputs_of
from kernel_supervisor.outputs.transcript import is_markdown, pictured, shown
from kernel_supervisor.records.stream import Place
from kernel_supervisor.tasks import apart

_SHOWING = ("display_data", "execute_result", "update_display_data", "execute_reply")
PATIENCE_S = 20.0
"""How long a request waits for something to tell."""


class FollowParams(types.RequestParams):
    """supervisor/follow. On the wire in camel case, as all of MCP: `executionId`."""

    execution_id: int
    place: list[int]
    """Where to go on, as the result before this one said; empty for the beginning."""


async def follow(call: Call, params: FollowParams) -> dict[str, Any]:
    """The next `messages` of an execution, and the `place` to go on from; without one where that is all."""
    execution, ticket = await call.supervisor.executions.find(params.execution_id)
    before = Place(*params.place) if params.place else None
    try:
        reading = call.supervisor.executions.read_on(execution, ticket, before)
        messages, place = await asyncio.wait_for(reading, PATIENCE_S)
    except asyncio.TimeoutError:
        return {"messages": [], "place": params.place}
    told: dict[str, Any] = {"messages": await apart("results", all_told, messages), "place": place}
    if place is not None:
        return told
    execution = ticket.execution if ticket is not None else execution
    return {**told, "status": execution.status, "reason": execution.reason}


def all_told(items: list[Message | Mark]) -> list[dict[str, Any]]:
    """What was shown, as a terminal is told of it."""
    return [_told(each) for each in items]


def _told(item: Message | Mark) -> dict[str, Any]:
    if isinstance(item, Mark):
        return {"msg_id": "", "msg_type": "mark", "content": {"text": remark(item)}}
    told: dict[str, Any] = {"msg_id": item.msg_id, "msg_type": item.msg_type, "content": item.content}
    if item.msg_type in _SHOWING:
        told["shown"] = [_shown(each) for each in _outputs(item)]
    return told


def _outputs(message: Message) -> list[Output]:
    if message.msg_type == "update_display_data":
        return [display_output(message, "display_data")]
    return [each for each in outputs_of(message) if "data" in each]


def _shown(output: Output) -> dict[str, Any]:
    """An output as agents see it: its text, and its picture's type and data; either may be empty."""
    data = output["data"]
    text, mime = shown(data)
    mime, picture = pictured(data, mime)
    return {"text": text, "markdown": text != "" and is_markdown(data), "mime": mime, "data": picture}
