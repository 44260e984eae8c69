"""The tools an agent works with: running code, reading output, looking at variables, the history."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution
from kernel_supervisor.core.terminal import plain
from kernel_supervisor.mcp import arguments as a
from kernel_supervisor.mcp.call import Answer, Call, needed
from kernel_supervisor.mcp.content import Reading
from kernel_supervisor.mcp.tables import first_line, size, table, when
from kernel_supervisor.sessions.runner import Runner

CLAUDE_CODE_PATIENCE_S, PATIENCE_S = 90.0, 45.0
"""Claude Code moves a call to the background after 120 s and loses its images; Codex gives up at 60 s."""
LOOKUP_S, BUSY_LOOKUP_S = 3.0, 5.0
"""How long a kernel may take to look at itself; one that runs a cell and does not answer is in C code."""
_ROWS = 200


async def kernel_exec(call: Call, args: a.Exec) -> Answer:
    """Run code; wait for its end no longer than the client can."""
    needed(args.code, "code is empty: give Python code to run")
    session = await call.session(args.session)
    ticket = await call.supervisor.execute(session, args.code, call.caller.asker, call.client, call.key)
    usual = CLAUDE_CODE_PATIENCE_S if "claude" in call.client.lower() else PATIENCE_S
    patience = usual if args.timeout is None else args.timeout
    await call.wait(ticket, patience if args.wait else 0.0)
    return await call.show(ticket.execution, ticket, Reading(max_chars=args.max_chars))


async def kernel_output(call: Call, args: a.Output) -> Answer:
    """Wait for, or read on in, an execution of anybody's."""
    execution, ticket = await call.supervisor.find_execution(args.execution_id)
    if ticket is not None:
        await call.wait(ticket, args.wait, reader=True)
    reading = Reading(
        max_chars=args.max_chars,
        from_line=args.from_line,
        tail=args.tail,
        grep=args.grep,
        from_image=args.from_image,
        full_traceback=args.full_traceback,
    )
    return await call.show(execution, ticket, reading)


async def kernel_inspect(call: Call, args: a.Inspect) -> Answer:
    """What a variable, attribute or item is."""
    expression = needed(
        args.var_name, "var_name is empty: give a name such as df, df.columns or model.layers[0]"
    ).strip()
    runner = await _living(call, args.session)
    if runner is None:
        return _no_kernel()
    found = await _look(call, runner, runner.kernel.inspect(expression, args.detail, _patience(runner)))
    if found["status"] == "missing":
        near = ", ".join(found["near"]) or "kernel_list_vars lists what there is"
        raise RefusedError(f"there is no variable {found['name']!r}. Near names: {near}")
    if found["status"] != "ok":
        raise RefusedError(f"{expression}: {found['ename']}: {found['evalue']}")
    return Answer(text=plain(_described(found)), facts=found)


def _described(found: dict[str, Any]) -> str:
    facts = [found["type"], found["shape"], size(found["bytes"])]
    lines = [f"{found['expression']}: " + ", ".join(fact for fact in facts if fact)]
    if found.get("signature"):
        lines.append(f"{found['expression']}{found['signature']}")
    lines.append(found["repr"])
    for part in ("docstring", "source"):
        if found.get(part):
            lines += ["", found[part]]
    return "\n".join(lines)


async def kernel_list_vars(call: Call, args: a.ListVars) -> Answer:
    """The user's variables."""
    runner = await _living(call, args.session)
    if runner is None:
        return _no_kernel(variables=[])
    found = await _look(call, runner, runner.kernel.variables(args.filter, args.type, _patience(runner)))
    if found["status"] != "ok":
        raise RefusedError(f"{found['ename']}: {found['evalue']}")
    rows = [
        row
        for row in found["variables"]
        if args.filter.lower() in row["name"].lower() and args.type.lower() in row["type"].lower()
    ]
    text = table(
        ["name", "type", "shape", "size", "value"],
        [[row["name"], row["type"], row["shape"], size(row["bytes"]), row["value"]] for row in rows[:_ROWS]],
    )
    left_out = max(0, len(rows) - _ROWS) + int(found.get("left_out", 0))
    if left_out:
        text += f"\n… and {left_out} more: narrow it with filter= or type="
    return Answer(
        text=plain(text) if rows else "no variables" + (" match" if found["variables"] else " yet"),
        facts={"variables": rows},
    )


