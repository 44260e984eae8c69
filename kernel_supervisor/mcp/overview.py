"""supervisor/overview, supervisor/watch: what kernels do now, and what is run in a session, for people who look on.

Nothing is run for either, and nothing of what is looked at changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import mcp_types as types
import psutil

from kernel_supervisor.core.model import Execution, ProcessIdentity, SessionName
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.following import PATIENCE_S, FollowParams, all_told, follow
from kernel_supervisor.mcp.tools_kernels import living_facts
from kernel_supervisor.mcp.tools_work import entry_facts
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.running.reading import last_line
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.tasks import apart, happens
from kernel_supervisor.wording import first_line

_PLACED_S = 0.3
"""How long a kernel may take to say where it is."""
_MOST = 100


class WatchParams(types.RequestParams):
    """supervisor/watch."""

    session: str = ""
    after: int | None = None
    """The entry behind which to go on; without it, what is on its way now."""
    execution_id: int | None = None
    """The execution that is followed meanwhile, from `place` on. On the wire in camel case."""
    place: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    """How much was told of what entries have shown since they were over, as the result before this one said."""


async def overview(call: Call, params: types.RequestParams) -> dict[str, Any]:
    """What each kernel does."""
    runners = list(call.supervisor.kernels.runners.values())
    return {"at": time.time(), "kernels": await asyncio.gather(*map(_doing, runners))}


async def _doing(runner: Runner) -> dict[str, Any]:
    record, ticket = runner.kernel.record, runner.running
    facts = await living_facts(runner)
    names = ("kernel_id", "state", "memory_bytes", "pid", "execution_count", "uptime_s")
    found = {**{name: facts[name] for name in names}, "session": record.session, "queued": len(runner.waiting)}
    found["cpu_s"] = await asyncio.to_thread(_cpu_s, record.process)
    if ticket is None:
        return {**found, "execution_id": None, "running_s": None, "line": "", "last_words": ""}
    execution = ticket.execution
    line, words = await asyncio.gather(_line(runner, execution), last_line(ticket))
    running_s = None if execution.started_at is None else max(0.0, time.time() - execution.started_at)
    about = {"execution_id": execution.id, "running_s": running_s, "line": line, "last_words": plain(words)}
    return {**found, **about}


async def _line(runner: Runner, execution: Execution) -> str:
    """The line that it is at, as the kernel says; else how it begins."""
    if runner.kernel.language == "python":
        try:
            place = await runner.kernel.place(_PLACED_S)
        except TimeoutError:
            place = {}
        if place.get("line"):
            return f"{place['line']}: {plain(str(place['code'])).strip()}"
    return plain(first_line(execution.source))


def _cpu_s(process: ProcessIdentity | None) -> dict[str, float]:
    """How long the processors worked for a kernel and for each of its children. Blocks."""
    found: dict[str, float] = {}
    if process is None:
        return found
    with contextlib.suppress(psutil.Error):
        kernel = psutil.Process(process.pid)
        for each in (kernel, *kernel.children(recursive=True)):
            times = each.cpu_times()
            found[f"{each.pid}"] = times.user + times.system
    return found


async def watch(call: Call, params: WatchParams) -> dict[str, Any]:
    """The next `entries` of a session with where to go on behind them, what an execution shows next (`shown`, as
    `follow` has it), or what entries show that are over (`late`): whatever comes first.
    """
    session = await call.supervisor.sessions.of(call.caller.asker, params.session)
    if params.after is None:
        running = [each for each in await call.supervisor.records.unsettled() if each.session == session.name]
        after, late = await call.supervisor.records.latest(session.name), _late_place(call, session.name)
        return {"entries": [entry_facts(call, each) for each in running], "after": after, "late_place": late}
    tasks = call.caller.tasks
    news = _news(call, session.name, params.after, params.late)
    entries, following = tasks.begin(news, "entries that are watched for", awaited=True), None
    if params.execution_id is not None:
        asked = FollowParams(execution_id=params.execution_id, place=[*params.place])
        following = tasks.begin(follow(call, asked), "an execution that is watched", awaited=True)
    waits = [each for each in (entries, following) if each is not None]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        found, shown_late, place = entries.result() if entries.done() else ([], [], [*params.late])
        after = max((each.id for each in found), default=params.after)
        shown = following.result() if following is not None and following.done() else None
        beside = {"late": shown_late, "late_place": place}
        return {"entries": [entry_facts(call, each) for each in found], "after": after, "shown": shown, **beside}
    finally:
        for each in waits:
            each.cancel()


async def _news(
    call: Call, session: SessionName, number: int, told: tuple[int, ...]
) -> tuple[list[Execution], list[dict[str, Any]], list[int]]:
    """The next entries of a session, and what those that are over show, with how much of that is told then; nothing
    where there is nothing for a while."""
    end = time.monotonic() + PATIENCE_S
    while True:
        committed = call.supervisor.executions.news.next
        found = await call.supervisor.records.entries_behind(session, number, _MOST)
        place = _late_place(call, session)
        pieces = call.supervisor.executions.late[session].pieces(told[1] if [*told[:1]] == place[:1] else 0)
        late = [await _late(call, execution, start) for execution, start in pieces]
        if found or late or time.monotonic() > end:
            return found, late, place
        await happens(committed, end - time.monotonic())


def _late_place(call: Call, session: SessionName) -> list[int]:
    """Whose count that is, by when it began, and how far it is: the next daemon has a count of its own."""
    return [int(call.supervisor.began * 1000), call.supervisor.executions.late[session].times]


async def _late(call: Call, execution: Execution, start: int) -> dict[str, Any]:
    messages = await call.supervisor.executions.read_late(execution, start)
    return {"execution_id": execution.id, "messages": await apart("results", all_told, messages)}
