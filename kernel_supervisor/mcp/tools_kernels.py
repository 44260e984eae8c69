"""The tools about kernels: which one, in which environment, from start to end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId, KernelRecord, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.installing import install
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.mcp import arguments as a
from kernel_supervisor.mcp.advice import advice_on, ipykernel_of
from kernel_supervisor.mcp.call import PROGRESS_S, Answer, Call, needed
from kernel_supervisor.mcp.progress import with_progress
from kernel_supervisor.mcp.tables import printable, size, span, table, when
from kernel_supervisor.mcp.wording import BORROWED, how_to_answer
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import foreign, naming
from kernel_supervisor.sessions.placing import displaced

_LIST_S = 2.0
"""How long a list waits for kernels that a daemon which has just begun has not reached yet."""
_NAME_A_KERNEL = ("kernel_id is empty", WayOn("name kernel"))


async def kernel_status(call: Call, args: a.NoArguments) -> Answer:
    """The session and its kernel."""
    session = await call.session(args.session)
    runner = await call.supervisor.sessions.present_runner(session)
    record = await call.supervisor.sessions.kernel_record(session)
    facts: dict[str, Any] = {
        "session": session.name,
        "directory": session.directory,
        "kernel_id": session.kernel_id,
    }
    if runner is None or record is None:
        return await _status_without_kernel(call, session, record, facts)
    facts |= await _kernel_facts(runner)
    if facts["state"] == "dead":  # it died meanwhile: what is said to be dead is explained
        return await kernel_status(call, args)
    lines: list[Words] = [
        f"session {session.name} in {session.directory}",
        f"kernel {_called(record)} ({record.id}), {facts['state']}, execution count {facts['execution_count']}",
        f"interpreter {facts['interpreter']} ({record.interpreter.why or record.interpreter.kind})",
        f"up {span(facts['uptime_s'])}, memory {size(facts['memory_bytes']) or 'not known'}, pid "
        f"{facts['pid'] or 'not known'}",
    ]
    if record.server:
        lines.append(f"on the server {record.server}")
    if nowhere := await asyncio.to_thread(displaced, record):
        lines.append(nowhere)
    if runner.kernel.trouble:
        lines.append(f"not connected: {runner.kernel.trouble}")
    facts["ipykernel"] = await asyncio.to_thread(ipykernel_of, record)
    if advice := await asyncio.to_thread(advice_on, record):
        lines.append(advice)
    if runner.running is not None:
        execution = runner.running.execution
        lines.append(
            f"running execution {execution.id} since {when(execution.started_at)}; queued: {len(runner.waiting)}"
        )
    if runner.current is not None and runner.current.question is not None:
        number, question = runner.current.execution.id, runner.current.question
        lines.append((f"execution {number} asks", *how_to_answer(number, question)))
    return Answer(text=_under_each_other(lines), facts=facts)


def _under_each_other(lines: list[Words]) -> Words:
    return tuple(part for line in lines for part in ("\n", *parts(line)))[1:]


async def _status_without_kernel(
    call: Call, session: SessionRecord, record: KernelRecord | None, facts: dict[str, Any]
) -> Answer:
    why = call.supervisor.kernels.adoption.why(record.id) if record is not None else ""
    if record is not None and why:
        facts |= {"state": "unreachable", "trouble": why}
        lives = f"session {session.name}: kernel {_called(record)} ({record.id}) lives but does not answer: {why} Its "
        return Answer(text=(lives, "variables may be there. ", record.way_around, "."), facts=facts)
    if record is not None:
        facts |= {"state": "dead", "end_reason": record.end_reason}
        dead = f"session {session.name}: its kernel is dead: {record.end_reason}. "
        return Answer(text=(dead, record.way_on, "."), facts=facts)
    interpreter = await asyncio.to_thread(call.supervisor.sessions.default_interpreter, session, call.caller.asker)
    facts |= {"state": None, "interpreter": interpreter.argv[0], "why": interpreter.why}
    text = (
        f"session {session.name} in {session.directory} has no kernel yet: the first kernel_exec starts one\n"
        f"interpreter {interpreter.argv[0]} ({interpreter.why})"
    )
    return Answer(text=text, facts=facts)


async def _kernel_facts(runner: Runner) -> dict[str, Any]:
    return {
        **await _facts_of(runner.kernel.record),
        "state": runner.state,
        "execution_count": runner.execution_count,
        "last_used_at": runner.last_used,
        "trouble": runner.kernel.trouble,
    }


async def _facts_of(record: KernelRecord) -> dict[str, Any]:
    """What is on record of a kernel, and what its process says; the rest is for those that can be reached."""
    pid = record.process.pid if record.process is not None else None
    return {
        "kernel_id": record.id,
        "name": _called(record),
        "interpreter": record.interpreter.argv[0] if record.interpreter.argv else record.interpreter.name,
        "why": record.interpreter.why,
        "kernel_directory": record.directory,
        "execution_count": None,
        "uptime_s": round(time.time() - record.started_at, 1),
        "memory_bytes": await asyncio.to_thread(_memory, pid),
        "pid": pid,
        "generation": record.generation,
        "connection_file": record.connection_file,
        "standard_error": record.standard_error,
        "last_used_at": record.started_at,
        "started_at": record.started_at,
        "owned": record.owned,
        "server": record.server,
    }


def _called(record: KernelRecord) -> str:
    return "default" if record.interpreter.kind == "default" else record.interpreter.name


def _memory(pid: int | None) -> int | None:
    try:
        return int(psutil.Process(pid).memory_info().rss) if pid is not None else None
    except psutil.Error:
        return None


async def kernel_restart(call: Call, args: a.Restart) -> Answer:
    """A fresh process for the session's kernel."""
    session = await call.session(args.session)
    record = await call.supervisor.sessions.kernel_record(session)
    replayed = await call.supervisor.executions.last_good(session) if args.replay else []
    generation = record.generation if record is not None else 0
    intent = await call.once.begin("kernel_restart", generation=generation, replay=[cell.id for cell in replayed])
    forgotten = record is not None and record.ended and record.id not in call.supervisor.kernels.had
    if record is None or record.ended or record.generation == intent["generation"]:
        runner = await call.supervisor.restart(session, call.caller.asker, call.client, force=args.force)
        record = runner.kernel.record
    text: Words = (
        f"kernel {_called(record)} ({record.id}) was restarted: variables, In, Out and the execution count are gone. "
        "The session's history and notebook go on.",
    )
    if forgotten and kind_of(record).inherits:
        text = (*text, " Its environment variables are this client's: what it had before is not known any more.")
    if nowhere := await asyncio.to_thread(displaced, record):
        text = (*text, " ", *_sentence(nowhere), ".")
    call.caller.generations[record.id] = record.generation
    facts = {"kernel_id": record.id, "generation": record.generation, "kernel_directory": record.directory}
    if not args.replay:
        return Answer(text=text, facts=facts)
    return await _replay(call, session, intent["replay"], text, facts)


