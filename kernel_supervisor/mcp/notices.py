"""What a client is told beside a result, once: what happened since its last call, and what it could not expect.

What is to be told belongs to a session and comes with the next result that is about it, whatever tool gave that: the
agents that share a connection work in sessions of their own.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from kernel_supervisor.amounts import span
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, KernelId, SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.mcp.caller import OF_ALL, Caller, Generation
from kernel_supervisor.outputs.tracebacks import line_reached
from kernel_supervisor.sessions import sweeping
from kernel_supervisor.sessions.offering import short_reason
from kernel_supervisor.sessions.placing import differences, elsewhere, works_in
from kernel_supervisor.sessions.supervisor import BROUGHT_BACK
from kernel_supervisor.tasks import apart, happens
from kernel_supervisor.wording import first_line, when

_LATE = {
    "code": "showed more after it had ended",
    "note": "has what was shown by no cell, as by a signal handler or an exit handler",
}
"""By the kind of an entry: what it is to have shown more."""
_LATE_SHOWN, _NAMES_SHOWN = 5, 5
_RESTARTED = "The kernel was restarted"
_AT_ONCE = 6
"""How many a result has at the most; the others come with the next one."""
_STOPS_S = 2.0
"""How long what a cancelled call began is given to stop before it is said to run on."""


async def note(caller: Caller, session: SessionRecord) -> None:
    """Note what a client has to know of the session that it works in, before its call does anything there.

    One call after another, as they came: what is looked up with the first must not let the second overtake it.
    """
    async with caller.noting:
        await _note_daemon(caller, session)
        if caller.asker.kind != "cli":  # it comes and goes
            _note_company(caller, session)
            await _note_kernel(caller, session)
            await _note_directory(caller, session)
        _note_late_output(caller, session)
        await _note_notebook(caller, session)
        await _note_leaving(caller, session)


async def taken(caller: Caller, name: SessionName, shown: Execution | None = None, text: str = "") -> list[Words]:
    """What a client is to be told with this result about a session, which shows an execution, or says this."""
    number = shown.id if shown is not None else None
    found = [*caller.notices.pop(OF_ALL, ()), *caller.notices.pop(name, ())]
    session = caller.supervisor.sessions.known.get(name)
    if session is not None:
        text = shown.reason if shown is not None else text
        found += [await _lost(caller, session, before, text) for before in caller.lost.pop(name, ())]
        found += await _cancelled(caller, name, number)
        found += _running(caller, session, shown, text)
        found += await _works_elsewhere(caller, session, text)
    found = list(filter(None, dict.fromkeys(found)))
    if len(found) > _AT_ONCE:
        caller.notices[name] += found[_AT_ONCE:]
    return found[:_AT_ONCE]


async def acted(caller: Caller, name: SessionName, ran: Execution | None) -> None:
    """A call of this client did something in a session, or ran something: which kernel that has by it is no news."""
    session = caller.supervisor.sessions.known.get(name)
    if session is None or name not in caller.heard:
        return
    if ran is not None and ran.kernel_id is not None and ran.status in ("running", "ok", "error", "interrupted"):
        caller.heard[name] = (ran.kernel_id, ran.generation)
    else:
        caller.heard[name] = await _generation(caller, session, caller.heard[name])


def _note_company(caller: Caller, session: SessionRecord) -> None:
    if caller.gone:
        return  # nobody would say goodbye for it again
    others = caller.supervisor.sessions.enter(session.name, caller.asker.client_id)
    if others and caller.first("company", session.name):
        caller.notices[session.name].append(
            f"another client works in session {session.name} too, with the same variables; "
            'session="a-name-of-your-own" keeps yours apart'
        )


async def _note_daemon(caller: Caller, session: SessionRecord) -> None:
    """In each session that this client has worked in: others, it has not lost sight of."""
    if not caller.restarted or not caller.first("another daemon", session.name):
        return
    if not await caller.supervisor.records.worked_in(session.name, caller.asker.client_id):
        return
    runner = caller.supervisor.sessions.runner_of(session)
    lives_on = runner is not None and runner.kernel.alive and runner.kernel.record.started_at < caller.supervisor.began
    kept = f"; kernel {session.kernel_id} lived on, with its variables" if lives_on else ""
    caller.notices[session.name].append(f"the daemon was restarted meanwhile{kept}")


async def _note_kernel(caller: Caller, session: SessionRecord) -> None:
    """Whether the session has another kernel than when this client last heard of it, or anybody worked there."""
    since, dead = "your last call", False
    if session.name not in caller.heard:
        record = await caller.supervisor.sessions.kernel_record(session)
        dead = record is not None and record.ended
        last = await caller.supervisor.records.last_run(session.name)
        caller.heard[session.name] = (last.kernel_id, last.generation) if last is not None else (None, 0)
        since = f"the last work here, execution {last.id} of {when(last.queued_at)}" if last is not None else ""
    before = caller.heard[session.name]
    now = caller.heard[session.name] = await _generation(caller, session, before)
    if before[0] is not None and (dead or now != before):
        caller.lost[session.name].append((before, since))


async def _note_directory(caller: Caller, session: SessionRecord) -> None:
    """Where its kernel works when this client comes to the session: what it does there itself, it knows."""
    if session.name not in caller.places:
        caller.places[session.name] = ""
        caller.places[session.name] = await _directory_now(caller, session)


async def _works_elsewhere(caller: Caller, session: SessionRecord, text: str) -> list[Words]:
    """Once, with the first result: where the kernel works, unless the result says so itself or has changed it."""
    before = caller.places.get(session.name)
    if not before:
        return []
    caller.places[session.name] = ""
    same = before not in text and before == await _directory_now(caller, session)
    return [works_in(before, session.directory)] if same else []


async def _directory_now(caller: Caller, session: SessionRecord) -> str:
    runner = caller.supervisor.sessions.runner_of(session)
    if runner is None or not runner.kernel.alive:
        return ""
    return await apart("environments", elsewhere, runner.kernel.record, session.directory)


async def _generation(caller: Caller, session: SessionRecord, before: Generation) -> Generation:
    """The session's current kernel and its generation; as `before` where its record tells nothing of it."""
    record = await caller.supervisor.sessions.kernel_record(session)
    if session.kernel_id is not None and (record is None or record.damaged):
        return before
    return (record.id, record.generation) if record is not None else (None, 0)


