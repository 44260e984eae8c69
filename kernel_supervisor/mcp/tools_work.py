"""The tools an agent works with: running code, reading output, answering what it asks, the history."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, SessionRecord
from kernel_supervisor.core.ways import WayOn
from kernel_supervisor.mcp import asking, tasks
from kernel_supervisor.mcp.arguments import ExecutionNumber, MaxChars, about
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.carried import with_progress
from kernel_supervisor.mcp.clients import MAX_CHARS, MOST_CHARS
from kernel_supervisor.mcp.view import Reading
from kernel_supervisor.mcp.wording import BORROWED
from kernel_supervisor.outputs.limits import cut
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions import answering
from kernel_supervisor.sessions.loading import is_loaded
from kernel_supervisor.sessions.placing import displaced
from kernel_supervisor.wording import first_line, table, when

_WHOLE_CHARS = MAX_CHARS - 1000
"""Of whole code in a history."""
_MOST = 500
"""Entries of one history."""
_AROUND = 500
"""Bytes of what stands above the lines of a history."""


async def kernel_exec(
    call: Call,
    session: SessionRecord,
    code: str,
    timeout: Annotated[float | None, about("seconds to wait, 45 to 240 by client", ge=0, le=86_400)] = None,
    wait: Annotated[bool, about("false: return at once")] = True,
    max_chars: MaxChars = MAX_CHARS,
) -> Answer:
    """Run Python in this project's persistent session. Shows output, the last value, plots as images, errors. A cell
    that outlives `timeout` runs on; its result says how to wait."""
    needed(code, "code is empty: give Python code to run")
    reading = Reading(max_chars=max_chars)
    if call.params.request_state is not None:
        execution, joined = await asking.joined(call, code)
        if joined is None:
            return await call.show(execution, None, reading)
        return await _see_through(call, joined, timeout, reading)
    ticket = await _begin(call, session, code)
    if not wait:
        return await call.show(ticket.execution, ticket, reading)
    return await _see_through(call, ticket, timeout, reading, spent_s=call.before(ticket.execution))


async def _begin(call: Call, session: SessionRecord, code: str) -> Ticket:
    """The execution, where the session has a kernel; else the kernel's start is waited for, and told of."""
    executions, sessions, asker = call.supervisor.executions, call.supervisor.sessions, call.caller.asker
    beginning = executions.execute(session, code, asker, call.client, call.key, again=call.again)
    if sessions.runner_of(session) is not None:
        return await beginning
    ticket = await with_progress(call, "starting the session's kernel", lambda tell: beginning)
    runner = sessions.runner_of(sessions.known[session.name])
    if runner is not None:
        interpreter = runner.kernel.record.interpreter
        told = call.caller.notices[session.name]
        told.append(f"new kernel, on {interpreter.argv[0]}: {interpreter.why}")
        if runner.kernel.record.overlay:
            told.append(BORROWED)
        if nowhere := await asyncio.to_thread(displaced, runner.kernel.record):
            told.append(nowhere)
    return ticket


async def _see_through(
    call: Call, ticket: Ticket, timeout: float | None, reading: Reading, spent_s: float = 0.0
) -> Answer:
    asked = await asking.see_through(call, ticket, max(0.0, _exec_patience(call, timeout) - spent_s))
    if asked is not None:
        return asked
    over = ticket.settled.is_set() or call.caller.admin.stopping.is_set()
    if over or timeout is not None or not tasks.declared(call):
        return await call.show(ticket.execution, ticket, reading)
    return tasks.created(ticket.execution, reading)


def _exec_patience(call: Call, timeout: float | None) -> float:
    return call.reader.patience_s if timeout is None else timeout


async def kernel_reply(
    call: Call,
    session: SessionRecord,
    text: Annotated[str, about("what input() returns")],
    execution_id: Annotated[ExecutionNumber | None, about("default: what runs")] = None,
    timeout: Annotated[float | None, about(ge=0, le=86_400)] = None,
    max_chars: MaxChars = MAX_CHARS,
) -> Answer:
    """Answer a cell that waits for input; shows what came of it."""
    known = await call.once.known()
    reading = Reading(max_chars=max_chars)
    if known is not None:
        execution, found = await call.supervisor.executions.find(known["execution_id"])
        if found is None:  # sent again after a daemon's death, and over meanwhile
            return await call.show(execution, None, reading)
        ticket, question_id = found, known["question"]
    else:
        ticket = await answering.who_asks(call.supervisor, session, execution_id)
        if ticket.question is None:
            raise RefusedError(f"execution {ticket.execution.id} does not ask for input (now)")
        question_id = ticket.question.id
    await answering.give_once(call.supervisor, ticket, question_id, text, call.once)
    await call.wait(ticket, _exec_patience(call, timeout) - await call.once.age_s())
    return await call.show(ticket.execution, ticket, reading)


