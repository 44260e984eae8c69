"""The tools about environments: which there are, and working in another one."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from kernel_supervisor.core.model import SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.installing import install
from kernel_supervisor.mcp.arguments import about
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.progress import with_progress
from kernel_supervisor.mcp.tables import MARKS, printable, table
from kernel_supervisor.mcp.ways import sentence
from kernel_supervisor.mcp.wording import BORROWED
from kernel_supervisor.sessions import foreign
from kernel_supervisor.sessions.placing import displaced
from kernel_supervisor.tasks import apart

_FACTS = ("name", "kind", "prefix", "python", "python_version", "ipykernel", "language", "broken")


async def kernel_list_envs(call: Call, session: SessionRecord) -> Answer:
    """Environments that a kernel can run in: conda, venv, uv, pyenv, kernelspecs and others."""
    found = await apart("environments", discover, call.caller.asker.where)
    there, troubles = await foreign.specs(call.supervisor.kernels.servers)
    record = await call.supervisor.sessions.kernel_record(session)
    current = record.interpreter.prefix if record is not None else None
    rows, facts = [], []
    for each in found:
        here = current is not None and each.prefix == current and not each.argv
        ipykernel = each.ipykernel or ("own kernel" if each.argv else "no ipykernel")
        runs, stands = each.python_version or each.language, f"broken: {each.broken}" if each.broken else ipykernel
        about = (each.name, each.kind, runs, stands, each.prefix or each.resource_dir)
        rows.append([MARKS[here], *map(printable, about)])
        facts.append({**{name: getattr(each, name) for name in _FACTS}, "current": here})
    for spec in there:
        here = record is not None and record.interpreter.argv == spec.argv
        rows.append([MARKS[here], spec.name, spec.kind, spec.language, "its own", spec.argv[0]])
        known = {"name": spec.name, "kind": spec.kind, "language": spec.language, "server": spec.argv[0]}
        facts.append({**dict.fromkeys(_FACTS, ""), **known, "current": here})
    text = table(["", "name", "kind", "python", "ipykernel", "where"], rows) if rows else "no environments were found"
    not_asked = [part for trouble in troubles for part in ("\nnot asked: ", *parts(trouble))]
    return Answer(text=(text, *not_asked), facts={"environments": facts, "troubles": troubles})


async def kernel_use_env(
    call: Call,
    session: SessionRecord,
    env_name: Annotated[str, about("as in kernel_list_envs, a prefix, an interpreter, or SERVER:SPEC")],
    fresh: Annotated[bool, about("a new kernel, even if one runs there")] = False,
    install_ipykernel: Annotated[bool, about("there, if it is missing")] = False,
) -> Answer:
    """Go on in another environment's kernel. The present one runs on with its variables; come back by its name, or
    "default"."""
    asker = call.caller.asker
    wanted = needed(env_name, "env_name is empty", WayOn("name environment")).strip()
    on_server = await foreign.spec_on_server(wanted, call.supervisor.kernels.servers)
    if wanted == "default":
        interpreter = await apart("environments", call.supervisor.sessions.default_interpreter, session, asker)
    elif on_server is not None:
        interpreter = on_server
    else:
        found = await apart("environments", discover, asker.where)
        environment = await apart("environments", resolve, wanted, found, asker.where)
        if install_ipykernel and not environment.ipykernel and not environment.argv:
            env = asker.surroundings.env
            installing = f"installing ipykernel in {environment.name}"
            await with_progress(call, installing, lambda tell: apart("environments", install, environment, tell, env))
        interpreter = as_interpreter(environment, "chosen by kernel_use_env")
    intent = await call.once.begin_durably("kernel_use_env", at=time.time())
    runner, returned = await with_progress(
        call,
        f"starting a kernel in {interpreter.name}",
        lambda tell: call.supervisor.use(session, interpreter, asker, call.client, fresh, intent["at"], tell),
    )
    record = runner.kernel.record
    done = "returned to" if returned else "started"
    text: Words = (
        f"{done} kernel {record.id} in {interpreter.name} ({interpreter.argv[0]}); its variables are its own",
    )
    if record.overlay and not returned:
        text = (*text, f". {BORROWED}")
    if nowhere := await asyncio.to_thread(displaced, record):
        text = (*text, ". ", *sentence(nowhere))
    return Answer(text=text, facts={"kernel_id": record.id, "returned": returned, "interpreter": interpreter.argv[0]})
