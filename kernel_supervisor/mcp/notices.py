"""What a client is told beside a result, once: what happened since its last call, and what it could not expect."""

from __future__ import annotations

from kernel_supervisor.core.model import Execution, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.sessions import sweeping
from kernel_supervisor.sessions.placing import differences
from kernel_supervisor.tasks import apart

_LATE = {
    "code": "showed more after it had ended",
    "note": "has what was shown by no cell, as by a signal handler or an exit handler",
}
"""By the kind of an entry: what it is to have shown more."""
_LATE_SHOWN, _NAMES_SHOWN = 5, 5


def taken(caller: Caller) -> list[Words]:
    """What a client is to be told with this result."""
    notices, caller.notices = caller.notices, []
    return notices


async def note(caller: Caller, session: SessionRecord) -> None:
    """Note what a client has to know of the session that it works in."""
    _note_company(caller, session)
    _note_daemon(caller, session)
    _note_restart(caller, session)
    _note_late_output(caller, session)
    await _note_notebook(caller, session)
    await _note_leaving(caller, session)


def _note_company(caller: Caller, session: SessionRecord) -> None:
    if caller.asker.kind == "cli":  # it comes and goes
        return
    others = caller.supervisor.sessions.enter(session.name, caller.asker.client_id)
    if others and session.name not in caller.company:
        caller.company.add(session.name)
        caller.notices.append(
            f"another client works in session {session.name} too, with the same variables; "
            'session="a-name-of-your-own" keeps yours apart'
        )


def _note_daemon(caller: Caller, session: SessionRecord) -> None:
    if not caller.restarted:
        return
    caller.restarted, runner = False, caller.supervisor.sessions.runner_of(session)
    lives_on = runner is not None and runner.kernel.alive and runner.kernel.record.started_at < caller.supervisor.began
    kept = f"; kernel {session.kernel_id} lived on, with its variables" if lives_on else ""
    caller.notices.append(f"the daemon was restarted meanwhile{kept}")


def _note_restart(caller: Caller, session: SessionRecord) -> None:
    runner = caller.supervisor.sessions.runner_of(session)
    if runner is None:
        return
    record = runner.kernel.record
    before = caller.generations.get(record.id)
    if before is not None and before != record.generation:
        caller.notices.append(
            f"kernel {record.id} was restarted since your last call: its variables are gone, the history is kept"
        )
    caller.generations[record.id] = record.generation


async def note_environment(caller: Caller, execution: Execution) -> None:
    """Said to each client once of each session that it joins; the values may be secrets.

    Not before the call's work is under way: this takes its time, and what came second must not overtake it.
    """
    session = caller.supervisor.sessions.known.get(execution.session)
    runner = caller.supervisor.sessions.runner_of(session) if session is not None else None
    if runner is None or execution.session in caller.environments or caller.asker.kind == "cli":
        return
    caller.environments.add(execution.session)
    record, had = runner.kernel.record, caller.supervisor.kernels.had.get(runner.kernel.record.id)
    names = await apart("environments", differences, record, had, caller.asker) if had is not None else []
    if names:
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        caller.notices.append(
            f"kernel {record.id} was started with other values than yours of the environment variables "
            f"{', '.join(names[:_NAMES_SHOWN])}{more}; kernel_restart gives it yours, and loses its variables"
        )


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
            caller.notices.append((f"execution {which} {words}", WayOn("read", (numbers[-1],))))


async def _note_leaving(caller: Caller, session: SessionRecord) -> None:
    """Once to each client, of all sessions of its project."""
    if caller.supervisor.sessions.leaving and caller.asker.kind != "cli":
        said = await sweeping.told(caller.supervisor, session.directory)
        caller.notices += [words for name, words in said.items() if name not in caller.leaving]
        caller.leaving.update(said)


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
        caller.notices.append(session.notice)
