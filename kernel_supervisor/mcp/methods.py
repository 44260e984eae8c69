"""Methods of our own beside MCP's, for the command line and our provisioner; no agent sees them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import SessionRecord
from kernel_supervisor.core.retention import Policy
from kernel_supervisor.keeping import DAY_S
from kernel_supervisor.mcp import following, overview, restored, tools_checkpoints
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.carried import Context, method
from kernel_supervisor.mcp.ways import sent
from kernel_supervisor.sessions import forgetting, naming, stock, sweeping


class StopParams(types.RequestParams):
    """supervisor/shutdown."""

    kernels: bool = False
    why: str = ""
    """Why the kernels end, where it is not because somebody wanted that."""


class SessionParams(types.RequestParams):
    """supervisor/forget, supervisor/which, supervisor/place, supervisor/checkpoints."""

    session: str = ""


class HeldParams(types.RequestParams):
    """supervisor/held."""

    session: str = ""
    checkpoint: str
    """Its name, its id or `last`; `SESSION:NAME` for one of another session."""


class PruneParams(types.RequestParams):
    """supervisor/due, supervisor/prune, supervisor/drop.

    Camel case on the wire. Without `days` and `total` it is the policy's.
    """

    days: float | None = None
    total: int | None = None
    wanted: tuple[str, ...] = ()
    """What is to go of what is due, by name."""


def add_methods(server: Server[Caller]) -> None:
    """Let the server answer them."""
    server.add_request_handler("supervisor/status", types.RequestParams, _status)
    server.add_request_handler("supervisor/shutdown", StopParams, _stop)
    server.add_request_handler("supervisor/hand_over", types.RequestParams, _hand_over)
    server.add_request_handler("supervisor/sessions", types.RequestParams, method(_sessions))
    server.add_request_handler("supervisor/kept", types.RequestParams, method(_kept))
    server.add_request_handler("supervisor/due", PruneParams, method(_due))
    server.add_request_handler("supervisor/prune", PruneParams, method(_prune))
    server.add_request_handler("supervisor/forget", SessionParams, method(_forget))
    server.add_request_handler("supervisor/checkpoints", SessionParams, method(_checkpoints))
    server.add_request_handler("supervisor/held", HeldParams, method(_held))
    server.add_request_handler("supervisor/drop", PruneParams, method(_drop))
    server.add_request_handler("supervisor/which", SessionParams, method(_which))
    server.add_request_handler("supervisor/place", SessionParams, method(_place))
    server.add_request_handler("supervisor/overview", types.RequestParams, method(overview.overview))
    server.add_request_handler("supervisor/watch", overview.WatchParams, method(overview.watch, waits=True))
    server.add_request_handler("supervisor/follow", following.FollowParams, method(following.follow, waits=True))


async def _status(ctx: Context, params: types.RequestParams) -> dict[str, Any]:
    caller = ctx.lifespan_context
    supervisor = caller.supervisor
    return {
        **caller.admin.status(),
        "ready": caller.ready.is_set(),
        "kernels": len(supervisor.kernels.runners) + len(supervisor.kernels.adoption.records),
        "sessions": list(supervisor.sessions.known),
        "kernel_ids": [*supervisor.kernels.runners, *(each.id for each in supervisor.kernels.adoption.records)],
        "pids": supervisor.kernels.pids(),
        "standing_by": [asdict(each) for each in await supervisor.kernels.spares.standing()],
        "not_recorded": supervisor.records.not_recorded,
    }


async def _stop(ctx: Context, params: StopParams) -> dict[str, Any]:
    caller = ctx.lifespan_context
    if params.kernels:
        await caller.ready.wait()  # those that a predecessor left are ended too, politely where they answer
        await caller.supervisor.kernels.adoption.tried()
    caller.admin.stop(params.kernels, params.why)
    return {"stopping": True}


async def _hand_over(ctx: Context, params: types.RequestParams) -> dict[str, Any]:
    ctx.lifespan_context.admin.hand_over()
    return {"stopping": True}


async def _sessions(call: Call, params: types.RequestParams) -> dict[str, Any]:
    return {"sessions": [asdict(each) for each in await stock.kept(call.supervisor)]}


async def _kept(call: Call, params: types.RequestParams) -> dict[str, Any]:
    """How much is kept, and what is to be said of histories that are to go; from now on they count as told."""
    leaving = await sweeping.told(call.supervisor)
    facts = {"room": asdict(await sweeping.room(call.supervisor)), "leaving": leaving}
    return dict(sent(facts, call.caller.asker.ways))


def _policy(params: PruneParams) -> Policy | None:
    if params.days is None and params.total is None:
        return None
    return Policy(unused_s=None if params.days is None else params.days * DAY_S, total=params.total)


async def _due(call: Call, params: PruneParams) -> dict[str, Any]:
    found = await sweeping.due(call.supervisor, _policy(params))
    return {"due": [{**asdict(each.item), "why": each.why, "at": each.at} for each in found.due], "over": found.over}


async def _prune(call: Call, params: PruneParams) -> dict[str, Any]:
    gone = await sweeping.prune(call.supervisor, _policy(params), params.wanted)
    return {"gone": [asdict(each) for each in gone]}


async def _checkpoints(call: Call, params: SessionParams) -> dict[str, Any]:
    """Those of a session that is called so, or of all."""
    there = await call.supervisor.checkpoints.all()
    if params.session:
        session = await call.supervisor.sessions.of(call.caller.asker, params.session)
        there = [each for each in there if each.session == session.name]
    return {"checkpoints": restored.listed(there)}


async def _held(call: Call, params: HeldParams) -> dict[str, Any]:
    """What is in a checkpoint, by name, and what is not."""
    session = await call.supervisor.sessions.of(call.caller.asker, params.session)
    checkpoint = await tools_checkpoints.found(call, session, params.checkpoint)
    held = await call.supervisor.checkpoints.held(checkpoint)
    return {"checkpoint": restored.facts(checkpoint), "held": restored.held_facts(held)}


async def _drop(call: Call, params: PruneParams) -> dict[str, Any]:
    """Have checkpoints go, by their ids."""
    there = [each.id for each in await call.supervisor.checkpoints.all() if each.id in params.wanted]
    return {"size_bytes": await call.supervisor.checkpoints.drop(there)}


def _meant(caller: Caller, wanted: str) -> SessionRecord | None:
    return naming.meant(wanted, caller.asker.directory, caller.supervisor.sessions.known)


async def _which(call: Call, params: SessionParams) -> dict[str, Any]:
    """The session on record that is meant by a name, where it is to be ended; empty where none is called so."""
    caller = call.caller
    session = _meant(caller, params.session)
    own = session is not None and session.directory == caller.asker.directory and "/" not in params.session
    return {
        "session": session.name if session is not None else "",
        "directory": session.directory if session is not None else "",
        "above": caller.whereabouts.above and own,
        "why": "" if session is not None else naming.missing(params.session, caller.supervisor.sessions.known),
    }


async def _place(call: Call, params: SessionParams) -> dict[str, Any]:
    """What to know of the session that a command line is about to work in, before it does."""
    caller = call.caller
    session = await caller.supervisor.sessions.of(caller.asker, params.session)
    known = session.name in caller.supervisor.sessions.known
    wanted = params.session or caller.asker.session
    return {
        "session": session.name,
        "directory": session.directory,
        "above": caller.whereabouts.above and "/" not in wanted,
        "notice": "" if known else session.notice,
        "why": "" if known else naming.missing(wanted, caller.supervisor.sessions.known),
    }


async def _forget(call: Call, params: SessionParams) -> dict[str, Any]:
    """Once, also where the call was sent again to a daemon that finds the session gone."""
    caller = call.caller
    supervisor = caller.supervisor
    before = await call.once.known()
    if before is None or "session" not in before:  # as an older version noted it
        session = _meant(caller, params.session)
        if session is None:
            raise RefusedError(naming.missing(params.session, supervisor.sessions.known))
        before = {"session": session.name}
        await call.once.begin_durably("forget", **before)
    elif before["session"] not in supervisor.sessions.known:
        return {"size_bytes": 0, **before}
    return {"size_bytes": await forgetting.forget(supervisor, before["session"]), **before}
