"""What becomes of a call that its client cancels: what it runs is stopped before the call is over for its client.

Only then: until a client's shim hears of that, it sends call and cancel to the next daemon, too. A client that is gone,
or only lost patience, lets go of what it runs.
"""

from __future__ import annotations

import logging
from typing import Any

from kernel_supervisor.core.model import Execution
from kernel_supervisor.mcp import asking
from kernel_supervisor.mcp.caller import Caller
from kernel_supervisor.mcp.carried import carried_through

log = logging.getLogger(__name__)


async def stop(caller: Caller, call: int, params: dict[str, Any] | None) -> None:
    """Have what a cancelled call runs not run, or interrupted, whichever daemon began it."""
    try:
        await carried_through(_stop(caller, call, params), f"what call {call} runs, which was cancelled")
    except Exception:  # the call is over all the same
        log.exception("what call %d of client %s runs was not stopped", call, caller.asker.client_id)


async def _stop(caller: Caller, call: int, params: dict[str, Any] | None) -> None:
    await caller.ready.wait()
    for execution in await _run_by(caller, call, params):
        if not execution.settled:
            caller.cancelled[execution.session].append(execution.id)
            await caller.supervisor.stop(execution, "the client cancelled the call")


async def _run_by(caller: Caller, call: int, params: dict[str, Any] | None) -> list[Execution]:
    """What it began, or joined when it was made again; that which others run it only reads."""
    executions = caller.supervisor.executions
    if params is not None and (joined := asking.joined_by(params)):
        execution, _ = await executions.find(joined)
        return [execution] if execution.source == (params.get("arguments") or {}).get("code") else []
    return await executions.of_call(caller.call_key(call))
