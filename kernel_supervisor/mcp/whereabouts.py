"""Where a client works, where its working directory does not say: its MCP roots; for a command line, a project above.

A client that starts its servers in `/` or in a folder of its own, and offers roots, is asked for them before anything
is committed: by `roots/list` where there was a handshake, since 2026-07-28 by an `InputRequiredResult`. The decision is
on record, so that the next daemon makes no other one for a client that is at work.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import FileUrl, TypeAdapter, ValidationError

from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.caller import OF_ALL, Caller
from kernel_supervisor.records.once import Once

_FIELD = _STATE = "roots"
_PATIENCE_S, _LATE_S = 3.0, 600.0
"""How long a call waits for a client's roots, and how long they may still come after that."""
_URL = TypeAdapter[FileUrl](FileUrl)


async def settle(call: Call) -> types.InputRequiredResult | None:
    """Have it decided where this call's client works; what the client has to be asked first, if anything."""
    caller = call.caller
    above(caller)
    if caller.asker.kind == "cli" or caller.asker.told or call.capabilities.roots is None:
        return None
    async with caller.whereabouts.lock:
        caller.whereabouts.cwd = caller.whereabouts.cwd or caller.asker.cwd
        if not caller.whereabouts.settled:
            before = await _decision(call).known()
            if before is not None:
                _move(caller, before["directory"])
                caller.whereabouts.settled = True
        if not call.ctx.session.can_send_request:
            return await _ask_with_a_retry(call)
        await _ask_at_once(call)
        return None


def above(caller: Caller) -> None:
    """Have a command line work in the nearest directory above that has a session, if its own has none.

    Not in the home directory and not in `/`, which are above everything.
    """
    asker, place = caller.asker, caller.whereabouts
    if asker.kind != "cli" or asker.told or place.settled:
        return
    place.settled = True
    used = {session.directory for session in caller.supervisor.sessions.known.values()}
    passed_over = {"/", os.path.realpath(asker.where.home)}
    for directory in (asker.directory, *map(str, Path(asker.directory).parents)):
        if directory in used and (directory == asker.directory or directory not in passed_over):
            place.above = directory != asker.directory
            caller.asker = replace(asker, directory=directory)
            return


def _decision(call: Call) -> Once:
    """Where a client works, as it stands on record among its calls."""
    return replace(call.once, key=f"{call.caller.asker.client_id}:{_STATE}")


# Since 2026-07-28


async def _ask_with_a_retry(call: Call) -> types.InputRequiredResult | None:
    """The question, or None where there is (or can be) nothing to ask any more: the call goes on."""
    is_retry, given = call.params.request_state == _STATE, (call.params.input_responses or {}).get(_FIELD)
    if is_retry:
        call.params = call.params.model_copy(update={"request_state": None, "input_responses": None})
    if call.caller.whereabouts.settled:
        return None
    if is_retry:
        roots = [str(root.uri) for root in given.roots] if isinstance(given, types.ListRootsResult) else []
        await _decide(call, roots)
        return None
    entry = await call.supervisor.records.execution_of_call(call.key)
    if entry is not None or await call.once.known() is not None:
        return None  # a predecessor began with it: asked now, its client would make it again as another call
    return types.InputRequiredResult(input_requests={_FIELD: types.ListRootsRequest()}, request_state=_STATE)


# Where there was a handshake


async def _ask_at_once(call: Call) -> None:
    """Ask, and wait for the answer for a moment; one that comes later, or again, is a change."""
    place = call.caller.whereabouts
    fresh = place.asking is None and (place.changed or not place.settled)
    if fresh:
        place.changed = False
        place.asking = call.caller.tasks.begin(_roots_of(call), f"roots of client {call.caller.asker.client_id}")
    if place.asking is None:
        return
    if fresh:
        await asyncio.wait({place.asking}, timeout=_PATIENCE_S)
    if place.asking.done():
        roots, place.asking = place.asking.result(), None
        await _decide(call, roots)
    elif not place.settled:
        await _decide(call, None)


async def _roots_of(call: Call) -> list[str] | None:
    """What the client answers; None where it does not."""
    asked = call.ctx.session.send_request(
        types.ListRootsRequest(), types.ListRootsResult, request_read_timeout_seconds=_LATE_S
    )
    try:
        return [str(root.uri) for root in (await asked).roots]
    except (MCPError, ValidationError):
        return None


# What follows from the answer


async def _decide(call: Call, roots: list[str] | None) -> None:
    """Take the client's roots for where it works. A session that has a kernel is not left by itself: that is said."""
    caller, place = call.caller, call.caller.whereabouts
    directory = await asyncio.to_thread(_chosen, place.cwd, roots or [])
    if place.settled and (not directory or directory == caller.asker.directory or await _stays(call, directory)):
        return
    directory = directory or caller.asker.directory
    await _decision(call).decide(_STATE, directory=directory)
    _move(caller, directory)
    place.settled = True


async def _stays(call: Call, directory: str) -> bool:
    """Whether the client goes on where it was, which is said, because there is a kernel with its variables."""
    caller, sessions = call.caller, call.supervisor.sessions
    present = [await sessions.of(caller.asker), *sessions.worked_in(caller.asker.client_id)]
    with_kernels = {each.name for each in present if each.kernel_id is not None}
    if not with_kernels:
        return False
    there = await sessions.of(replace(caller.asker, directory=directory))
    caller.notices[OF_ALL].append(
        f"the client's root is {directory} now; it goes on in {caller.asker.directory}, because of the kernel of "
        f'session {", ".join(sorted(with_kernels))}. session="{there.name}" works in the new one'
    )
    return True


def _move(caller: Caller, directory: str) -> None:
    caller.asker = replace(caller.asker, directory=directory, cwd=directory)


def _chosen(cwd: str, roots: Sequence[str]) -> str:
    """The client's working directory where that lies in a root, else the first root; empty where there is none."""
    own = os.path.realpath(cwd)
    there = [os.path.realpath(path) for path in map(_directory_of, roots) if path]
    if any(own == root or own.startswith(root.rstrip("/") + "/") for root in there):
        return own
    return there[0] if there else ""


def _directory_of(uri: str) -> str:
    """The directory of this machine that a file URI names; empty where it names none. https://www.rfc-editor.org/rfc/rfc8089.

    Some clients escape nothing: `#` and `?` may be part of the path.
    """
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    if scheme.lower() != "file" or host.lower() not in ("", "localhost", "127.0.0.1", "[::1]"):
        return ""
    for text in (path, re.split("[?#]", path)[0]):
        found = os.fsdecode(unquote_to_bytes(slash + text))
        if "\0" not in found and os.path.isdir(found):
            return found
    return ""


def understood(result: Any) -> Any:
    """A client's roots by their file URIs alone: for anything odd in one of them, the SDK would refuse them all."""
    roots = result.get("roots") if isinstance(result, dict) else None
    if not isinstance(roots, list):
        return result
    return {"roots": [{"uri": root["uri"]} for root in roots if _is_file(root)]}


def _is_file(root: Any) -> bool:
    try:
        _URL.validate_python(root["uri"])
    except (ValidationError, TypeError, KeyError):
        return False
    return True
