"""Looking at variables, which runs nothing: also while a cell runs, and where that is impossible, saying so soon."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from kernel_supervisor.amounts import size, span
from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.inside.lookup import ROWS
from kernel_supervisor.kernels.channels import NoSignError
from kernel_supervisor.kernels.process import is_computing, is_stopped
from kernel_supervisor.mcp.arguments import about
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.wording import OR_BROKEN
from kernel_supervisor.outputs.terminal import plain
from kernel_supervisor.running.runner import Runner
from kernel_supervisor.wording import first_line, table, when

LOOKUP_S, BUSY_LOOKUP_S = 3.0, 5.0
"""How long a kernel may take to look at itself. One in a Python loop takes its time, on a loaded machine seconds."""
SIGN_S = 0.9
"""How soon one that runs a cell has to begin with it: it needs a turn or two for that. Else C code holds it."""
_ROWS, _SOME = 200, 500
"""Of a list that agents read, and of those that are looked at for one."""
_NUMBER, _SIZE = re.compile(r"\d+"), re.compile(r"\d (?:B|bytes|[kMGT]B)\b")
_PYTHON = ("python", "")
"""Languages of kernels that can be looked into; empty where one has not said yet what it runs."""


async def kernel_inspect(
    call: Call,
    session: SessionRecord,
    var_name: Annotated[str, about("such as df, df.columns, model.layers[0]")],
    detail: Literal["", "source"] = "",
) -> Answer:
    """One variable, attribute or item: type, shape, value; signature and docstring of functions."""
    empty = "var_name is empty: give a name such as df, df.columns or model.layers[0]"
    expression = needed(var_name, empty).strip()
    runner = await call.supervisor.sessions.living_runner(session)
    if runner is None:
        return _no_kernel()
    if runner.kernel.language not in _PYTHON:
        return await _inspect_as_jupyter(call, session, runner, expression)
    try:
        found = await runner.kernel.inspect(expression, detail, *_patience(runner))
    except TimeoutError as error:
        root = re.match(r"\w*", expression)
        return await _cannot_look(call, session, runner, error, lambda row: row["name"] == (root and root[0]))
    if found["status"] == "missing":
        near = f". Near names: {', '.join(found['near'])}" if found["near"] else WayOn("see variables")
        raise RefusedError(f"there is no variable {found['name']!r}", near)
    if found["status"] != "ok":
        if found.get("to_be_run"):
            raise RefusedError(found["evalue"], WayOn("run it"))
        raise RefusedError(f"{expression}: {found['ename']}: {found['evalue']}")
    return Answer(text=plain(_described(found)), facts=found)


async def _inspect_as_jupyter(call: Call, session: SessionRecord, runner: Runner, expression: str) -> Answer:
    """What a kernel of another language says itself: Jupyter has a request for that, behind what runs."""
    language = runner.kernel.language
    if runner.current is not None:
        raise RefusedError(f"this kernel runs {language}, and is busy: it can be asked about a name once it is idle")
    try:
        text = plain(await runner.kernel.inspect_as_jupyter(expression, LOOKUP_S)).strip()
    except TimeoutError:
        await call.supervisor.sessions.living_runner(session)  # which says of one that died why
        raise RefusedError(f"this kernel runs {language} and does not answer", WayOn("show it")) from None
    if not text:
        raise RefusedError(f"this kernel runs {language} and knows nothing of {expression!r} to tell", WayOn("show it"))
    return Answer(text=text, facts={"expression": expression, "language": language, "text": text})


def _described(found: dict[str, Any]) -> str:
    facts = [found["type"], found["shape"], size(found["bytes"])]
    first, _, rest = found["repr"].partition("\n")
    if rest and _says(first, found["type"], found["shape"]):
        facts, found = [first, "" if _SIZE.search(first) else facts[2]], {**found, "repr": rest}
    lines = [f"{found['expression']}: " + ", ".join(fact for fact in facts if fact)]
    if found.get("signature"):
        lines.append(f"{found['expression']}{found['signature']}")
    lines.append(found["repr"])
    for part in ("docstring", "source"):
        if found.get(part):
            lines += ["", found[part]]
    return "\n".join(lines)


def _says(line: str, type_name: str, shape: str) -> bool:
    """Whether a summary's first line has the type and the shape in it, as most have."""
    name, numbers = type_name.rpartition(".")[2].removeprefix("nd"), _NUMBER.findall(line.replace(",", ""))
    told = line.startswith(type_name.partition(".")[0]) and name in line.partition(":")[0]
    return told and bool(shape) and all(each in numbers for each in shape.split(" × "))


