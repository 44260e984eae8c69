"""The tasks extension (io.modelcontextprotocol/tasks, SEP-2663): a long cell as a handle that its client polls.

A task is its execution: durable from the start, known to the next daemon, the same for every client of its user.
A client that declares the extension gets one where it would be told that its cell still runs.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from kernel_supervisor.core.model import Execution
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.mcp import asking
from kernel_supervisor.mcp.call import Answer, Call, how_it_goes
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.carried import method
from kernel_supervisor.mcp.view import Reading
from kernel_supervisor.mcp.ways import said
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import answering

EXTENSION = "io.modelcontextprotocol/tasks"
_NAME = "execution-"
"""With which the name of a task begins; a version before this one left it away."""
_POLL_MS = 2000
_CANCELLED = "the client cancelled its task"


class TaskParams(types.InputResponseRequestParams):
    """tasks/get, tasks/cancel, and with answers tasks/update."""

    task_id: str


def serve(server: Server[Caller]) -> None:
    """Have a server serve the extension."""
    server.extensions[EXTENSION] = {}
    for name, run in (("tasks/get", _get), ("tasks/update", _update), ("tasks/cancel", _cancel)):
        server.add_request_handler(name, TaskParams, method(run, waits=True))


def declared(call: Call) -> bool:
    """Whether this request's client can be given a task."""
    return EXTENSION in (call.capabilities.extensions or {}) and call.ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def created(execution: Execution, reading: Reading) -> Answer:
    """The handle of an execution that goes on. What its result is to show is part of its name, which agents read."""
    task = _state(f"{_NAME}{execution.id}-{reading.max_chars}", execution)
    return Answer(instead={"resultType": "task", **task, "status": "working"})


async def _get(call: Call, params: TaskParams) -> dict[str, Any]:
    execution, ticket, reading = await _find(call, params.task_id)
    state = _state(params.task_id, execution)
    if ticket is not None and not ticket.settled.is_set():
        if ticket.question is None:
            return {**state, "status": "working", "statusMessage": await how_it_goes(ticket)}
        if ticket.question.id in call.caller.unanswered:
            return await _completed(call, execution, ticket, reading, state)
        form = types.ElicitRequest(params=asking.form(ticket.execution, ticket.question))
        requests = {ticket.question.id: form.model_dump(by_alias=True, mode="json", exclude_none=True)}
        return {**state, "status": "input_required", "inputRequests": requests}
    if execution.reason == _CANCELLED:
        return {**state, "status": "cancelled", "statusMessage": f"execution {execution.id} was stopped"}
    return await _completed(call, execution, ticket, reading, state)


async def _completed(
    call: Call, execution: Execution, ticket: Ticket | None, reading: Reading, state: dict[str, Any]
) -> dict[str, Any]:
    """A task whose client can do no more for it: its cell is over, or asks somebody else."""
    result = _naming_images(execution, await call.show(execution, ticket, reading)).result(call.reader)
    shown = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {**state, "status": "completed", "result": shown}


def _naming_images(execution: Execution, answer: Answer) -> Answer:
    """A task's result, which says how its images are seen: clients may make files of those that come with it."""
    if not answer.facts["images"]:
        return answer
    words = said(("To see its images", WayOn("see images", (execution.id, 1))))
    return replace(answer, content=[*(answer.content or ()), words])


async def _update(call: Call, params: TaskParams) -> dict[str, Any]:
    """Answers to what the cell asks; those to what it does not ask (any more) are passed over."""
    _, ticket, _ = await _find(call, params.task_id)
    for question, given in (params.input_responses or {}).items():
        if ticket is not None and (text := asking.answer_of(call, ticket.execution, question, given)) is not None:
            await answering.give_once(call.supervisor, ticket, question, text, call.once)
    return {}


async def _cancel(call: Call, params: TaskParams) -> dict[str, Any]:
    execution, ticket, _ = await _find(call, params.task_id)
    if ticket is not None:
        call.caller.cancelled[execution.session].append(execution.id)
        await call.supervisor.stop(execution, _CANCELLED)
    return {}


async def _find(call: Call, task_id: str) -> tuple[Execution, Ticket | None, Reading]:
    if not declared(call):
        data: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"{EXTENSION} was not declared", data)
    number, _, chars = task_id.removeprefix(_NAME).partition("-")
    if not (number.isdecimal() and chars.isdecimal() and len(task_id) < 40):
        raise MCPError(types.INVALID_PARAMS, f"there is no task {task_id[:40]!r}")
    execution, ticket = await call.supervisor.executions.find(int(number))
    if ticket is not None:
        await answering.caught_up(ticket)
        execution = ticket.execution
    return execution, ticket, Reading(max_chars=int(chars))


def _state(task_id: str, execution: Execution) -> dict[str, Any]:
    changed = execution.finished_at or execution.started_at or execution.queued_at
    return {
        "taskId": task_id,
        "createdAt": _iso(execution.queued_at),
        "lastUpdatedAt": _iso(changed),
        "ttlMs": None,
        "pollIntervalMs": _POLL_MS,
    }


def _iso(at: float | None) -> str:
    return datetime.fromtimestamp(at or 0.0, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
