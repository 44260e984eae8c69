"""A cell's question brought to the user, by whatever way the client has: asked at once, asked with a retry, or told.

2026-07-28: the call answers with an `InputRequiredResult`, and the client makes it again with the user's answer and
our `request_state`; such a call joins its execution and never runs its code. Before: `elicitation/create`. A client
that can do neither gets what there is, with the status `waiting for input`, and answers by kernel_reply; so does one
that says `cancel`, as programs do that have nobody to ask.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, Question
from kernel_supervisor.inside.questions import END_OF_FILE
from kernel_supervisor.mcp.call import PROGRESS_S, Answer, Call
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import answering
from kernel_supervisor.tasks import happens

_FIELD = "answer"
_STATE = re.compile(r"(\d{1,20})/([^/]{,99})/(\d{1,20})")
_ROUNDS = 8
"""Questions that one call asks with retries: the SDKs' clients give up at ten. More are answered by kernel_reply."""
_LONGEST = 2000
_FOREIGN_STATE = "request_state is not one of a kernel_exec of this code: make the call without it to run the code"


async def see_through(call: Call, ticket: Ticket, patience_s: float) -> Answer | None:
    """Wait for an execution's end, `patience_s` at most, and ask the user meanwhile what it asks.

    The answer that has the client ask, where it is to do so and make its call again.
    """
    end = time.monotonic() + patience_s
    while True:
        await call.wait(ticket, end - time.monotonic())
        question = ticket.question
        if question is None or call.caller.admin.stopping.is_set() or not _can_be_asked(call):
            break
        if question.id in call.caller.unanswered:
            break
        if not call.ctx.session.can_send_request:
            _, _, rounds = _state(call)
            if rounds < _ROUNDS:
                asked = types.ElicitRequest(params=form(ticket.execution, question))
                state = f"{ticket.execution.id}/{question.id}/{rounds + 1}"
                return Answer(instead=types.InputRequiredResult(input_requests={_FIELD: asked}, request_state=state))
            break
        given = await _elicited(call, ticket, question, end)
        if (text := answer_of(call, ticket.execution, question.id, given)) is not None:
            await answering.give(call.supervisor, ticket, question, text)
        elif ticket.question == question:
            break  # the time is up, nobody answered, or the client cannot be asked after all
    return None


async def joined(call: Call, code: str) -> tuple[Execution, Ticket | None]:
    """The execution that a retried call is about, the user's answer given to it. Raises RefusedError.

    The state needs no seal: it names nothing that its client could not name in kernel_reply.
    """
    number, question, _ = _state(call)
    execution, ticket = await call.supervisor.executions.find(number)
    if execution.source != code:
        raise RefusedError(_FOREIGN_STATE)
    given = (call.params.input_responses or {}).get(_FIELD)
    if ticket is not None and (text := answer_of(call, execution, question, given)) is not None:
        await answering.give_once(call.supervisor, ticket, question, text, call.once)
    return execution, ticket


def answer_of(call: Call, execution: Execution, question: str, given: object) -> str | None:
    """What the cell gets for what a client answers; None for no answer. One that had nobody to ask is asked no more."""
    if not isinstance(given, types.ElicitResult):
        return None
    if given.action == "cancel":
        call.caller.unanswered.add(question)
        return None
    if given.action == "decline":
        call.caller.notices[execution.session].append(
            f"the user, or the client by itself, declined to answer what execution {execution.id} asked: its input() "
            "raised EOFError"
        )
    return _text_of(given)


def joined_by(params: dict[str, Any]) -> int:
    """The execution that a retried call is about, by its `params`; 0 for a call that is made for the first time."""
    given = params.get("requestState")
    found = _STATE.fullmatch(given) if isinstance(given, str) else None
    return int(found[1]) if found is not None else 0


def _state(call: Call) -> tuple[int, str, int]:
    """The execution, the question and the rounds of a `request_state` of ours. Raises RefusedError for another."""
    given = call.params.request_state
    if given is None:
        return 0, "", 0
    found = _STATE.fullmatch(given)
    if found is None:
        raise RefusedError(_FOREIGN_STATE)
    return int(found[1]), found[2], int(found[3])


def _can_be_asked(call: Call) -> bool:
    """Whether the client declared that it shows forms. (A client that declares nothing of them means these.)"""
    declared = call.capabilities.elicitation
    return declared is not None and (declared.form is not None or declared.url is None)


def form(execution: Execution, question: Question) -> types.ElicitRequestFormParams:
    """A question as clients show it to their users."""
    prompt = plain(question.prompt[:_LONGEST]).strip()
    what = "a password" if question.password else "a line of input"
    message = f"The cell that runs in session {execution.session} asks for {what}" + (f": {prompt}" if prompt else ".")
    if question.password:
        message += " (It is kept nowhere, but your client may show what you type.)"
    title = "Password" if question.password else "Answer"
    schema: dict[str, Any] = {"type": "object", "properties": {_FIELD: {"type": "string", "title": title}}}
    return types.ElicitRequestFormParams(message=message, requested_schema=schema)


def _text_of(result: types.ElicitResult) -> str:
    """What the cell gets: nothing is an empty line; who declines to answer ends the input."""
    if result.action != "accept":
        return END_OF_FILE
    value = (result.content or {}).get(_FIELD)
    return "" if value is None else str(value)


async def _elicited(call: Call, ticket: Ticket, question: Question, end: float) -> types.ElicitResult | None:
    """What the client answers; None where the question is over, the time is up, or it says that it cannot ask."""
    shown = form(ticket.execution, question)
    session = call.ctx.session
    asking = asyncio.create_task(
        session.elicit_form(shown.message, shown.requested_schema, related_request_id=call.ctx.request_id),
        name=f"question of execution {ticket.execution.id}",
    )
    asking.add_done_callback(lambda _: ticket.attention.tell())
    try:
        while not asking.done():
            left = end - time.monotonic()
            if left <= 0 or ticket.question != question or call.caller.admin.stopping.is_set():
                return None
            await happens(ticket.attention.next, min(left, PROGRESS_S))
            await call.progress(f"execution {ticket.execution.id} waits for input")
        return asking.result()
    except (MCPError, ValidationError):
        return None
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