def _sentence(words: Words) -> Words:
    first, *others = parts(words)
    return (first[0].upper() + first[1:], *others) if isinstance(first, str) else (first, *others)


async def _replay(call: Call, session: SessionRecord, cells: list[int], text: Words, facts: dict[str, Any]) -> Answer:
    """Run earlier cells again, each once however often this call is sent, up to the first that fails."""
    asker = call.caller.asker
    for done, number in enumerate(cells):
        source = (await call.supervisor.executions.find(number))[0].source
        ticket = await call.supervisor.executions.execute(
            session, source, asker, call.client, f"{call.key}:replay:{number}"
        )
        while not (ticket.settled.is_set() or ticket.question or call.caller.admin.stopping.is_set()):
            await call.wait(ticket, PROGRESS_S)
        if ticket.execution.status != "ok":
            again = ticket.execution.id
            stands = "waits for input" if ticket.question else f"ended with status {ticket.execution.status}"
            stopped = (
                f" Replay stopped: execution {number}, run again as {again}, {stands} "
                f"(kernel_output(execution_id={again})); {done} of {len(cells)} cells ran."
            )
            return Answer(text=(*parts(text), stopped), facts={**facts, "replayed": done, "failed": again})
    return Answer(text=(*parts(text), f" {len(cells)} cells were run again."), facts={**facts, "replayed": len(cells)})


