"""The tools about a session's kernel, from start to end."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import psutil

from kernel_supervisor.amounts import size, span
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId, KernelRecord, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.kernels.kinds import way_around
from kernel_supervisor.mcp.advice import advice_on, ipykernel_of
from kernel_supervisor.mcp.arguments import about
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.restored import contents, listed
from kernel_supervisor.mcp.ways import under_each_other
from kernel_supervisor.mcp.wording import how_to_answer
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import naming
from kernel_supervisor.sessions.offering import had_ended
from kernel_supervisor.sessions.placing import displaced, elsewhere, works_in
from kernel_supervisor.tasks import apart
from kernel_supervisor.wording import when

_SAVED_SHOWN = 4
NAME_A_KERNEL = ("kernel_id is empty", WayOn("name kernel"))


async def kernel_status(call: Call, session: SessionRecord) -> Answer:
    """The session's kernel: interpreter, directory, state, execution count, uptime, memory."""
    runner = await call.supervisor.sessions.present_runner(session)
    record = await call.supervisor.sessions.kernel_record(session)
    facts: dict[str, Any] = {
        "session": session.name,
        "directory": session.directory,
        "kernel_id": session.kernel_id,
    }
    if runner is None or record is None:
        return await _status_without_kernel(call, session, record, facts)
    facts |= await living_facts(runner)
    if facts["state"] == "dead":  # it died meanwhile: what is said to be dead is explained
        return await kernel_status(call, await call.session(session.name))
    lines: list[Words] = [
        f"session {session.name} in {session.directory}",
        f"kernel {record.called} ({record.id}), {facts['state']}, execution count {facts['execution_count']}",
        f"interpreter {facts['interpreter']} ({record.interpreter.why or record.interpreter.kind})",
        f"up {span(facts['uptime_s'])}, memory {size(facts['memory_bytes']) or 'not known'}, pid "
        f"{facts['pid'] or 'not known'}",
    ]
    if record.server:
        lines.append(f"on the server {record.server}")
    if nowhere := await asyncio.to_thread(displaced, record):
        lines.append(nowhere)
    elif now := await asyncio.to_thread(elsewhere, record, session.directory):
        lines.append(works_in(now, session.directory))
    if runner.kernel.trouble:
        lines.append(f"not connected: {runner.kernel.trouble}")
    facts["ipykernel"] = await asyncio.to_thread(ipykernel_of, record)
    if advice := await apart("environments", advice_on, record):
        lines.append(advice)
    if runner.running is not None:
        execution = runner.running.execution
        lines.append(
            f"running execution {execution.id} since {when(execution.started_at)}; queued: {len(runner.waiting)}"
        )
    if runner.current is not None and runner.current.question is not None:
        number, question = runner.current.execution.id, runner.current.question
        lines.append((f"execution {number} asks", *how_to_answer(number, question)))
    if saved := await call.supervisor.checkpoints.of(session.name):
        lines.append(f"saved: {'; '.join(map(contents, saved[: -_SAVED_SHOWN - 1 : -1]))}")
        facts["checkpoints"] = listed(saved)
    return Answer(text=under_each_other(lines), facts=facts)


