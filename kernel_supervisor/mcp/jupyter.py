"""What our kernel provisioner asks of the daemon on behalf of Jupyter's programs; methods that no agent sees."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server

from kernel_supervisor.core import names
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import KernelId, SessionRecord
from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.kernels import links
from kernel_supervisor.mcp.advice import advice_on
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.carried import method
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions.asker import Asker
from kernel_supervisor.sessions.supervisor import Change, Supervisor
from kernel_supervisor.tasks import apart

CLIENT = "Jupyter"


class StartParams(types.RequestParams):
    """supervisor/start_kernel. Camel case on the wire, as all of these."""

    notebook: str = ""
    """The notebook it is for: its session is called after it, where no session was named."""
    session: str = ""
    """The session that its kernelspec names."""
    project: str = ""
    """The real path of the project that its kernelspec means; empty for the notebook's."""
    environment: str = ""


class KernelParams(types.RequestParams):
    """supervisor/interrupt_kernel, supervisor/end_kernel."""

    kernel_id: KernelId


class LinkedParams(KernelParams):
    """supervisor/look_at_kernel, supervisor/restart_kernel."""

    link: str = ""
    """What the links to its sockets are called, so that they are there after this."""
    key: str = ""


def add_methods(server: Server[Caller]) -> None:
    """Let the server answer them."""
    for name, model, run in (
        ("start", StartParams, _start),
        ("look_at", LinkedParams, _look_at),
        ("interrupt", KernelParams, _interrupt),
        ("restart", LinkedParams, _restart),
        ("end", KernelParams, _end),
    ):
        server.add_request_handler(f"supervisor/{name}_kernel", model, method(run))


async def _start(call: Call, params: StartParams) -> dict[str, Any]:
    """The kernel of a session, started if it has none that lives. Starting is asking for one in place of a dead one."""
    caller = call.caller
    supervisor, asker = caller.supervisor, caller.asker
    begun = (await call.once.begin("start_kernel", at=time.time()))["at"]
    session = await _session_of(supervisor, asker, params)
    await supervisor.reached(session)
    session = await supervisor.sessions.keep(session)
    record = await supervisor.sessions.kernel_record(session)
    if params.environment:
        found = await apart("environments", discover, asker.where)
        environment = await apart("environments", resolve, params.environment, found, asker.where)
        interpreter = as_interpreter(environment, "chosen by its kernelspec")
        change = Change(session=session, interpreter=interpreter, asker=asker, client=CLIENT, since=begun)
        runner, _ = await supervisor.use(change)
    elif await supervisor.sessions.present_runner(session) is None and record is not None and record.ended:
        runner = await supervisor.restart(session, asker, CLIENT)
    else:
        runner = await supervisor.sessions.ready_runner(session, asker)
    facts = await _facts(supervisor, runner, "")
    return {**facts, "started": runner.kernel.record.started_at >= begun}


async def _session_of(supervisor: Supervisor, asker: Asker, params: StartParams) -> SessionRecord:
    """The session that a kernelspec names, else the one that its program was told, else the notebook's own.

    Kernelspecs of versions before this one name a session by the word that it had then.
    """
    sessions = supervisor.sessions
    if params.session:
        if params.project:
            return await sessions.named(params.project, params.session.rpartition("/")[2])
        old = [each for each in sessions.known.values() if each.old_name == params.session]
        return old[0] if old else await sessions.named(asker.directory, params.session)
    named_after = names.as_word(os.path.basename(params.notebook)) if params.notebook else ""
    return await sessions.of(asker, asker.session or named_after)


async def _facts(supervisor: Supervisor, runner: Runner, link: str) -> dict[str, Any]:
    record = runner.kernel.record
    try:
        connection = await asyncio.to_thread(links.link, record, supervisor.paths, link)
    except (OSError, ValueError, KeyError) as error:
        raise RefusedError(f"the connection file of kernel {record.id} cannot be used: {error}") from error
    return {
        "kernel_id": record.id,
        "session": record.session,
        "generation": record.generation,
        "pid": record.pid,
        "connection": connection,
        "link": os.path.basename(connection["ip"]).removesuffix("-ipc"),
        "advice": await apart("environments", advice_on, record),
    }


async def _look_at(call: Call, params: LinkedParams) -> dict[str, Any]:
    """A kernel as it is now; only `ended`, with the reason, of one that is gone."""
    supervisor = call.supervisor
    runner = supervisor.kernels.runners.get(params.kernel_id)
    if runner is not None and runner.kernel.alive:
        return await _facts(supervisor, runner, params.link)
    record = await supervisor.records.kernel(params.kernel_id)
    if record is None or record.ended:
        return {"ended": record.end_reason if record is not None else "there is no such kernel"}
    return {"waiting": "it is being started, or does not answer"}


async def _found(supervisor: Supervisor, kernel_id: KernelId) -> Runner | None:
    """A kernel, also where this daemon has just begun and looks for it."""
    await supervisor.kernels.adoption.tried([kernel_id])
    return supervisor.kernels.runners.get(kernel_id)


async def _interrupt(call: Call, params: KernelParams) -> dict[str, Any]:
    runner = await _found(call.supervisor, params.kernel_id)
    if runner is None:
        raise RefusedError(f"there is no living kernel {params.kernel_id}")
    if runner.running is not None and await runner.interrupt(runner.running, f"interrupted by {CLIENT}"):
        return {}
    try:
        running = runner.running
        await runner.kernel.interrupt(running.execution.started_at if running is not None else time.time())
    except ProcessLookupError:
        raise RefusedError(f"kernel {params.kernel_id} is gone") from None
    return {}


async def _restart(call: Call, params: LinkedParams) -> dict[str, Any]:
    """A fresh process under the same id; a call that is sent again restarts it once."""
    caller = call.caller
    supervisor = caller.supervisor
    record = await supervisor.records.kernel(params.kernel_id)
    if record is None:
        raise RefusedError(f"there is no kernel {params.kernel_id}")
    begun = (await call.once.begin_durably("restart_kernel", at=time.time()))["at"]
    runner = await _found(supervisor, record.id)
    if runner is None or runner.kernel.record.started_at < begun:
        runner = await supervisor.restart_kernel(record.id, caller.asker, CLIENT, params.key)
    return await _facts(supervisor, runner, params.link)


async def _end(call: Call, params: KernelParams) -> dict[str, Any]:
    if await _found(call.supervisor, params.kernel_id) is not None:
        await call.supervisor.shut_down(params.kernel_id, f"the kernel was shut down by {CLIENT}")
    return {}