async def kernel_shutdown(call: Call, args: a.Shutdown) -> Answer:
    """End a kernel."""
    runners, adoption = call.supervisor.kernels.runners, call.supervisor.kernels.adoption
    given = needed(args.kernel_id, *_NAME_A_KERNEL).strip()
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
    if not record.owned and not args.force:
        raise RefusedError(
            f"kernel {kernel_id} was started by somebody else, who may be working in it", WayOn("detach or end")
        )
    await call.once.begin("kernel_shutdown", kernel_id=kernel_id)
    await call.supervisor.shut_down(kernel_id, f"the kernel was shut down by {call.client}")
    return Answer(text=f"kernel {kernel_id} is gone, with its variables", facts={"kernel_id": kernel_id})


async def kernel_list_envs(call: Call, args: a.NoArguments) -> Answer:
    """Environments that a kernel can run in."""
    session = await call.session(args.session)
    found = await asyncio.to_thread(discover, call.caller.asker.where)
    there, troubles = await foreign.specs(call.supervisor.kernels.servers)
    record = await call.supervisor.sessions.kernel_record(session)
    current = record.interpreter.prefix if record is not None else None
    rows, facts = [], []
    for each in found:
        here = current is not None and each.prefix == current and not each.argv
        ipykernel = each.ipykernel or ("own kernel" if each.argv else "no ipykernel")
        if each.broken:
            ipykernel = f"broken: {each.broken}"
        place = each.prefix or each.resource_dir
        rows.append(
            [
                "→" if here else "",
                printable(each.name),
                each.kind,
                each.python_version or each.language,
                printable(ipykernel),
                printable(place),
            ]
        )
        facts.append(
            {
                "name": each.name,
                "kind": each.kind,
                "prefix": each.prefix,
                "python": each.python,
                "python_version": each.python_version,
            }
            | {"ipykernel": each.ipykernel, "language": each.language, "current": here, "broken": each.broken}
        )
    for spec in there:
        here = record is not None and record.interpreter.argv == spec.argv
        rows.append(["→" if here else "", spec.name, spec.kind, spec.language, "its own", spec.argv[0]])
        facts.append(
            {"name": spec.name, "kind": spec.kind, "prefix": "", "python": "", "python_version": ""}
            | {"ipykernel": "", "language": spec.language, "current": here, "broken": "", "server": spec.argv[0]}
        )
    text = table(["", "name", "kind", "python", "ipykernel", "where"], rows) if rows else "no environments were found"
    not_asked = [part for trouble in troubles for part in ("\nnot asked: ", *parts(trouble))]
    return Answer(text=(text, *not_asked), facts={"environments": facts, "troubles": troubles})


async def kernel_use_env(call: Call, args: a.UseEnv) -> Answer:
    """Work in another environment; the kernel left behind runs on."""
    session = await call.session(args.session)
    asker = call.caller.asker
    wanted = needed(args.env_name, "env_name is empty", WayOn("name environment")).strip()
    on_server = await foreign.spec_on_server(wanted, call.supervisor.kernels.servers)
    if wanted == "default":
        interpreter = await asyncio.to_thread(call.supervisor.sessions.default_interpreter, session, asker)
    elif on_server is not None:
        interpreter = on_server
    else:
        found = await asyncio.to_thread(discover, asker.where)
        environment = await asyncio.to_thread(resolve, wanted, found, asker.where)
        if args.install_ipykernel and not environment.ipykernel and not environment.argv:
            env = asker.surroundings.env
            installing = f"installing ipykernel in {environment.name}"
            await with_progress(call, installing, lambda tell: asyncio.to_thread(install, environment, tell, env))
        interpreter = as_interpreter(environment, "chosen by kernel_use_env")
    intent = await call.once.begin("kernel_use_env", at=time.time())
    runner, returned = await with_progress(
        call,
        f"starting a kernel in {interpreter.name}",
        lambda tell: call.supervisor.use(session, interpreter, asker, call.client, args.fresh, intent["at"], tell),
    )
    record = runner.kernel.record
    done = "returned to" if returned else "started"
    text: Words = (
        f"{done} kernel {record.id} in {interpreter.name} ({interpreter.argv[0]}); its variables are its own",
    )
    if record.overlay and not returned:
        text = (*text, f". {BORROWED}")
    if nowhere := await asyncio.to_thread(displaced, record):
        text = (*text, ". ", *_sentence(nowhere))
    return Answer(text=text, facts={"kernel_id": record.id, "returned": returned, "interpreter": interpreter.argv[0]})