async def _status_without_kernel(
    call: Call, session: SessionRecord, record: KernelRecord | None, facts: dict[str, Any]
) -> Answer:
    if any(each.session == session.name for each in call.supervisor.kernels.starting.values()):
        return Answer(text=f"session {session.name}: its kernel is starting", facts=facts | {"state": "starting"})
    if record is not None and (why := call.supervisor.kernels.adoption.why(record)):
        facts |= {"state": "unreachable", "trouble": why}
        kernel = f"session {session.name}: kernel {record.called} ({record.id})"
        if call.supervisor.kernels.adoption.stranded(record):
            return Answer(text=(f"{kernel} cannot be reached: {why} ", way_around(record), "."), facts=facts)
        lives = f"{kernel} lives but does not answer: {why} Its variables may be there. "
        return Answer(text=(lives, way_around(record), "."), facts=facts)
    if record is not None:
        facts |= {"state": "dead", "end_reason": record.end_reason}
        words = record.end_reason.partition("\n")[2]
        dead = f"session {session.name}: {had_ended(record)}. Its variables are gone. "
        back = await call.supervisor.sessions.back(session, record.id, record.generation)
        last = f"\n{words}" if words else ""
        return Answer(text=(dead, record.way_on, *back, WayOn("see what ran"), last), facts=facts)
    interpreter = await call.supervisor.sessions.default_interpreter(session, call.caller.asker)
    facts |= {"state": None, "interpreter": interpreter.argv[0], "why": interpreter.why}
    none = f"session {session.name} in {session.directory} has no kernel yet"
    text = (none, WayOn("first exec"), f"\ninterpreter {interpreter.argv[0]} ({interpreter.why})")
    return Answer(text=text, facts=facts)


async def living_facts(runner: Runner) -> dict[str, Any]:
    """What there is to know of a kernel that can be reached."""
    return {
        **await facts_of(runner.kernel.record),
        "state": runner.state,
        "execution_count": runner.execution_count,
        "last_used_at": runner.last_used,
        "trouble": runner.kernel.trouble,
    }


async def facts_of(record: KernelRecord) -> dict[str, Any]:
    """What is on record of a kernel, and what its process says; the rest is for those that can be reached."""
    return {
        "kernel_id": record.id,
        "name": record.called,
        "interpreter": record.interpreter.argv[0] if record.interpreter.argv else record.interpreter.name,
        "why": record.interpreter.why,
        "kernel_directory": record.directory,
        "execution_count": None,
        "uptime_s": round(time.time() - record.started_at, 1),
        "memory_bytes": await asyncio.to_thread(_memory, record.pid),
        "pid": record.pid,
        "generation": record.generation,
        "connection_file": record.connection_file,
        "standard_error": record.standard_error,
        "last_used_at": record.started_at,
        "started_at": record.started_at,
        "owned": record.owned,
        "server": record.server,
    }


def _memory(pid: int | None) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid is not None else None
    except psutil.Error:
        return None


async def kernel_shutdown(
    call: Call,
    kernel_id: Annotated[str, about("id or its beginning")],
    force: Annotated[bool, about("even if others started it")] = False,
) -> Answer:
    """End a kernel and its variables. The next kernel_exec there starts a fresh one."""
    runners, adoption = call.supervisor.kernels.runners, call.supervisor.kernels.adoption
    call.about = (await call.supervisor.sessions.of(call.caller.asker)).name
    given = needed(kernel_id, *NAME_A_KERNEL).strip()
    await adoption.tried(adoption.like(given))
    living = {**{each.id: each for each in adoption.records}, **{each: runners[each].kernel.record for each in runners}}
    wanted = await call.once.known()
    if not wanted and given in call.supervisor.kernels.ended and given not in living:
        return Answer(text=f"kernel {given} is gone already", facts={"kernel_id": given})
    kernel_id = KernelId(wanted["kernel_id"]) if wanted else naming.kernel_id(given, living)
    if kernel_id not in living:
        await call.supervisor.part_from(kernel_id)  # a daemon that died of a sudden may not have come to it
        return Answer(text=f"kernel {kernel_id} is gone", facts={"kernel_id": kernel_id})
    record = living[kernel_id]
    if not record.owned and not force:
        raise RefusedError(
            f"kernel {kernel_id} was started by somebody else, who may be working in it", WayOn("detach or end")
        )
    await call.once.begin_durably("kernel_shutdown", kernel_id=kernel_id)
    await call.supervisor.shut_down(kernel_id, f"the kernel was shut down by {call.client}")
    return Answer(text=f"kernel {kernel_id} is gone, with its variables", facts={"kernel_id": kernel_id})
