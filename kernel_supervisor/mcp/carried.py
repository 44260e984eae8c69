"""How tools and other methods are run: from where their client works, carried through, with progress, and refused in
one way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from kernel_supervisor.core.errors import SupervisorError
from kernel_supervisor.mcp import whereabouts
from kernel_supervisor.mcp.call import PROGRESS_S, Call
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.ways import said
from kernel_supervisor.tasks import Tasks, happens

Context = ServerRequestContext[Caller]
_T = TypeVar("_T")
_Run = Callable[[Call, Any], Coroutine[Any, Any, dict[str, Any]]]
_under_way = Tasks()
_APART_S = 0.2
"""Progress goes out no faster than this: its numbers have to rise."""


async def carried_through(work: Coroutine[Any, Any, _T], name: str) -> _T:
    """A restart, a switch, a document: half of it would be worse than all of it, whatever becomes of the client."""
    return await asyncio.shield(_under_way.begin(work, name, awaited=True))


def method(run: _Run, *, waits: bool = False) -> Callable[[Context, Any], Awaitable[dict[str, Any]]]:
    """A method of ours: carried through, but where it `waits`. What could not be done is an error of JSON-RPC."""

    async def answer(ctx: Context, params: Any) -> dict[str, Any]:
        call = Call.of(ctx)
        await call.caller.ready.wait()
        whereabouts.above(call.caller)
        work = run(call, params)
        try:
            return await (work if waits else carried_through(work, run.__name__))
        except SupervisorError as error:
            raise refused(call, error) from None

    return answer


def placed(run: Callable[[Call, Any], Awaitable[_T]]) -> Callable[[Context, Any], Awaitable[_T]]:
    """A method of MCP's own that is about sessions: since 2026-07-28 only tools may ask for roots."""

    async def answer(ctx: Context, params: Any) -> _T:
        call = Call.of(ctx)
        await call.caller.ready.wait()
        await whereabouts.settle(call)
        return await run(call, params)

    return answer


def refused(call: Call, error: SupervisorError) -> MCPError:
    """The error of JSON-RPC that says why something was refused."""
    return MCPError(types.INVALID_PARAMS, said(error.words, call.ways))


async def with_progress(call: Call, words: str, work: Callable[[Callable[[str], None]], Awaitable[_T]]) -> _T:
    """What `work` makes, while the client is told `words`, then the newest that `work` says, and that again while it
    says nothing. `work` may say it from any thread."""
    loop = asyncio.get_running_loop()
    lines, news = [words], asyncio.Event()

    def hear(line: str) -> None:
        lines.append(line)
        loop.call_soon_threadsafe(news.set)

    async def tell() -> None:
        while True:
            news.clear()
            await call.progress(lines[-1])
            await asyncio.sleep(_APART_S)
            await happens(news, PROGRESS_S)

    telling = asyncio.create_task(tell(), name="progress")
    try:
        return await work(hear)
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
