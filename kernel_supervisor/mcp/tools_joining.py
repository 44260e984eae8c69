"""The tools about kernels that run already: which there are, joining one, and going back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from kernel_supervisor.amounts import size
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId, KernelRecord, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.mcp.advice import advice_on
from kernel_supervisor.mcp.arguments import about
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.tools_kernels import NAME_A_KERNEL, facts_of, living_facts
from kernel_supervisor.mcp.ways import under_each_other
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import foreign, naming
from kernel_supervisor.tasks import apart
from kernel_supervisor.wording import table, when

_LIST_S = 2.0
"""How long a list waits for kernels that a daemon which has just begun has not reached yet."""


async def kernel_list_running(call: Call, session: SessionRecord) -> Answer:
    """Living kernels: of all sessions, and those that Jupyter started for people."""
    supervisor, known = call.supervisor.kernels, call.supervisor.sessions.known

    def place(record: KernelRecord) -> dict[str, Any]:
        old_name = known[record.session].old_name if record.session in known else ""
        present_in = [each.name for each in known.values() if each.kernel_id == record.id]
        current = record.id == session.kernel_id
        return {"session": record.session, "old_name": old_name, "current": current, "present_in": present_in}

    await supervisor.adoption.tried(patience_s=_LIST_S)
    runners = list(supervisor.runners.values())
    others, troubles = await foreign.find(call.caller.asker.surroundings.env, supervisor.servers)
    starting = [each for each in supervisor.starting.values() if each.id not in supervisor.runners]
    records = [*(each.kernel.record for each in runners), *starting, *supervisor.adoption.records]
    keys = await asyncio.to_thread(foreign.keys_of, records)
    found = {each.id: each for each in others if not foreign.is_published(each)}
    known_of = [(each.kernel.record, await living_facts(each)) for each in runners]
    known_of += [(each, await facts_of(each) | {"state": "starting", "trouble": ""}) for each in starting]
    for record in supervisor.adoption.records:
        why = {"state": "unreachable", "trouble": supervisor.adoption.why(record)}
        known_of.append((record, await facts_of(record) | why))
    kernels = [{**facts, **place(record), **_known_as(record, found, keys)} for record, facts in known_of]
    rows = [_running_row(each) for each in kernels]
    rows += [_foreign_row(each) for each in found.values()]
    head = ["", "kernel", "name", "session", "state", "memory", "last used"]
    none = "no other kernels are running" if troubles else "no kernels are running"
    lines: list[Words] = [table(head, rows) if rows else none]
    lines += [("not asked: ", *parts(trouble)) for trouble in troubles]
    saved = {each.kernel_id: each.at for each in await call.supervisor.checkpoints.all()}
    kernels = [{**each, "saved_at": saved.get(each["kernel_id"])} for each in kernels]
    facts = {"kernels": kernels, "others": [_foreign_facts(each) for each in found.values()]}
    dead = await _dead(call, {each["kernel_id"] for each in kernels})
    facts["standing_by"] = [asdict(each) for each in await supervisor.spares.standing()]
    facts["dead"] = [{**each, "saved_at": saved.get(each["kernel_id"])} for each in dead]
    return Answer(text=under_each_other(lines), facts={**facts, "troubles": troubles})


def _known_as(record: KernelRecord, found: dict[str, foreign.Found], keys: Mapping[str, KernelId]) -> dict[str, Any]:
    """How Jupyter knows a kernel, which is taken out of `found`: its ids there, and the notebook that works in it."""
    file = record.connection_file
    same = [
        each
        for each in found.values()
        if each.id == record.server_kernel
        or (file and each.connection_file == file)
        or (each.key and keys.get(each.key) == record.id)
    ]
    for each in same:
        del found[each.id]
    return {"notebook": next((each.path for each in same if each.path), ""), "known_as": [each.id for each in same]}


async def _dead(call: Call, living: Collection[KernelId]) -> list[dict[str, Any]]:
    """Kernels that are gone and still stand for their sessions, the latest first."""
    dead = []
    for session in call.supervisor.sessions.known.values():
        if session.kernel_id is None or session.kernel_id in living:
            continue
        record = await call.supervisor.sessions.kernel_record(session)
        if record is not None and record.ended:
            about = {"kernel_id": record.id, "session": session.name, "kernel_directory": record.directory}
            about |= {"standard_error": record.standard_error}
            dead.append({**about, "end_reason": record.end_reason, "ended_at": record.ended_at})
    return sorted(dead, key=lambda each: each["ended_at"], reverse=True)


def _foreign_row(kernel: foreign.Found) -> list[Any]:
    where = f"(Jupyter's, {kernel.server.name})" if kernel.server is not None else "(Jupyter's)"
    return ["", kernel.id, kernel.path or kernel.spec, where, kernel.state, "", ""]


def _foreign_facts(kernel: foreign.Found) -> dict[str, Any]:
    return {
        "kernel_id": kernel.id,
        "connection_file": kernel.connection_file,
        "server": kernel.server.url if kernel.server is not None else "",
        "notebook": kernel.path,
        "spec": kernel.spec,
        "state": kernel.state,
    }


def _running_row(kernel: dict[str, Any]) -> list[Any]:
    about = [kernel[key] for key in ("kernel_id", "name", "session", "state")]
    return ["→" if kernel["current"] else "", *about, size(kernel["memory_bytes"]), when(kernel["last_used_at"])]


async def kernel_attach(
    call: Call,
    session: SessionRecord,
    kernel_id: Annotated[str, about("id or its beginning, notebook, connection file, server URL")],
) -> Answer:
    """Work in a kernel that runs already, of another session or of Jupyter."""
    wanted = needed(kernel_id, *NAME_A_KERNEL).strip()
    asker, kernels = call.caller.asker, call.supervisor.kernels
    runner = await _ours(call, wanted)
    if runner is None:
        found = await foreign.choose(wanted, asker.surroundings.env, asker.cwd, kernels.servers)
        runner = await _ours_behind(call, found)
    if runner is None:
        runner = await kernels.attach(foreign.record_of(found, session, call.supervisor.paths.logs))
    record = runner.kernel.record
    if not runner.lives_on:
        raise RefusedError(f"kernel {record.id} is about to be gone", WayOn("see kernels"))
    note = f"From here on in kernel {record.interpreter.name} ({record.id})."
    await call.supervisor.switch(session, runner, call.client, note)
    on = f" on {record.server}" if record.server else ""
    text: Words = (f"attached to kernel {record.id} ({record.interpreter.name}){on}", WayOn("return"))
    if advice := await apart("environments", advice_on, record):
        text = (*text, f"\n{advice}")
    facts = {"kernel_id": record.id, "connection_file": record.connection_file, "server": record.server}
    return Answer(text=text, facts=facts)


async def _ours(call: Call, wanted: str) -> Runner | None:
    """A kernel that this daemon holds already, by its id or the beginning of one."""
    runners, adoption = call.supervisor.kernels.runners, call.supervisor.kernels.adoption
    await adoption.tried(adoption.like(wanted))
    if not any(kernel_id.startswith(wanted) for kernel_id in runners):
        return None
    return runners[naming.kernel_id(wanted, runners)]


async def _ours_behind(call: Call, found: foreign.Found) -> Runner | None:
    """The kernel that we started and Jupyter knows, too; None for one that is not ours.

    Raises RefusedError where it is one of several, and nobody can tell which.
    """
    runners = [each for each in call.supervisor.kernels.runners.values() if each.kernel.record.owned]
    if foreign.is_published(found):
        if len(runners) == 1:
            return runners[0]
        raise RefusedError(f"kernel {found.id} is one of ours, which that server only found", WayOn("name kernel"))
    keys = await asyncio.to_thread(foreign.keys_of, [each.kernel.record for each in runners])
    ours = keys.get(found.key) if found.key else None
    return call.supervisor.kernels.runners.get(ours) if ours is not None else None


async def kernel_detach(call: Call, session: SessionRecord) -> Answer:
    """Return to the session's default kernel. The one left runs on."""
    record = await call.supervisor.sessions.kernel_record(session)
    if record is None or (record.session == session.name and record.interpreter.kind == "default"):
        return Answer(text="this session is in its default kernel already", facts={"kernel_id": session.kernel_id})
    after = await call.supervisor.leave(session, call.client)
    where = f"kernel {after.kernel_id}" if after.kernel_id else WayOn("next exec")
    runner = call.supervisor.kernels.runners.get(record.id)
    reached = runner is not None and not runner.kernel.trouble
    what = "is gone" if record.ended else "runs on" if reached else "is out of reach"
    text: Words = (f"left kernel {record.id}, which {what}; back in the default kernel (", where, ")")
    return Answer(text=text, facts={"kernel_id": after.kernel_id, "left": record.id})
