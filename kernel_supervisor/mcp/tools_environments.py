"""The tools about environments: which there are, and working in another one."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator

from kernel_supervisor.core.model import SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.environments.choice import as_interpreter, resolve
from kernel_supervisor.environments.discovery import discover
from kernel_supervisor.environments.installing import install
from kernel_supervisor.mcp.arguments import about, as_list
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.carried import with_progress
from kernel_supervisor.mcp.restored import moved, restored_facts
from kernel_supervisor.mcp.ways import sentence
from kernel_supervisor.mcp.wording import BORROWED
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions import autocheckpoints, foreign
from kernel_supervisor.sessions.carrying_over import ALL
from kernel_supervisor.sessions.carrying_over import carry as carry_over
from kernel_supervisor.sessions.placing import displaced
from kernel_supervisor.sessions.restoring import Restored
from kernel_supervisor.sessions.supervisor import Change
from kernel_supervisor.tasks import apart
from kernel_supervisor.wording import printable, table


def _meant(given: Any) -> Any:
    """What clients send who take it for a switch, or for one name."""
    if isinstance(given, bool):
        return [ALL] if given else []
    given = as_list(given)
    given = re.split(r"[,\s]+", given) if isinstance(given, str) else given
    return [each for each in given if each != ""] if isinstance(given, list) else given


Carry = Annotated[Sequence[str], BeforeValidator(_meant), about('variables to take along; ["*"]: all')]
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
        rows.append(["→" if here else "", *map(printable, about)])
        facts.append({**{name: getattr(each, name) for name in _FACTS}, "current": here})
    for spec in there:
        here = record is not None and record.interpreter.argv == spec.argv
        rows.append(["→" if here else "", spec.name, spec.kind, spec.language, "its own", spec.argv[0]])
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
    carry: Carry = (),
    install_ipykernel: bool = False,
) -> Answer:
    """Go on in another environment's kernel. The present one runs on; come back by its name, or "default"."""
    asker = call.caller.asker
    wanted = needed(env_name, "env_name is empty", WayOn("name environment")).strip()
    on_server = await foreign.spec_on_server(wanted, call.supervisor.kernels.servers)
    if wanted == "default":
        interpreter = await call.supervisor.sessions.default_interpreter(session, asker)
    elif on_server is not None:
        interpreter = on_server
    else:
        found = await apart("environments", discover, asker.where)
        environment = await apart("environments", resolve, wanted, found, asker.where)
        if install_ipykernel and not environment.ipykernel and not environment.argv:
            env = asker.surroundings.env
            installing = f"installing ipykernel in {environment.name}"
            await with_progress(call, installing, lambda tell: apart("environments", install, environment, tell, env))
        interpreter = as_interpreter(environment, "chosen on request")
    intent = await call.once.begin_durably("kernel_use_env", at=time.time(), left=session.kernel_id)
    left = replace(session, kernel_id=intent.get("left", session.kernel_id))
    change = Change(
        session=left, interpreter=interpreter, asker=asker, client=call.client, since=intent["at"], fresh=fresh
    )
    runner, returned, carried = await with_progress(
        call, f"changing to {interpreter.name}", lambda tell: _used(call, replace(change, tell=tell), carry)
    )
    record = runner.kernel.record
    done = "returned to" if returned else "started"
    text: Words = (f"{done} kernel {record.id} in {interpreter.name} ({interpreter.argv[0]})", *_with(carry, carried))
    if record.overlay and not returned:
        text = (*text, f". {BORROWED}")
    if nowhere := await asyncio.to_thread(displaced, record):
        text = (*text, ". ", *sentence(nowhere))
    facts = {"kernel_id": record.id, "returned": returned, "interpreter": interpreter.argv[0]}
    return Answer(text=text, facts={**facts, **(restored_facts(carried) if carried is not None else {})})


async def _used(call: Call, change: Change, names: Sequence[str]) -> tuple[Runner, bool, Restored | None]:
    """A kernel of an interpreter, whether it was there before, and what of variables was carried to it.

    Its session is as it was when the call was first made: with the kernel that has them.
    """
    if names:
        return await carry_over(call.supervisor, change, names)
    await autocheckpoints.before(call.supervisor, change.session)
    return (*await call.supervisor.use(change), None)


def _with(names: Sequence[str], carried: Restored | None) -> Words:
    """What is said of its variables."""
    if not names:
        return ("; its variables are its own",)
    if carried is None:
        return ("; it is the one that the session was in, with all its variables",)
    return (" with the variables of the kernel before:\n", *parts(moved(carried)))