async def kernel_list_vars(
    call: Call,
    session: SessionRecord,
    filter: Annotated[str, about("part of the name")] = "",
    type: Annotated[str, about("part of its type")] = "",
) -> Answer:
    """Variables of the session: name, type, shape, size, short value. Runs no code."""
    runner = await call.supervisor.sessions.living_runner(session)
    if runner is None:
        return _no_kernel(variables=[])
    if (language := runner.kernel.language) not in _PYTHON:
        only = f"this kernel runs {language}: variables can be listed in Python only"
        raise RefusedError(only, WayOn("ask in its language", (language,)))

    def wanted(row: dict[str, Any]) -> bool:
        return filter.lower() in row["name"].lower() and type.lower() in row["type"].lower()

    try:
        most = ROWS if call.caller.asker.kind == "cli" else _SOME
        found = await runner.kernel.variables(filter, type, *_patience(runner), most)
    except TimeoutError as error:
        return await _cannot_look(call, session, runner, error, wanted)
    if found["status"] != "ok":
        raise RefusedError(f"{found['ename']}: {found['evalue']}")
    rows = [row for row in found["variables"] if wanted(row)]
    nothing: Words = ("no variable matches", WayOn("all variables")) if filter or type else "no variables yet"
    beyond = int(found.get("left_out", 0))
    facts = {"variables": rows, **({"more": _more(beyond)} if beyond else {})}
    return Answer(text=_listed(rows, beyond) if rows else nothing, facts=facts)


def _listed(rows: list[dict[str, Any]], beyond: int) -> Words:
    shown = [[row["name"], row["type"], row["shape"], size(row["bytes"]), row["value"]] for row in rows[:_ROWS]]
    text = plain(table(["name", "type", "shape", "size", "value"], shown))
    left_out = beyond + len(rows) - len(shown)
    return (f"{text}\n", *_more(left_out)) if left_out else text


def _more(count: int) -> tuple[str | WayOn, ...]:
    return f"… and {count} more", WayOn("fewer variables")


def _patience(runner: Runner) -> tuple[float, float | None]:
    """How long a look may take, and how soon it has to begin."""
    return (LOOKUP_S, None) if runner.running is None else (BUSY_LOOKUP_S, SIGN_S)


def _no_kernel(**facts: Any) -> Answer:
    text = "There is no kernel yet, so there are no variables"
    return Answer(text=(text, WayOn("first exec"), "."), facts={"kernel_id": None, **facts})


async def _cannot_look(
    call: Call,
    session: SessionRecord,
    runner: Runner,
    error: TimeoutError,
    wanted: Callable[[dict[str, Any]], bool],
) -> Answer:
    """What can be said of a kernel that did not answer: what it does, and what was there when it last did.

    Raises RefusedError where that is nothing.
    """
    if not runner.kernel.alive:
        await call.supervisor.sessions.living_runner(session)
    if not runner.kernel.language:
        raise RefusedError("this kernel is not Python, and cannot be looked into", WayOn("show it")) from None
    doing = await _what_it_does(runner, error)
    if runner.kernel.last_variables is None:
        raise RefusedError(*parts(doing)) from None
    at, found = runner.kernel.last_variables
    rows = [row for row in found["variables"] if wanted(row)]
    age_s = max(0.0, time.time() - at)
    some = f" among the first {len(found['variables'])}" if found.get("left_out") else ""
    there = _listed(rows, int(found.get("left_out", 0))) if rows else f"nothing of that name{some}"
    text = (*parts(doing), f"\nWhat was there {span(age_s)} ago:\n", *parts(there))
    return Answer(text=text, facts={"busy": True, "age_s": round(age_s, 1), "variables": rows})


async def _what_it_does(runner: Runner, error: TimeoutError) -> Words:
    process = runner.kernel.record.process
    if process is not None and is_stopped(process):
        return f"The kernel's process {process.pid} is stopped: `kill -CONT {process.pid}` lets it go on."
    if runner.running is None:
        return (
            "The kernel runs no cell and does not answer: it is held up by a request of another client's, or a cell "
            "replaced or removed what it answers with, such as a builtin. ",
            WayOn("end kernel"),
            ": its variables go with it.",
        )
    execution, held = runner.running.execution, ""
    what = f"execution {execution.id} runs since {when(execution.started_at)}: {first_line(execution.source)}"
    if isinstance(error, NoSignError):
        computing = process is not None and await is_computing(process)
        held = f" None of its Python threads gets a turn: C code holds them all{'' if computing else OR_BROKEN}."
    return f"The kernel is busy and cannot look now; {what}.{held}", WayOn("may stop", (execution.id,))