async def kernel_output(
    call: Call,
    execution_id: ExecutionNumber,
    wait: Annotated[float, about("seconds to wait", ge=0, le=86_400)] = 0,
    from_line: Annotated[int | None, about(ge=1)] = None,
    tail: Annotated[int | None, about("last lines", ge=1)] = None,
    grep: Annotated[str | None, about("regular expression: only lines with it")] = None,
    from_image: Annotated[int, about(ge=1)] = 1,
    full_traceback: bool = False,
    max_chars: MaxChars = MAX_CHARS,
) -> Answer:
    """Wait for an execution, or read on in what it showed: lines, images."""
    execution, ticket = await call.supervisor.executions.find(execution_id)
    call.until = call.begun + wait
    if ticket is not None and wait > 0:
        await call.once.begin("kernel_output")
        await call.wait(ticket, wait - await call.once.age_s())
    reading = Reading(max_chars=max_chars, from_image=from_image, full_traceback=full_traceback)
    reading = replace(reading, from_line=from_line, tail=tail, grep=grep)
    return await call.show(execution, ticket, reading)


async def kernel_history(
    call: Call,
    session: SessionRecord,
    last: Annotated[int, about(ge=1, le=_MOST)] = 20,
    filter: Annotated[str, about("part of the code")] = "",
    execution_id: Annotated[ExecutionNumber | None, about("this one, with all its code")] = None,
    full: Annotated[bool, about("all code")] = False,
) -> Answer:
    """What was run in this session, by any client: ids, status, code."""
    if execution_id is not None:
        return _whole(call, [(await call.supervisor.executions.find(execution_id))[0]])
    found = await call.supervisor.records.history(session.name, last=last + 1, containing=filter)
    entries = found[-last:]
    facts = {"session": session.name, "entries": [entry_facts(call, entry) for entry in entries]}
    if not entries:
        nothing = f"Nothing that contains {filter!r}" if filter else "Nothing"
        return Answer(text=f"{nothing} was run in session {session.name} yet.", facts=facts)
    if full:
        return _whole(call, entries)
    rows = [list(map(str, _row(call, entry))) for entry in entries]
    shown = rows[len(rows) - _fitting(rows[::-1], (call.reader.max_bytes(MAX_CHARS) or MOST_CHARS) - _AROUND) :]
    text = plain(table(["execution", "status", "cell", "when", "client", "code"], shown))
    more: tuple[str | WayOn, ...] = ()
    if earlier := len(rows) - len(shown):
        more = f"… {earlier} before these are left out", WayOn("find by code")
    elif len(found) > last:
        more = "… earlier ones are left out", WayOn("see earlier" if last < _MOST else "find by code")
    told: dict[str, Any] = {**facts, "entries": facts["entries"][earlier:], **({"more": more} if more else {})}
    above = ("\n", *more) if more else ()
    return Answer(text=(f"Session {session.name}", WayOn("see output"), *above, f"\n{text}"), facts=told)


def _fitting(rows: Sequence[Sequence[str]], room: int) -> int:
    """How many of the first `rows` are a table of at most `room` bytes."""
    widths = [0] * len(rows[0])
    for count, row in enumerate(rows, 1):
        widths = [max(width, len(cell.encode("utf-8", "replace")) + 2) for width, cell in zip(widths, row, strict=True)]
        if count * sum(widths) > room:
            return count - 1
    return len(rows)


def _whole(call: Call, entries: Sequence[Execution]) -> Answer:
    """Entries with all of their code, as much of that as a result takes, the latest first to stay."""
    chars, texts = 0, list[str]()
    for entry in reversed(entries):
        number, *parts = _row(call, entry)[:-1]
        head = " · ".join(filter(None, (f"execution {number}", *parts)))
        room = _WHOLE_CHARS - chars - len(head)
        if texts and room < len(entry.source):
            texts.append(f"… {len(entries) - len(texts)} before that: execution_id= shows one")
            break
        texts.append(f"{head}\n{cut(plain(entry.source), max(room, _WHOLE_CHARS // 2)).text}")
        chars += len(texts[-1])
    facts = {"session": entries[-1].session, "entries": [entry_facts(call, entry) for entry in entries]}
    return Answer(text="\n\n".join(reversed(texts)), facts=facts)


def _row(call: Call, entry: Execution) -> list[Any]:
    standing = _standing(call, entry) if entry.kind == "code" else entry.kind
    standing = f"loaded ({standing})" if is_loaded(entry) else standing
    standing += ", not all recorded" if entry.unrecorded else ""
    cell = f"In [{entry.execution_count}]" if entry.execution_count is not None else ""
    return [entry.id, standing, cell, when(entry.queued_at), entry.client, first_line(entry.source)]


def _standing(call: Call, entry: Execution) -> str:
    ticket = call.supervisor.executions.tickets.get(entry.id)
    return "waiting for input" if ticket is not None and ticket.question is not None else entry.status


def entry_facts(call: Call, entry: Execution) -> dict[str, Any]:
    """An entry of a history for programs."""
    return {
        "execution_id": entry.id,
        "kind": entry.kind,
        "status": _standing(call, entry),
        "execution_count": entry.execution_count,
        "kernel_id": entry.kernel_id,
        "client": entry.client,
        "queued_at": entry.queued_at,
        "code": entry.source,
        **({"loaded": True} if is_loaded(entry) else {}),
        **({"unrecorded": entry.unrecorded} if entry.unrecorded else {}),
    }