async def _lost(caller: Caller, session: SessionRecord, lost: tuple[Generation, str], text: str) -> Words:
    """What became of the kernel that a session had: who ended it, when, and what can be brought back.

    Nothing where the `text` of the result says so.
    """
    (kernel_id, generation), since = lost
    assert kernel_id is not None
    runner = caller.supervisor.kernels.runners.get(kernel_id)
    record = runner.kernel.record if runner is not None else await caller.supervisor.records.kernel(kernel_id)
    gone = "its variables are gone, the history is kept"
    if record is not None and record.generation != generation:
        by = await _restarted_by(caller, record.session)
        restarted = f"kernel {kernel_id} was restarted since {since}{by}"
        if back := await _brought_back(caller, record.session):
            return f"{restarted}, the history is kept. {back}"
        return (f"{restarted}: {gone}", *await _back(caller, session, kernel_id, generation))
    if record is None or record.ended:
        why, at = ("", None) if record is None else (record.end_reason, record.ended_at)
        why = why.partition("\n")[0].rstrip(".")
        if record is not None and why and short_reason(record).partition(" ")[2] in text:
            return ""
        told = f" ({', '.join(filter(None, (why, when(at))))})" if why or at else ""
        return (
            f"kernel {kernel_id} is gone since {since}{told}: {gone}",
            *await _back(caller, session, kernel_id, generation),
        )
    now = f"works in kernel {session.kernel_id}" if session.kernel_id else "has no kernel"
    return f"session {session.name} {now} now; kernel {kernel_id}, which it had at {since}, lives on with its variables"


async def _notes(caller: Caller, name: SessionName) -> list[Execution]:
    return [each for each in await caller.supervisor.records.history(name, last=50) if each.kind == "note"]


async def _brought_back(caller: Caller, name: SessionName) -> str:
    """What its history says of variables that were brought back to the kernel that a session has."""
    notes = await _notes(caller, name)
    found = [each for each in notes if each.source.startswith((BROUGHT_BACK, _RESTARTED))]
    return found[-1].source.rstrip(".") if found and found[-1].source.startswith(BROUGHT_BACK) else ""


async def _restarted_by(caller: Caller, name: SessionName) -> str:
    """Who restarted the kernel of a session last, and when, as its history has it."""
    notes = await _notes(caller, name)
    restarts = [each for each in notes if "restarted" in each.source]
    return f", by {restarts[-1].client} at {when(restarts[-1].queued_at)}" if restarts and restarts[-1].client else ""


async def _back(caller: Caller, session: SessionRecord, kernel_id: KernelId, generation: int) -> Sequence[str | WayOn]:
    """How what is gone can be had again, or at least what was run."""
    return await caller.supervisor.sessions.back(session, kernel_id, generation) or (WayOn("see what ran"),)


def _running(caller: Caller, session: SessionRecord, shown: Execution | None, text: str) -> list[Words]:
    """Once, with the first result: what runs there, unless the result says so itself."""
    if caller.asker.kind == "cli" or not caller.first("what runs", session.name):
        return []
    runner = caller.supervisor.sessions.runner_of(session)
    running = runner.running.execution if runner is not None and runner.running is not None else None
    if running is None or re.search(rf"\bexecution {running.id}\b", text):
        return []
    if shown is not None and (shown.id == running.id or shown.status == "queued"):
        return []
    who = f", for {running.client}" if running.client else ""
    return [f"execution {running.id} runs here since {when(running.started_at)}{who}: {first_line(running.source)}"]


