"""Methods of our own beside MCP's, for the command line and our provisioner; no agent sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.core.model import SessionName
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.sessions import forgetting

Context = ServerRequestContext[Caller]
_Run = Callable[[Context, Any], Awaitable[dict[str, Any]]]


class ForgetParams(types.RequestParams):
    """supervisor/forget."""

    session: str


def told(run: _Run) -> _Run:
    """The method, carried through whatever becomes of its client; what could not be done is `error` in its result."""

    async def answer(ctx: Context, params: Any) -> dict[str, Any]:
        await ctx.lifespan_context.ready.wait()
        task = asyncio.ensure_future(run(ctx, params))
        _under_way.add(task)
        task.add_done_callback(_under_way.discard)
        try:
            return await asyncio.shield(task)  # half a restart would be worse than all of it
        except SupervisorError as error:
            return {"error": str(error)}

    return answer


_under_way: set[asyncio.Future[dict[str, Any]]] = set()


def add_methods(server: Server[Caller]) -> None:
    """Let the server list sessions and forget them."""
    server.add_request_handler("supervisor/sessions", types.RequestParams, told(_sessions))
    server.add_request_handler("supervisor/forget", ForgetParams, told(_forget))


async def _sessions(ctx: Context, params: types.RequestParams) -> dict[str, Any]:
    return {"sessions": [asdict(each) for each in await forgetting.kept(ctx.lifespan_context.supervisor)]}


async def _forget(ctx: Context, params: ForgetParams) -> dict[str, Any]:
    """Once, also where the call was sent again to a daemon that finds the session gone."""
    caller, name = ctx.lifespan_context, SessionName(params.session)
    supervisor = caller.supervisor
    assert isinstance(ctx.request, int)
    known = {"known": name in supervisor.sessions.known}
    key = caller.call_key(ctx.request)
    before = await supervisor.records.begin_call(key, caller.asker.client_id, "forget", known)
    if before["known"] and not known["known"]:
        return {"size_bytes": 0}
    return {"size_bytes": await forgetting.forget(supervisor, name)}
