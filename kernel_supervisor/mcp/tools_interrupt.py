"""Stopping what runs, and saying truthfully what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import psutil

from kernel_supervisor.core.model import ExecutionId, ProcessIdentity, Question, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words
from kernel_supervisor.kernels.channels import NoSignError
from kernel_supervisor.kernels.process import is_computing, is_stopped
from kernel_supervisor.mcp.arguments import ExecutionNumber, about
from kernel_supervisor.mcp.call import Answer, Call
from kernel_supervisor.mcp.wording import OR_BROKEN, how_to_answer, is_console
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.running.runner import Runner

_BRIEFLY_S, _SIGN_S = 0.3, 0.9
"""How long a kernel may take to say where it is: before it is interrupted, and after."""

_Place = dict[str, Any] | None
"""What a kernel said of its cell, empty where it cannot say; None where nothing of it does."""


async def kernel_interrupt(
    call: Call,
    session: SessionRecord,
    execution_id: Annotated[ExecutionNumber | None, about("only this one; without it, whatever runs")] = None,
    force: Annotated[bool, about("many interrupts, for a cell that swallows them")] = False,
) -> Answer:
    """Stop the running cell (KeyboardInterrupt) and say whether it stopped. Variables stay."""
    if execution_id is not None:
        execution, ticket = await call.supervisor.executions.find(execution_id)
        call.about = execution.session
        if ticket is None:
            text = f"execution {execution.id} is over already ({execution.status})"
            return Answer(text=text, facts={"stopped": True})
        await call.supervisor.reached_for(ticket)
    else:
        runner = await call.supervisor.sessions.present_runner(session)
        current = runner.running if runner is not None else None
        # sent again after a daemon's death, it must not hit another execution than the first time
        now = current.execution.id if current is not None else None
        intent = await call.once.begin_unless_done("kernel_interrupt", execution_id=now)
        if current is None or intent["execution_id"] != current.execution.id:
            return Answer(text="nothing is running", facts={"stopped": False})
        ticket = current
    number, runner = ticket.execution.id, call.supervisor.executions.runner_with(ticket)
    before = await _place(runner, _BRIEFLY_S)
    process = runner.kernel.record.process if runner is not None else None
    children = await asyncio.to_thread(_children, process, ticket.execution.started_at) if process is not None else []
    stopped = await call.supervisor.executions.stop(ticket, f"interrupted by {call.client}", force=force)
    facts: dict[str, Any] = {"stopped": stopped, "execution_id": number, "status": ticket.execution.status}
    if runner is None and not stopped:
        return Answer(text=f"execution {number} still runs: its kernel is not reached yet", facts=facts)
    if runner is None:  # it was queued, or is over
        return Answer(text=f"execution {number} did not run any more ({ticket.execution.status})", facts=facts)
    after = await _place(runner, _SIGN_S)
    if stopped:
        how = "came to its end" if ticket.execution.status == "ok" else "stopped"
        text = f"execution {number} {how} ({ticket.execution.status}){_at(before)}.{_threads(after)}"
        text += await asyncio.to_thread(_gone, children) if children else ""
        return Answer(text=text, facts=facts)
    if process is not None and is_stopped(process):
        why = f"its process {process.pid} is stopped itself; `kill -CONT {process.pid}` lets it go on"
        return Answer(text=f"execution {number} still runs: {why}", facts={**facts, "place": after})
    if ticket.question is not None:
        again = _asks_again(number, ticket.question, after or before, force=force)
        return Answer(text=again, facts={**facts, "place": after})
    computing = process is not None and await is_computing(process)
    return Answer(text=_not_stopped(number, after or before, computing, force=force), facts={**facts, "place": after})


async def _place(runner: Runner | None, deadline_s: float) -> _Place:
    """Where the cell is, as its kernel says; None where it cannot say."""
    if runner is None or runner.kernel.language != "python":
        return {}
    try:
        return await runner.kernel.place(deadline_s)
    except NoSignError:
        return None
    except TimeoutError:
        return {}


def _at(place: _Place) -> str:
    if not place or not place.get("line"):
        return ""
    function = f" in {place['function']}()" if place["function"] else ""
    return f", at line {place['line']}{function}: {plain(place['code'])}"


def _threads(place: _Place) -> str:
    count = place.get("threads", 0) if place else 0
    if not count:
        return ""
    if count == 1:
        return " One thread that runs code of its cells goes on."
    return f" {count} threads that run code of its cells go on."


def _children(kernel: ProcessIdentity, since: float | None) -> list[psutil.Process]:
    """What a kernel's cell has started that began `since` then. Blocks."""
    try:
        return [each for each in psutil.Process(kernel.pid).children(True) if each.create_time() >= (since or 0.0) - 1]
    except psutil.Error:
        return []


def _gone(children: Sequence[psutil.Process]) -> str:
    """What the interrupt, which reaches them too, has ended of what a cell started. Blocks for a moment."""
    psutil.wait_procs(children, _BRIEFLY_S)
    count = sum(map(_has_ended, children))
    if not count:
        return ""
    gone = "One process that it had started is" if count == 1 else f"{count} processes that it had started are"
    return f" {gone} gone, too: the interrupt reached what it started, and a pool of them has to be made anew."


def _has_ended(process: psutil.Process) -> bool:
    """Whether it is over, also where the kernel has not asked for its exit status yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _asks_again(number: ExecutionId, question: Question, place: _Place, *, force: bool) -> Words:
    text = (
        f"execution {number} was interrupted {_often(force)} and still runs: it catches KeyboardInterrupt{_at(place)}. "
    )
    if is_console(question):
        return (text, "It asks again", *how_to_answer(number, question), WayOn("leave console", (number,)))
    harder = () if force else (WayOn("interrupt hard", (number,)),)
    return (text, *harder, "It asks again", *how_to_answer(number, question))


def _often(force: bool) -> str:
    return "again and again" if force else "twice"


def _not_stopped(number: ExecutionId, place: _Place, computing: bool, *, force: bool) -> Words:
    if place is None:
        why = (
            f"C code holds the interpreter, so that none of its Python code runs{'' if computing else OR_BROKEN}: the "
            "interrupt takes effect when that call returns, unless the call ignores it"
        )
    else:
        why = f"it catches KeyboardInterrupt, or is in C code that does not look{_at(place)}"
    text = f"execution {number} was interrupted {_often(force)} and still runs: {why}.{_threads(place)} "
    harder = () if force or place is None else (WayOn("interrupt hard", (number,)),)
    return (text, *harder, WayOn("wait or restart", (number,)))
