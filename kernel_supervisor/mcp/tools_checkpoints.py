"""The tools about state that outlives its kernel: saving a session's variables, and a fresh kernel with or without."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from kernel_supervisor.amounts import several
from kernel_supervisor.core import checkpoints as core
from kernel_supervisor.core.checkpoints import LAST, Checkpoint, Held
from kernel_supervisor.core.errors import RefusedError, UnavailableError
from kernel_supervisor.core.model import Execution, ExecutionId, KernelRecord, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.mcp import rerunning
from kernel_supervisor.mcp import restored as words
from kernel_supervisor.mcp.arguments import about, as_list
from kernel_supervisor.mcp.call import Answer, Call
from kernel_supervisor.mcp.carried import with_progress
from kernel_supervisor.mcp.ways import sentence
from kernel_supervisor.sessions import autocheckpoints, farewells
from kernel_supervisor.sessions.checkpoints import Wanted
from kernel_supervisor.sessions.offering import offered
from kernel_supervisor.sessions.placing import displaced
from kernel_supervisor.sessions.restoring import Restored

_MODES = {
    "asked": "variables are saved when asked",
    "auto": "variables are saved by themselves, too",
    "off": "variables are not saved",
}
log = logging.getLogger(__name__)


def _meant(given: Any) -> Any:
    """What clients send who take it for a switch, or for a list."""
    if isinstance(given, bool):
        return LAST if given else ""
    given = as_list(given)
    return given[0] if isinstance(given, list) and len(given) == 1 else given


Restore = Annotated[str, BeforeValidator(_meant), about("variables of a checkpoint: last, NAME, SESSION:NAME")]


async def kernel_checkpoint(
    call: Call,
    session: SessionRecord,
    name: str = "",
    mode: Annotated[
        Literal["", "asked", "auto", "off"],
        about("from now on: when asked, also by itself, never"),
    ] = "",
) -> Answer:
    """Save the variables now, to outlive their kernel: kernel_restart(restore=NAME) brings them back."""
    name = name.strip()
    if name and (why := core.why_no_name(name)):
        raise RefusedError(f"name: {why}")
    session = await _with_mode(call, session, mode)
    if session.checkpoints == "off" and not mode:
        raise RefusedError("checkpoints are off in this session", WayOn("turn on"))
    set_to = f"session {session.name}: from now on {_MODES[mode]}" if mode else ""
    if mode == "off":
        return Answer(text=set_to, facts={"mode": mode})
    try:
        runner = await call.supervisor.sessions.living_runner(session)
    except RefusedError as error:
        if not mode:
            raise
        return Answer(text=(f"{set_to}. Nothing was saved now: ", *error.words), facts={"mode": mode})
    if mode and runner is None:
        return Answer(text=set_to, facts={"mode": mode})
    if runner is None:
        raise RefusedError("this session has no kernel yet, and no variables", WayOn("first exec"))
    intent = await call.once.begin("kernel_checkpoint", at=time.time(), name=name)
    made = await _made_before(call, session, intent) if call.again else None
    if made is None:
        made = await with_progress(
            call,
            "saving the variables",
            lambda tell: call.supervisor.checkpoints.save(
                Wanted(session=session, runner=runner, kind="asked", name=name, tell=tell)
            ),
        )
    held = await _held(call, made)
    text = words.saved(made, held)
    if mode:
        text = (f"{set_to}\n", *parts(text))
    if not session.checkpoints and len(await call.supervisor.checkpoints.of(session.name)) == 1:  # once
        text = (*parts(text), "\n", WayOn("offer auto"))
    facts = {"checkpoint": words.facts(made), "held": words.held_facts(held), "mode": session.checkpoints or "asked"}
    return Answer(text=text, facts=facts)


async def _held(call: Call, made: Checkpoint) -> Sequence[Held]:
    """What is in one; nothing where that cannot be read: it was saved all the same."""
    try:
        return await call.supervisor.checkpoints.held(made)
    except UnavailableError as error:
        log.warning("session %s: %s", made.session, error)
        return ()


async def _with_mode(call: Call, session: SessionRecord, mode: str) -> SessionRecord:
    if not mode or mode == session.checkpoints:
        return session
    session = await call.supervisor.sessions.keep(session)
    log.info("session %s: checkpoints %s", session.name, mode)
    session = await call.supervisor.sessions.change(session.name, checkpoints=mode)
    runner = call.supervisor.sessions.runner_of(session)
    if mode == autocheckpoints.AUTO:
        call.supervisor.look_after(session.name)
    elif runner is not None:
        await farewells.never_mind(call.supervisor.checkpoints, runner)
    return session


async def _made_before(call: Call, session: SessionRecord, intent: dict[str, Any]) -> Checkpoint | None:
    """What a daemon made for this call that could not answer it."""
    there = await call.supervisor.checkpoints.of(session.name)
    return next((each for each in there if each.name == intent["name"] and each.at >= intent["at"]), None)


async def kernel_restart(
    call: Call,
    session: SessionRecord,
    replay: Annotated[
        bool, about("then run again what had succeeded, or with restore the rest, up to the first error")
    ] = False,
    restore: Restore = "",
    force: Annotated[bool, about("even if others started it")] = False,
) -> Answer:
    """A fresh process for the session's kernel: variables are lost, history and notebook go on."""
    if restore.strip():
        return await _restart_with(call, session, restore, replay=replay, force=force)
    record = await call.supervisor.sessions.kernel_record(session)
    replayed = await call.supervisor.records.last_good(session.name) if replay else []
    generation = record.generation if record is not None else 0
    intent = await call.once.begin_durably(
        "kernel_restart", generation=generation, replay=[cell.id for cell in replayed]
    )
    forgotten = record is not None and record.ended and record.id not in call.supervisor.kernels.had
    if record is None or record.ended or record.generation == intent["generation"]:
        saved, is_all = await autocheckpoints.before(call.supervisor, session)
        before = call.supervisor.sessions.runner_of(session)
        runner = await call.supervisor.restart(session, call.caller.asker, call.client, force=force)
        record, cut_off = runner.kernel.record, before.cut_off if before is not None else None
    else:
        saved, is_all, cut_off = None, True, None
    text: Words = (
        f"kernel {record.called} ({record.id}) was restarted: variables, In, Out and the execution count are gone. "
        "The session's history and notebook go on.",
    )
    if cut_off is not None:
        text = (*text, f" Execution {cut_off} was running, and ended with it.")
    if saved is not None:
        since = "" if is_all else "; what ran since then was not saved"
        text = (*text, " ", *parts(sentence(offered(saved, LAST))), f"{since}.")
    elif not is_all:
        text = (*text, " Nothing of it was saved: a cell ran, or the kernel did not answer.")
    if forgotten and kind_of(record).inherits:
        text = (*text, " Its environment variables are this client's: what it had before is not known any more.")
    answer = await _with_place(record, text, " ", {})
    return await _replay(call, session, intent["replay"], answer, " ") if replay else answer


