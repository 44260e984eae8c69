"""What a result says besides: where what a cell lacks is, what was changed on disk, how to go on after a death."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from difflib import get_close_matches

from kernel_supervisor.core.model import Execution, ExecutionId, Interpreter, KernelId
from kernel_supervisor.core.ways import Words
from kernel_supervisor.environments.missing import missing_module, pip_is_missing, where_to_find
from kernel_supervisor.kernels.kinds import kind_of
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.wording import how_to_answer
from kernel_supervisor.outputs import shellwords
from kernel_supervisor.outputs.folding import Folded
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.sessions.placing import astray
from kernel_supervisor.tasks import apart, in_passing

_NO_NAME = re.compile(r"name '(\w+)' is not defined")
_NO_KEY_ERRORS = ("KeyError", "AttributeError", "ColumnNotFoundError")
_KEYS = re.compile(r"'([^'\n]{1,200})'"), re.compile(r'"([^"\n]{1,200})"')
_NEAR = 0.8
"""How alike names are that are taken for one another."""
_LOOK_S = 2.0
"""How long a result waits for a look at the environments of this machine."""
_BESIDE_S = 5.0
"""How long a result waits for each kind of advice beside it."""


async def on(caller: Caller, execution: Execution, behind: Sequence[ExecutionId]) -> tuple[Words, ...]:
    """What is known before its outputs are read; `behind` is what a queued one waits for."""
    return (
        *await in_passing(_advice(caller, execution, behind), "advice", (), _BESIDE_S),
        *await in_passing(_changed(caller, execution), "looking for changed modules", (), _BESIDE_S),
    )


async def on_what_is_missing(
    caller: Caller, execution: Execution, interpreter: Interpreter | None, folded: Folded
) -> tuple[Words, ...]:
    """What is known of what its errors say that there is not."""
    looking = _where_it_is(caller, execution, interpreter, folded)
    return await in_passing(looking, "looking for what is missing", (), _BESIDE_S)


async def _advice(caller: Caller, execution: Execution, behind: Sequence[ExecutionId]) -> tuple[Words, ...]:
    if execution.status in ("dead", "aborted") and execution.kernel_id is not None:
        return await _after_death(caller, execution, execution.kernel_id)
    ticket = caller.supervisor.executions.tickets.get(behind[0]) if behind else None
    if ticket is not None and ticket.question is not None:
        return ((f"Execution {behind[0]}, before it, asks", *how_to_answer(behind[0], ticket.question)),)
    return (words,) if (words := _shell_words(caller, execution)) else ()


async def _after_death(caller: Caller, execution: Execution, kernel_id: KernelId) -> tuple[Words, ...]:
    """How its session gets a kernel again, unless it has one: it would lose that."""
    session = caller.supervisor.sessions.known.get(execution.session)
    record = await caller.supervisor.records.kernel(kernel_id)
    if record is None or (session is not None and session.kernel_id not in (None, kernel_id)):
        return ()
    runner = caller.supervisor.kernels.runners.get(kernel_id)
    lives = runner is not None and runner.kernel.alive  # as another process, unless its death is about to be seen
    same = execution.status == "dead" and record.owned and record.generation == execution.generation
    if session is None or (lives and not same):
        return ()
    back = await caller.supervisor.sessions.back(session, kernel_id, execution.generation)
    return (("Its variables are gone. ", record.way_on, *back, "."),)


def _shell_words(caller: Caller, execution: Execution) -> str:
    """What its code does otherwise here than at a prompt."""
    runner = caller.supervisor.kernels.that_ran(execution)
    if runner is None or runner.kernel.record.interpreter.language != "python":
        return ""
    if execution.status == "ok":
        return shellwords.once_it_is_over(execution.source)
    own = caller.supervisor.executions.tickets.get(execution.id)
    waits = own is None or own.question is not None
    return shellwords.while_it_runs(execution.source) if execution.status == "running" and not waits else ""


async def _changed(caller: Caller, execution: Execution) -> Sequence[Words]:
    """Which modules that a cell uses were changed on disk since they were imported."""
    runner, imports = caller.supervisor.kernels.that_ran(execution), caller.supervisor.imports
    if runner is None or not kind_of(runner.kernel.record).here or not imports.concerns(execution):
        return ()
    return await apart("environments", imports.changed, execution, runner.kernel.record.directory)


async def _where_it_is(
    caller: Caller, execution: Execution, interpreter: Interpreter | None, folded: Folded
) -> tuple[Words, ...]:
    """Of a file or a module that a cell did not find, where it is."""
    runner = caller.supervisor.kernels.that_ran(execution)
    session = caller.supervisor.sessions.known.get(execution.session)
    last = runner is not None and (runner.kernel.record.generation, runner.execution_count)
    if runner and session and folded.errors and last == (execution.generation, execution.execution_count):
        ename, evalue = (str(folded.errors[-1].get(each)) for each in ("ename", "evalue"))
        line = await apart("environments", astray, runner.kernel.record, session.directory, ename, evalue)
        if line:
            return (line,)
        if near := await _near_name(runner, ename, evalue) or await _near_key(runner, ename, evalue):
            return (near,)
    return await _where_to_find(caller, interpreter, folded)


async def _near_name(runner: Runner, ename: str, evalue: str) -> str:
    """The one variable whose name is nearly that of one that there is not; empty for none, or several."""
    wrong = _NO_NAME.fullmatch(evalue) if ename == "NameError" and runner.kernel.language == "python" else None
    if wrong is None or runner.running is not None:
        return ""
    try:
        found = await runner.kernel.inspect(wrong[1], "", _LOOK_S, None)
    except TimeoutError:
        return ""
    near = get_close_matches(wrong[1], [str(each) for each in found.get("near", ())], 2, _NEAR)
    return f"Did you mean {near[0]}? There is such a variable." if len(near) == 1 else ""


async def _near_key(runner: Runner, ename: str, evalue: str) -> str:
    """The one column or key that is nearly one that a cell asked a table or a dictionary for."""
    named = next(filter(None, (each.findall(evalue) for each in _KEYS)), ())
    if not named or ename not in _NO_KEY_ERRORS or runner.running is not None:
        return ""
    try:
        of, near = await runner.kernel.near(named[-1 if ename == "AttributeError" else 0], evalue, _LOOK_S)
    except TimeoutError:
        return ""
    return f"Did you mean {near}? {of} has that." if near else ""


async def _where_to_find(caller: Caller, interpreter: Interpreter | None, folded: Folded) -> tuple[Words, ...]:
    """Of a module that a cell could not import, where it is."""
    errors = folded.errors
    module = missing_module(str(errors[-1].get("ename")), str(errors[-1].get("evalue"))) if errors else ""
    module = module or pip_is_missing(output for output in folded.outputs if output["output_type"] == "stream")
    if not module or interpreter is None or not interpreter.prefix or not interpreter.argv:
        return ()
    where = caller.asker.where
    looking = apart("environments", where_to_find, module, interpreter.prefix, interpreter.argv[0], where)
    try:
        line = await asyncio.wait_for(looking, _LOOK_S)
    except asyncio.TimeoutError:
        return ()
    return (line,) if line else ()
