"""supervisor/follow: what an execution prints and shows, as it comes, for a terminal."""

from __future__ import annotations

import json
from typing import Any

import mcp_types as types

from kernel_supervisor.mcp.methods import Context


class FollowParams(types.RequestParams):
    """supervisor/follow. On the wire in camel case, as all of MCP: `executionId`."""

    execution_id: int


async def follow(ctx: Context, params: FollowParams) -> dict[str, Any]:
    """Everything an execution prints and shows, as it comes: each progress message is one Jupyter message."""
    caller, number = ctx.lifespan_context, 0
    await caller.ready.wait()
    execution, ticket = await caller.supervisor.executions.find(params.execution_id)
    async for message in caller.supervisor.executions.follow(execution, ticket):
        number += 1
        fields = {"msg_id": message.msg_id, "msg_type": message.msg_type, "content": message.content}
        await ctx.session.report_progress(number, message=json.dumps(fields, default=str))
    execution = ticket.execution if ticket is not None else execution
    return {
        "status": execution.status,
        "reason": execution.reason,
        "execution_count": execution.execution_count,
    }
