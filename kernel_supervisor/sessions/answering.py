"""Answers to the questions of running cells: each is given once, and kept nowhere."""

from __future__ import annotations

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Question, SessionRecord
from kernel_supervisor.records.once import Once
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import happens

_CATCH_UP_S = 20.0
"""How long a daemon that has just begun may take to find out what a running cell asks."""


async def give(supervisor: Supervisor, ticket: Ticket, question: Question, text: str) -> bool:
    """Give `text` to the cell that asks `question`; False where it does not ask that any more."""
    runner = supervisor.executions.runner_with(ticket)
    return runner is not None and await runner.answer(ticket, question, text)


async def give_once(supervisor: Supervisor, ticket: Ticket, question_id: str, text: str, once: Once) -> None:
    """`give`, for a call that a client sends again where it got no answer; nothing where the question is over.

    What the call is about is committed, its text is not. Sent again to a kernel that knows its questions, an answer
    does no harm; another kernel could take it for the answer to the next question, so it gets none on a guess.
    """
    before = await once.known()
    await caught_up(ticket)
    question, runner = ticket.question, supervisor.executions.runner_with(ticket)
    if question is None or question.id != question_id or runner is None:
        return
    if before is not None and not runner.kernel.record.recorded:
        return
    await once.begin_unless_done("answer", execution_id=ticket.execution.id, question=question_id)
    await runner.answer(ticket, question, text)


async def caught_up(ticket: Ticket) -> None:
    """Wait until it is known what a running execution asks: after a daemon's death its log has to be read for that."""
    if ticket.execution.status == "running" and not await happens(ticket.caught_up, _CATCH_UP_S):
        raise RefusedError(f"it is not known yet what execution {ticket.execution.id} asks: try again")


async def who_asks(supervisor: Supervisor, session: SessionRecord, execution_id: int | None) -> Ticket:
    """The execution that waits for input: that one, or the one that the session's kernel runs. Raises RefusedError."""
    if execution_id is not None:
        execution, ticket = await supervisor.executions.find(execution_id)
        if ticket is None:
            raise RefusedError(f"execution {execution.id} is over ({execution.status}): it asks for nothing")
    else:
        runner = await supervisor.sessions.living_runner(session)
        ticket = runner.current if runner is not None else None
        if ticket is None:
            raise RefusedError(f"nothing runs in session {session.name}, so nothing asks for input")
    await caught_up(ticket)
    return ticket