def _patience(runner: Runner) -> float:
    return LOOKUP_S if runner.current is None else BUSY_LOOKUP_S


async def _living(call: Call, wanted: str) -> Runner | None:
    return await call.supervisor.living_runner(await call.session(wanted))


def _no_kernel(**facts: Any) -> Answer:
    text = "There is no kernel yet, so there are no variables: the first kernel_exec starts one."
    return Answer(text=text, facts={"kernel_id": None, **facts})


async def _look(call: Call, runner: Runner, looking: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return dict(await looking)
    except TimeoutError:
        if not runner.kernel.alive:
            await call.supervisor.living_runner(await call.session(runner.kernel.record.session))
        if runner.kernel.info.get("language_info", {}).get("name") != "python":
            raise RefusedError("this kernel is not Python: use kernel_exec to look at its variables") from None
        what = "it does not answer"
        if runner.current is not None:
            execution = runner.current.execution
            what = f"execution {execution.id} runs since {when(execution.started_at)}: {first_line(execution.source)}"
        raise RefusedError(f"the kernel is busy and cannot look now; {what}. kernel_interrupt stops it.") from None


async def kernel_history(call: Call, args: a.History) -> Answer:
    """What was run in a session, by any client."""
    session = await call.session(args.session)
    entries = await call.supervisor.records.history(session.name, last=None if args.filter else args.last)
    entries = [entry for entry in entries if args.filter.lower() in entry.source.lower()][-args.last :]
    rows = [
        [
            entry.id,
            entry.kind if entry.kind != "code" else entry.status,
            _cell(entry),
            when(entry.queued_at),
            entry.client,
            first_line(entry.source),
        ]
        for entry in entries
    ]
    facts = {"session": session.name, "entries": [_entry_facts(entry) for entry in entries]}
    if not rows:
        return Answer(text=f"Nothing was run in session {session.name} yet.", facts=facts)
    text = table(["execution", "status", "cell", "when", "client", "code"], rows)
    return Answer(
        text=f"Session {session.name}. kernel_output(execution_id=…) shows what one printed.\n{plain(text)}",
        facts=facts,
    )


def _cell(entry: Execution) -> str:
    return f"In [{entry.execution_count}]" if entry.execution_count is not None else ""


def _entry_facts(entry: Execution) -> dict[str, Any]:
    return {
        "execution_id": entry.id,
        "kind": entry.kind,
        "status": entry.status,
        "execution_count": entry.execution_count,
        "kernel_id": entry.kernel_id,
        "client": entry.client,
        "queued_at": entry.queued_at,
        "code": entry.source,
    }


async def kernel_interrupt(call: Call, args: a.Interrupt) -> Answer:
    """Stop what runs, and see whether it did."""
    session = await call.session(args.session)
    if args.execution_id is not None:
        execution, ticket = await call.supervisor.find_execution(args.execution_id)
        if ticket is None:
            return Answer(
                text=f"execution {execution.id} is over already ({execution.status})", facts={"stopped": True}
            )
    else:
        runner = call.supervisor.runner_of(session)
        current = runner.current if runner is not None else None
        # sent again after a daemon's death, it must not hit another execution than the first time
        intent = {"execution_id": current.execution.id if current is not None else None}
        asker = call.caller.asker.client_id
        intent = await call.supervisor.records.begin_call(call.key, asker, "kernel_interrupt", intent)
        if current is None or intent["execution_id"] != current.execution.id:
            return Answer(text="nothing is running", facts={"stopped": False})
        ticket = current
    stopped = await call.supervisor.stop_execution(ticket, f"interrupted by {call.client}")
    number = ticket.execution.id
    if stopped:
        return Answer(
            text=f"execution {number} stopped ({ticket.execution.status})",
            facts={"stopped": True, "execution_id": number},
        )
    text = (
        f"execution {number} was sent SIGINT twice and still runs: it catches KeyboardInterrupt, or is in C code that "
        f"does not look. Wait with kernel_output(execution_id={number}, wait=60), or kernel_restart to end the kernel."
    )
    return Answer(text=text, facts={"stopped": False, "execution_id": number})