async def _cancelled(caller: Caller, name: SessionName, shown: int | None) -> list[Words]:
    """What became of what calls had begun that this client cancelled: it may tell its model that they were refused."""
    told = list[Words]()
    for each in caller.cancelled.pop(name, ()):
        with contextlib.suppress(RefusedError):  # it is on no record
            execution, ticket = await caller.supervisor.executions.find(each)
            if ticket is not None:
                await happens(ticket.settled, _STOPS_S)
                execution = ticket.execution
            if execution.id != shown:
                told.append(await _outcome(caller, execution))
    return told


async def _outcome(caller: Caller, execution: Execution) -> Words:
    number, status = execution.id, execution.status
    if not execution.settled:
        return f"execution {number}, whose call was cancelled, is still {status}", WayOn("stop", (number,))
    if execution.started_at is None or status == "aborted":
        return f"execution {number}, whose call was cancelled, had not begun: it was not run"
    duration = span(max(0.0, (execution.finished_at or execution.started_at) - execution.started_at))
    if status != "interrupted":
        how = f"execution {number}, whose call was cancelled, had begun and ended all the same ({status})"
        return f"{how} after {duration}; what it did stands", WayOn("read", (number,))
    folded = await caller.supervisor.executions.folded(execution, without_outputs=True)
    lines = [line_reached(each, execution.execution_count) for each in folded.errors]
    at = f" at line {lines[-1]}" if lines and lines[-1] is not None else ""
    told = f"a call was cancelled: execution {number} had begun and was interrupted after {duration}{at}"
    return f"{told}; what it did until then stands", WayOn("read", (number,))


async def note_environment(caller: Caller, execution: Execution) -> None:
    """Said to each client once of each session that it joins; the values may be secrets.

    Not before the call's work is under way: this takes its time, and what came second must not overtake it.
    """
    session = caller.supervisor.sessions.known.get(execution.session)
    runner = caller.supervisor.sessions.runner_of(session) if session is not None else None
    if runner is None or caller.asker.kind == "cli" or not caller.first("variables", execution.session):
        return
    record, had = runner.kernel.record, caller.supervisor.kernels.had.get(runner.kernel.record.id)
    names = await apart("environments", differences, record, had, caller.asker) if had is not None else []
    if names:
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        caller.notices[execution.session].append(
            (
                f"kernel {record.id} was started with other values than yours of the environment variables "
                f"{', '.join(names[:_NAMES_SHOWN])}{more}",
                WayOn("restart for own"),
            )
        )


def note_startup(caller: Caller, execution: Execution) -> None:
    """Say once of each kernel what of its profile failed as it started: nobody has seen that."""
    runner = caller.supervisor.kernels.that_ran(execution)
    failed = runner.kernel.recorder.get("failed") if runner is not None else None
    if runner is None or not isinstance(failed, list) or not failed or caller.asker.kind == "cli":
        return
    kernel = (runner.kernel.record.id, runner.kernel.record.generation)
    if kernel == (execution.kernel_id, execution.generation) and caller.first("its start", kernel):
        caller.notices[execution.session].append(f"as this kernel started, this failed: {'; '.join(map(str, failed))}")


def _note_late_output(caller: Caller, session: SessionRecord) -> None:
    """What a thread, a task or a process that a cell left behind printed stands in no later cell's result."""
    runner = caller.supervisor.sessions.runner_of(session)
    if runner is not None:
        runner.finished.flush()
    late = caller.supervisor.executions.late[session.name]
    found = late.since(caller.late.get(session.name))
    caller.late[session.name] = late.times
    for kind, words in _LATE.items():
        numbers = [each.id for each in found if each.kind == kind]
        if numbers:
            which = ", ".join(map(str, numbers[-_LATE_SHOWN:]))
            caller.notices[session.name].append((f"execution {which} {words}", WayOn("read", (numbers[-1],))))


async def _note_leaving(caller: Caller, session: SessionRecord) -> None:
    """Once to each client, of all sessions of its project."""
    if caller.supervisor.sessions.leaving and caller.asker.kind != "cli":
        said = await sweeping.told(caller.supervisor, session.directory)
        caller.notices[session.name] += [words for name, words in said.items() if caller.first("its end", name)]


async def _note_notebook(caller: Caller, session: SessionRecord) -> None:
    """It stays on record until the client calls again: an answer may never arrive where the daemon dies."""
    if not session.notice or caller.asker.kind == "cli":
        return
    if caller.told.get(session.name) == session.notice:
        if session.name in caller.supervisor.sessions.known:  # else nothing keeps it yet
            del caller.told[session.name]
            await caller.supervisor.sessions.change(session.name, notice="")
    else:
        caller.told[session.name] = session.notice
        caller.notices[session.name].append(session.notice)
