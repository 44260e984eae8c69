"""Methods of our own beside MCP's, for the command line and our provisioner; no agent sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

from kernel_supervisor.core.errors import RefusedError, SupervisorError
from kernel_supervisor.core.model import SessionRecord
from kernel_supervisor.mcp import whereabouts
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.sessions import forgetting, naming

Context = ServerRequestContext[Caller]
_Run = Callable[[Context, Any], Awaitable[dict[str, Any]]]


class SessionParams(types.RequestParams):
    """supervisor/forget, supervisor/which, supervisor/place."""

    session: str = ""


def told(run: _Run) -> _Run:
    """The method, carried through whatever becomes of its client; what could not be done is `error` in its result."""

    async def answer(ctx: Context, params: Any) -> dict[str, Any]:
        await ctx.lifespan_context.ready.wait()
        whereabouts.above(ctx.lifespan_context)
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
    """Let the server say which session is meant, list sessions and forget them."""
    server.add_request_handler("supervisor/sessions", types.RequestParams, told(_sessions))
    server.add_request_handler("supervisor/forget", SessionParams, told(_forget))
    server.add_request_handler("supervisor/which", SessionParams, told(_which))
    server.add_request_handler("supervisor/place", SessionParams, told(_place))


async def _sessions(ctx: Context, params: types.RequestParams) -> dict[str, Any]:
    return {"sessions": [asdict(each) for each in await forgetting.kept(ctx.lifespan_context.supervisor)]}


def _meant(caller: Caller, wanted: str) -> SessionRecord | None:
    return naming.meant(wanted, caller.asker.directory, caller.supervisor.sessions.known)


async def _which(ctx: Context, params: SessionParams) -> dict[str, Any]:
    """The session on record that is meant by a name, where it is to be ended; empty where none is called so."""
    caller = ctx.lifespan_context
    session = _meant(caller, params.session)
    own = session is not None and session.directory == caller.asker.directory and "/" not in params.session
    return {
        "session": session.name if session is not None else "",
        "directory": session.directory if session is not None else "",
        "above": caller.whereabouts.above and own,
        "why": "" if session is not None else naming.missing(params.session, caller.supervisor.sessions.known),
    }


async def _place(ctx: Context, params: SessionParams) -> dict[str, Any]:
    """What to know of the session that a command line is about to work in, before it does."""
    caller = ctx.lifespan_context
    session = await caller.supervisor.sessions.of(caller.asker, params.session)
    spelled = "/" in (params.session or caller.asker.session)
    return {
        "session": session.name,
        "directory": session.directory,
        "above": caller.whereabouts.above and not spelled,
        "notice": "" if session.name in caller.supervisor.sessions.known else session.notice,
    }


async def _forget(ctx: Context, params: SessionParams) -> dict[str, Any]:
    """Once, also where the call was sent again to a daemon that finds the session gone."""
    caller = ctx.lifespan_context
    supervisor = caller.supervisor
    assert isinstance(ctx.request, int)
    key = caller.call_key(ctx.request)
    before = await supervisor.records.intent_of(key)
    if before is None or "session" not in before:  # as an older version noted it
        session = _meant(caller, params.session)
        if session is None:
            raise RefusedError(naming.missing(params.session, supervisor.sessions.known))
        before = {"session": session.name}
        await supervisor.records.begin_call(key, caller.asker.client_id, "forget", before)
    elif before["session"] not in supervisor.sessions.known:
        return {"size_bytes": 0, **before}
    return {"size_bytes": await forgetting.forget(supervisor, before["session"]), **before}
