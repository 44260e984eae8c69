"""Resources: a session's notebook, its executions and its variables, as the tools show them, and news of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, unquote

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError

from kernel_supervisor.amounts import several
from kernel_supervisor.core import names
from kernel_supervisor.core.errors import RefusedError, SupervisorError
from kernel_supervisor.core.model import Execution, ExecutionId, SessionName, SessionRecord
from kernel_supervisor.mcp import tools_look as look
from kernel_supervisor.mcp import tools_work as work
from kernel_supervisor.mcp.abridging import FIRST, LAST, WHOLE, abridged
from kernel_supervisor.mcp.call import Call
from kernel_supervisor.mcp.ways import said
from kernel_supervisor.sessions import saving
from kernel_supervisor.sessions.sessions import Sessions
from kernel_supervisor.wording import first_line

_Contents = list[types.TextResourceContents | types.BlobResourceContents]
_SCHEME = "kernel://"
_URI = re.compile(r"kernel://(.+)/(notebook|variables|executions/[0-9]{1,18})")
_NOTEBOOK_TYPE, _TEXT = "application/x-ipynb+json", "text/plain"
_RECENT = 20
"""How many executions of the client's own session are listed; the template reaches all."""
_GATHER_S = 0.2
"""How long events are gathered: a cell is committed several times, and says the same each time."""

TEMPLATES = [
    types.ResourceTemplate(uri_template=f"{_SCHEME}{{session}}/{part}", name=name, description=text, mime_type=kind)
    for part, name, text, kind in (
        ("notebook", "notebook", "A session as a Jupyter notebook", _NOTEBOOK_TYPE),
        ("executions/{id}", "execution", "What one execution printed and showed", _TEXT),
        ("variables", "variables", "The variables of a session's kernel", _TEXT),
    )
]


async def listed(call: Call, params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    """Notebook and variables of every session, the client's own first, and the latest executions of that one."""
    supervisor = call.supervisor
    own = await supervisor.sessions.of(call.caller.asker)
    latest = [entry for entry in await supervisor.records.history(own.name, last=_RECENT) if entry.kind == "code"]
    known = supervisor.sessions.known
    folder = names.spelled(own.name.partition("/")[0])
    order = sorted(known, key=lambda name: (name != own.name, not name.startswith(folder)))
    found = [resource for name in order for resource in _session(known[name], latest if name == own.name else ())]
    return types.ListResourcesResult(resources=found)


def _session(session: SessionRecord, latest: Sequence[Execution]) -> Iterator[types.Resource]:
    title = f"{session.title}.ipynb"
    yield _resource(
        session.name, "notebook", "notebook", title=title, mime_type=_NOTEBOOK_TYPE, description=WHOLE.capitalize()
    )
    yield _resource(session.name, "variables", "variables")
    for entry in reversed(latest):
        about = f"{entry.status}: {first_line(entry.source)}"
        yield _resource(session.name, f"executions/{entry.id}", f"execution {entry.id}", description=about)


def _uri(named: str, part: str) -> str:
    """The URI of a part of a session: `notebook`, `variables` or `executions/ID`."""
    return f"{_SCHEME}{quote(named, safe='')}/{part}"


def _resource(session: SessionName, part: str, called: str, mime_type: str = _TEXT, **about: Any) -> types.Resource:
    """A project's own session is named by its folder alone, as in versions before this one."""
    uri = _uri(session.removesuffix("/"), part)
    return types.Resource(uri=uri, name=f"{session}: {called}", mime_type=mime_type, **about)


async def read(call: Call, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    """What stands behind a URI. Raises MCPError, as the protocol has it for what is not there."""
    uri = str(params.uri)
    found = _URI.fullmatch(uri)
    try:
        if found is None:
            wanted = ", ".join(template.uri_template for template in TEMPLATES)
            raise RefusedError(f"there is no such resource; there are {wanted}")
        session = _known(call, unquote(found[1]))
        return types.ReadResourceResult(contents=await _contents(call, uri, session, found[2]))
    except SupervisorError as error:
        raise MCPError(types.INVALID_PARAMS, f"{uri}: {said(error.words)}", {"uri": uri}) from None


async def _contents(call: Call, uri: str, session: SessionName, part: str) -> _Contents:
    if part == "notebook":
        async with call.caller.documents:
            text = await saving.document(call.supervisor, session, abridged, FIRST, LAST, WHOLE)
        return [types.TextResourceContents(uri=uri, mime_type=_NOTEBOOK_TYPE, text=text)]
    if part == "variables":
        shown = await look.kernel_list_vars(call, await call.session(session))
    else:
        number = ExecutionId(int(part.partition("/")[2]))
        execution, _ = await call.supervisor.executions.find(number)
        if execution.session != session:
            raise RefusedError(f"execution {number} is in session {execution.session!r}")
        shown = await work.kernel_output(call, number)
    contents = [_block(uri, block) for block in shown.result(call.reader).content]
    if images := shown.facts.get("images"):
        where = f"kernel_output(execution_id={shown.facts['execution_id']}) shows its {several(images, 'image')}"
        contents.append(types.TextResourceContents(uri=uri, mime_type=_TEXT, text=where))
    return contents


def _known(call: Call, named: str) -> SessionName:
    """The session of a URI: spelled, by its folder alone, or by a word, of an older version or of this project."""
    known = call.supervisor.sessions.known
    old = [session.name for session in known.values() if session.old_name == named]
    own = call.supervisor.sessions.projects.folder(call.caller.asker.directory)
    for name in (SessionName(named), names.spelled(named), *old, names.spelled(own, named)):
        if name in known:
            return name
    raise RefusedError(f"there is no session {named!r}")


def _uris(session: SessionRecord, part: str) -> set[str]:
    """Every URI by which clients may have asked for news of a part of a session."""
    spellings = (session.name.removesuffix("/"), session.name, session.old_name)
    return {_uri(spelling, part) for spelling in spellings if spelling}


def _block(uri: str, block: Any) -> types.TextResourceContents | types.BlobResourceContents:
    if isinstance(block, types.ImageContent):
        return types.BlobResourceContents(uri=uri, mime_type=block.mime_type, blob=block.data)
    return types.TextResourceContents(uri=uri, mime_type=_TEXT, text=block.text)


class Changes:
    """Turns entries that were committed into events on `bus`, which clients of both eras can have asked for: each event
    once in a while."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.bus = InMemorySubscriptionBus()
        self._newest = 0
        self._gathered: dict[ServerEvent, None] = {}
        self._flushing: asyncio.Task[None] | None = None

    def take(self, entry: Execution) -> None:
        """An entry was committed, new or changed."""
        parts = ["notebook", f"executions/{entry.id}"] + (["variables"] if entry.settled else [])
        session = self._sessions.known.get(entry.session)
        for uri in [uri for part in parts if session is not None for uri in _uris(session, part)]:
            self._gathered[ResourceUpdated(uri)] = None
        if entry.id > self._newest:
            self._newest = entry.id
            self._gathered[ResourcesListChanged()] = None
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(), name="news of resources")

    async def _flush(self) -> None:
        await asyncio.sleep(_GATHER_S)
        self._flushing = None
        gathered, self._gathered = self._gathered, {}
        for event in gathered:
            await self.bus.publish(event)
