"""supervisor/follow: what an execution prints and shows, as it comes, for a terminal."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import mcp_types as types

from kernel_supervisor.core.model import Execution, Message
from kernel_supervisor.mcp.methods import Context
from kernel_supervisor.sessions import answering, reading
from kernel_supervisor.sessions.ticket import Ticket


class FollowParams(types.RequestParams):
    """supervisor/follow. On the wire in camel case, as all of MCP: `executionId`."""

    execution_id: int


async def follow(ctx: Context, params: FollowParams) -> dict[str, Any]:
    """Everything an execution prints and shows, as it comes: each progress message is one Jupyter message."""
    caller = ctx.lifespan_context
    await caller.ready.wait()
    execution, ticket = await caller.supervisor.executions.find(params.execution_id)
    news: asyncio.Queue[Message | None] = asyncio.Queue()
    if ticket is not None:
        ticket.listeners.append(news.put_nowait)
        settled = asyncio.create_task(ticket.settled.wait(), name=f"follow execution {execution.id}")
        settled.add_done_callback(lambda task: news.put_nowait(None))
        await answering.caught_up(ticket)
    seen: set[str] = set()
    await _pass_on_recorded(ctx, execution, ticket, seen)
    if ticket is not None:
        try:
            while (message := await news.get()) is not None:
                if message.msg_type == "input_request":  # it overtakes what was printed before it, on another socket
                    await _pass_on_recorded(ctx, execution, ticket, seen)
                await _pass_on(ctx, message, seen)
        finally:
            ticket.listeners.remove(news.put_nowait)
            settled.cancel()
        execution = ticket.execution
    return {
        "status": execution.status,
        "reason": execution.reason,
        "execution_count": execution.execution_count,
    }


async def _pass_on_recorded(ctx: Context, execution: Execution, ticket: Ticket | None, seen: set[str]) -> None:
    recorded = await asyncio.to_thread(lambda: list(reading.messages_of(ticket.execution if ticket else execution)))
    for item in recorded:
        if isinstance(item, Message) and not (item.msg_type == "input_request" and _is_not_open(item, ticket)):
            await _pass_on(ctx, item, seen)


def _is_not_open(question: Message, ticket: Ticket | None) -> bool:
    """Whether a question of the log is over, or so new that it is still to be heard: then it is told as news."""
    return ticket is None or ticket.question is None or ticket.question.id != question.msg_id


async def _pass_on(ctx: Context, message: Message, seen: set[str]) -> None:
    if message.msg_id in seen:
        return
    seen.add(message.msg_id)
    fields = {"msg_id": message.msg_id, "msg_type": message.msg_type, "content": message.content}
    text = json.dumps(fields, default=str)
    await ctx.session.report_progress(len(seen), message=text)
