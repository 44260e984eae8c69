"""The MCP server: one `Server` of the SDK for all connections, and the border where errors become results."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler

from kernel_supervisor import __version__
from kernel_supervisor.core.errors import RefusedError, SupervisorError
from kernel_supervisor.core.ways import Words
from kernel_supervisor.mcp import jupyter, methods, notices, prompts, resources, tasks, whereabouts
from kernel_supervisor.mcp.arguments import parse
from kernel_supervisor.mcp.call import Answer, Call
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.carried import Context, carried_through, placed
from kernel_supervisor.mcp.registry import INSTRUCTIONS, TOOLS, listed
from kernel_supervisor.mcp.resources import Changes

log = logging.getLogger(__name__)
_T = TypeVar("_T")
_QUOTED = 80
"""Characters of a tool's name that is none."""


def build(changes: Changes) -> Server[Caller]:
    """The server. Each connection's `Caller` is the lifespan state that its calls get."""
    server: Server[Caller] = Server(
        "kernel-supervisor",
        version=__version__,
        title="Kernel Supervisor",
        instructions=INSTRUCTIONS,
        on_list_tools=_always(lambda: types.ListToolsResult(tools=listed())),
        on_list_resources=placed(resources.listed),
        on_list_resource_templates=_always(
            lambda: types.ListResourceTemplatesResult(resource_templates=resources.TEMPLATES)
        ),
        on_read_resource=placed(resources.read),
        on_subscribe_resource=_subscribe,
        on_unsubscribe_resource=_unsubscribe,
        on_subscriptions_listen=ListenHandler(changes.bus),
        on_list_prompts=_always(lambda: types.ListPromptsResult(prompts=prompts.listed())),
        on_get_prompt=placed(prompts.get),
    )
    server.add_request_handler("tools/call", types.CallToolRequestParams, _call_tool)
    tasks.serve(server)
    server.middleware.clear()  # OpenTelemetry's: a span for each message, for nobody
    methods.add_methods(server)
    jupyter.add_methods(server)
    return server


def _always(result: Callable[[], _T]) -> Callable[[Context, Any], Awaitable[_T]]:
    """A list that is the same for everybody."""

    async def answer(ctx: Context, params: Any) -> _T:
        return result()

    return answer


async def _call_tool(
    ctx: Context, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult | dict[str, Any]:
    """Run a tool. What could not be done is a result with `isError`; a cell that raised is not among it."""
    caller, call = ctx.lifespan_context, replace(Call.of(ctx), params=params)
    await caller.ready.wait()
    try:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise RefusedError(_unknown_tool(params.name))
        given = parse(tool.model, params.arguments)
        if (question := await whereabouts.settle(call)) is not None:
            return question
        work = tool(call, given)
        answer = await (work if tool.waits else carried_through(work, params.name))
        if not tool.annotations.read_only_hint:
            await notices.acted(caller, call.about, call.shown)
    except SupervisorError as error:
        answer = _failed(error.words)
    except Exception as error:
        log.exception("%s failed", params.name)
        why = f"{params.name} failed inside the supervisor ({type(error).__name__}: {error}); its log has more"
        answer = _failed((why,))
    answer = await call.with_notices(answer)
    return answer.instead or answer.result(call.reader, call.ways, whole=caller.asker.ways is not None)


def _unknown_tool(wanted: str) -> str:
    name = wanted[:_QUOTED]
    near = difflib.get_close_matches(name, TOOLS, 3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"there is no tool {name!r}.{hint} The tools are: {', '.join(TOOLS)}."


def _failed(words: Words) -> Answer:
    return Answer(text=words, facts={"error": words}, error=True)


async def _subscribe(ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
    ctx.lifespan_context.subscribed.add(str(params.uri))
    return types.EmptyResult()


async def _unsubscribe(ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    ctx.lifespan_context.subscribed.discard(str(params.uri))
    return types.EmptyResult()