async def _restart_with(call: Call, session: SessionRecord, wanted: str, *, replay: bool, force: bool) -> Answer:
    """A fresh kernel, the session's first one too, with the variables of a checkpoint."""
    checkpoint = await found(call, session, wanted)
    record = await call.supervisor.sessions.kernel_record(session)
    generation = record.generation if record is not None and not record.ended else 0
    intent = await call.once.begin_durably("kernel_restart", generation=generation, restore=checkpoint.id)
    checkpoint = await found(call, session, f"{checkpoint.session}:{intent['restore']}")
    restarts = record is None or record.ended or record.generation == intent["generation"]
    restored, rest = await _brought_back(call, session, checkpoint, intent, restarts=restarts, force=force)
    record = await call.supervisor.sessions.kernel_record(call.supervisor.sessions.known[session.name])
    assert record is not None
    text: Words = (
        f"kernel {record.called} ({record.id}) is fresh; the session's history and notebook go on.\n",
        *parts(words.back(restored, again=replay)),
    )
    answer = await _with_place(record, text, "\n", words.restored_facts(restored))
    return await _replay(call, session, rest, answer, "\n") if replay else answer


async def _with_place(record: KernelRecord, text: Words, between: str, facts: dict[str, Any]) -> Answer:
    """What is said of a fresh kernel, with its directory where that is not as it should be."""
    if nowhere := await asyncio.to_thread(displaced, record):
        text = (*parts(text), between, *sentence(nowhere), ".")
    known = {"kernel_id": record.id, "generation": record.generation, "kernel_directory": record.directory}
    return Answer(text=text, facts={**known, **facts})


async def _brought_back(
    call: Call, session: SessionRecord, checkpoint: Checkpoint, intent: dict[str, Any], *, restarts: bool, force: bool
) -> tuple[Restored, Sequence[int]]:
    """What is back in the kernel, and what this call runs again: the same however often it is sent."""
    if not restarts and "restored" in intent:
        return words.restored_before(checkpoint, intent["restored"]), list(map(int, intent["rest"]))
    if restarts:
        await autocheckpoints.before(call.supervisor, session, unless=checkpoint)
    _, restored = await with_progress(
        call,
        f"bringing back {several(len(checkpoint.names), 'variable')}",
        lambda tell: call.supervisor.restore(
            session, checkpoint, call.caller.asker, call.client, restarts=restarts, force=force
        ),
    )
    rest = list(map(int, intent.get("rest", restored.rest)))
    told = {**intent, "restored": words.restored_facts(restored), "rest": rest}
    await call.once.decide("kernel_restart", **told)
    return restored, rest


async def found(call: Call, session: SessionRecord, wanted: str) -> Checkpoint:
    """The checkpoint that is meant by `NAME` or `SESSION:NAME`. Raises RefusedError."""
    whose, name = core.parted(wanted)
    if whose:
        session = await call.supervisor.sessions.of(call.caller.asker, whose)
    return await call.supervisor.checkpoints.find(session, name)


async def _replay(call: Call, session: SessionRecord, numbers: Sequence[int], answer: Answer, between: str) -> Answer:
    """Run cells again, in order, up to the first that fails; the answer with what came of that."""
    text, facts = (*parts(answer.text), between), answer.facts
    cells: list[Execution] = [(await call.supervisor.executions.find(number))[0] for number in numbers]
    done, stopped = await rerunning.run(call, session, cells, "replay")
    if stopped is None:
        ran = f"{several(len(cells), 'cell')} {'was' if len(cells) == 1 else 'were'} run again."
        return Answer(text=(*text, ran), facts={**facts, "replayed": len(cells)})
    again: ExecutionId = stopped.execution.id
    stands = "waits for input" if stopped.question else f"ended with status {stopped.execution.status}"
    ran = f"{done} of {several(len(cells), 'cell')} ran"
    why = f"Replay stopped: {ran}; execution {cells[done].id}, run again as {again}, {stands}"
    return Answer(text=(*text, why, WayOn("read", (again,))), facts={**facts, "replayed": done, "failed": again})