async def kernel_list_running(call: Call, args: a.NoArguments) -> Answer:
    """Every living kernel: ours, and those of Jupyter."""
    session = await call.session(args.session)
    supervisor, known = call.supervisor.kernels, call.supervisor.sessions.known

    def place(record: KernelRecord) -> dict[str, Any]:
        old_name = known[record.session].old_name if record.session in known else ""
        return {"session": record.session, "old_name": old_name, "current": record.id == session.kernel_id}

    await supervisor.adoption.tried(patience_s=_LIST_S)
    runners = list(supervisor.runners.values())
    overview = await foreign.find(call.caller.asker.surroundings.env, supervisor.servers)
    found = {each.id: each for each in overview.kernels}
    kernels = []
    for runner in runners:
        record = runner.kernel.record
        theirs = found.pop(record.server_kernel, None) or _behind(record.connection_file, found)
        facts = await _kernel_facts(runner)
        kernels.append({**facts, **place(record), "notebook": theirs.path if theirs is not None else ""})
    for record in supervisor.adoption.records:
        facts = await _facts_of(record) | {"state": "unreachable", "trouble": supervisor.adoption.why(record.id)}
        kernels.append({**facts, **place(record), "notebook": ""})
    rows = [_running_row(each) for each in kernels]
    rows += [["", each.id, each.path or each.spec, _where(each), each.state, "", ""] for each in found.values()]
    head = ["", "kernel", "name", "session", "state", "memory", "last used"]
    lines: list[Words] = [table(head, rows) if rows else "no kernels are running"]
    lines += [("not asked: ", *parts(trouble)) for trouble in overview.troubles]
    facts = {"kernels": kernels, "others": [_foreign_facts(each) for each in found.values()]}
    return Answer(text=_under_each_other(lines), facts={**facts, "troubles": list(overview.troubles)})


def _behind(connection_file: str, found: dict[str, foreign.Found]) -> foreign.Found | None:
    """The kernel of that connection file, taken out of `found`."""
    same = [each for each in found.values() if connection_file and each.connection_file == connection_file]
    return found.pop(same[0].id) if same else None


def _where(kernel: foreign.Found) -> str:
    return f"(Jupyter's, {kernel.server.name})" if kernel.server is not None else "(Jupyter's)"


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
    mark = "→" if kernel["current"] else ""
    about = [kernel[key] for key in ("kernel_id", "name", "session", "state")]
    return [mark, *about, size(kernel["memory_bytes"]), when(kernel["last_used_at"])]


async def kernel_attach(call: Call, args: a.Attach) -> Answer:
    """Work in a kernel that runs already."""
    session = await call.session(args.session)
    wanted = needed(args.kernel_id, *_NAME_A_KERNEL).strip()
    runner = await _ours(call, wanted) or await _theirs(call, session, wanted)
    record = runner.kernel.record
    note = f"From here on in kernel {record.interpreter.name} ({record.id})."
    await call.supervisor.switch(session, runner, call.client, note)
    on = f" on {record.server}" if record.server else ""
    text: Words = (f"attached to kernel {record.id} ({record.interpreter.name}){on}", WayOn("return"))
    if advice := await asyncio.to_thread(advice_on, record):
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


async def _theirs(call: Call, session: SessionRecord, wanted: str) -> Runner:
    asker, kernels = call.caller.asker, call.supervisor.kernels
    found = await foreign.choose(wanted, asker.surroundings.env, asker.cwd, kernels.servers)
    return await kernels.attach(foreign.record_of(found, session, call.supervisor.paths.logs))


async def kernel_detach(call: Call, args: a.NoArguments) -> Answer:
    """Return to the session's default kernel."""
    session = await call.session(args.session)
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
