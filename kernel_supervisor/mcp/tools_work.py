"""The tools an agent works with: running code, reading output, answering what it asks, the history."""

from __future__ import annotations

import asyncio
from typing import Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, SessionRecord
from kernel_supervisor.mcp import arguments as a
from kernel_supervisor.mcp import asking, tasks
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.progress import with_progress
from kernel_supervisor.mcp.tables import first_line, table, when
from kernel_supervisor.mcp.view import Reading
from kernel_supervisor.mcp.wording import BORROWED
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import answering
from kernel_supervisor.sessions.placing import displaced

CLAUDE_CODE_PATIENCE_S, PATIENCE_S = 90.0, 45.0
"""Claude Code moves a call to the background after 120 s and loses its images; Codex gives up at 60 s."""


async def kernel_exec(call: Call, args: a.Exec) -> Answer:
    """Run Python in this project's persistent session. Shows output, the last value, plots as images, errors. After the
    timeout the cell runs on; the result then says how to wait."""
    needed(args.code, "code is empty: give Python code to run")
    session = await call.session(args.session)
    reading = Reading(max_chars=args.max_chars)
    if call.params.request_state is not None:
        execution, joined = await asking.joined(call, args.code)
        if joined is None:
            return await call.show(execution, None, reading)
        return await _see_through(call, joined, args, reading)
    ticket = await _begin(call, session, args.code)
    if not args.wait:
        return await call.show(ticket.execution, ticket, reading)
    return await _see_through(call, ticket, args, reading, spent_s=call.before(ticket.execution))


async def _begin(call: Call, session: SessionRecord, code: str) -> Ticket:
    """The execution, where the session has a kernel; else the kernel's start is waited for, and told of."""
    executions, sessions, asker = call.supervisor.executions, call.supervisor.sessions, call.caller.asker
    beginning = executions.execute(session, code, asker, call.client, call.key, no_longer_wanted=call.cancelled_because)
    if sessions.runner_of(session) is not None:
        return await beginning
    ticket = await with_progress(call, "starting the session's kernel", lambda tell: beginning)
    runner = sessions.runner_of(sessions.known[session.name])
    if runner is not None:
        interpreter = runner.kernel.record.interpreter
        call.caller.notices.append(f"new kernel, on {interpreter.argv[0]}: {interpreter.why}")
        if runner.kernel.record.overlay:
            call.caller.notices.append(BORROWED)
        if nowhere := await asyncio.to_thread(displaced, runner.kernel.record):
            call.caller.notices.append(nowhere)
    return ticket


async def _see_through(call: Call, ticket: Ticket, args: a.Exec, reading: Reading, spent_s: float = 0.0) -> Answer:
    timeout = args.timeout
    answer = await asking.see_through(call, ticket, max(0.0, _exec_patience(call, timeout) - spent_s), reading)
    over = ticket.settled.is_set() or answer.instead is not None or call.caller.admin.stopping.is_set()
    if over or timeout is not None or not tasks.declared(call):
        return answer
    return tasks.created(ticket.execution, reading)


def _exec_patience(call: Call, timeout: float | None) -> float:
    usual = CLAUDE_CODE_PATIENCE_S if "claude" in call.client.lower() else PATIENCE_S
    return usual if timeout is None else timeout


async def kernel_reply(call: Call, args: a.Reply) -> Answer:
    """Answer a cell that waits for input, as its result says; then shows what came of it."""
    session = await call.session(args.session)
    known = await call.once.known()
    reading = Reading(max_chars=args.max_chars)
    if known is not None:
        execution, found = await call.supervisor.executions.find(known["execution_id"])
        if found is None:  # sent again after a daemon's death, and over meanwhile
            return await call.show(execution, None, reading)
        ticket, question_id = found, known["question"]
    else:
        ticket = await answering.who_asks(call.supervisor, session, args.execution_id)
        if ticket.question is None:
            raise RefusedError(f"execution {ticket.execution.id} does not ask for input (now)")
        question_id = ticket.question.id
    await answering.give_once(call.supervisor, ticket, question_id, args.text, call.once)
    await call.wait(ticket, _exec_patience(call, args.timeout), reader=True)
    return await call.show(ticket.execution, ticket, reading)


async def kernel_output(call: Call, args: a.Output) -> Answer:
    """Wait for an execution, or read on in its output by lines, tail, grep or image."""
    execution, ticket = await call.supervisor.executions.find(args.execution_id)
    call.until = call.begun + args.wait
    if ticket is not None:
        await call.wait(ticket, args.wait, reader=True)
    return await call.show(execution, ticket, Reading(**args.model_dump(exclude={"execution_id", "wait"})))


async def kernel_history(call: Call, args: a.History) -> Answer:
    """What was run in this session, by any client, with status and execution ids."""
    session = await call.session(args.session)
    entries = await call.supervisor.records.history(session.name, last=args.last, containing=args.filter)
    facts = {"session": session.name, "entries": [_entry_facts(call, entry) for entry in entries]}
    if not entries:
        nothing = f"Nothing that contains {args.filter!r}" if args.filter else "Nothing"
        return Answer(text=f"{nothing} was run in session {session.name} yet.", facts=facts)
    rows = [_row(call, entry) for entry in entries]
    text = plain(table(["execution", "status", "cell", "when", "client", "code"], rows))
    shows = f"Session {session.name}. kernel_output(execution_id=…) shows what one printed."
    return Answer(text=f"{shows}\n{text}", facts=facts)


def _row(call: Call, entry: Execution) -> list[Any]:
    standing = _standing(call, entry) if entry.kind == "code" else entry.kind
    cell = f"In [{entry.execution_count}]" if entry.execution_count is not None else ""
    return [entry.id, standing, cell, when(entry.queued_at), entry.client, first_line(entry.source)]


def _standing(call: Call, entry: Execution) -> str:
    ticket = call.supervisor.executions.tickets.get(entry.id)
    return "waiting for input" if ticket is not None and ticket.question is not None else entry.status


def _entry_facts(call: Call, entry: Execution) -> dict[str, Any]:
    return {
        "execution_id": entry.id,
        "kind": entry.kind,
        "status": _standing(call, entry),
        "execution_count": entry.execution_count,
        "kernel_id": entry.kernel_id,
        "client": entry.client,
        "queued_at": entry.queued_at,
        "code": entry.source,
    }
