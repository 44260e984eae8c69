"""One tool call on its way: what it may use, and the answer it gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext

from kernel_supervisor.core.errors import RefusedError
from kernel_supervisor.core.model import Execution, Interpreter, SessionName, SessionRecord
from kernel_supervisor.core.ways import WayOn, Words, parts
from kernel_supervisor.envelope import LARGEST_CHARS
from kernel_supervisor.mcp import hints, notices
from kernel_supervisor.mcp.caller import OF_ALL, Caller
from kernel_supervisor.mcp.clients import MAX_CHARS, Client
from kernel_supervisor.mcp.content import META_KEY, blocks, bounded, machine, render, within
from kernel_supervisor.mcp.drawn import with_figures_drawn
from kernel_supervisor.mcp.elsewhere import rendered_elsewhere
from kernel_supervisor.mcp.view import Content, Reading, Rendered, ResultView
from kernel_supervisor.mcp.ways import in_session, of_session, said, sent
from kernel_supervisor.mcp.wording import clipped
from kernel_supervisor.outputs.folding import Folded
from kernel_supervisor.outputs.limits import takes_long
from kernel_supervisor.records.once import Once
from kernel_supervisor.running.reading import last_line
from kernel_supervisor.running.ticket import Ticket
from kernel_supervisor.sessions.supervisor import Supervisor
from kernel_supervisor.tasks import apart, happens

PROGRESS_S = 3.0
"""How often a waiting call tells a client that asked for progress how it goes; it resets the client's idle limit."""
_PREPARING_S = 10.0
"""How long a result may be prepared where its client's patience is over. Clients give up at 60 s, we wait for 45."""
_LEFT_OUT = "What it showed cannot be read in the time of this call"
_UNREAD = Folded(outputs=[{"output_type": "stream", "name": "stdout", "text": "[… left out …]"}])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a tool says: the text for the reader, and the machine-readable form for `_meta`."""

    text: Words = ""
    facts: dict[str, Any] = field(default_factory=dict)
    content: Sequence[Content] | None = None
    """Instead of `text`, where there is more than text."""
    instead: types.InputRequiredResult | dict[str, Any] | None = None
    """Of everything: what the client has to ask its user first, or the task that it goes on with."""
    error: bool = False
    """Whether it says why there is none."""

    def result(
        self, reader: Client, ways: Mapping[str, str] | None = None, *, whole: bool = False
    ) -> types.CallToolResult:
        """As MCP has it, as much as its `reader` takes, or with the `whole` machine-readable part, said in `ways`.

        No structuredContent: clients show it instead of the text and the images.
        """
        content, asked = self.content, LARGEST_CHARS
        if content is None:
            content, asked = [said(self.text, ways)], MAX_CHARS
        blocks = map(_block, within(content, reader.max_bytes(asked)))
        facts = sent(self.facts, ways)
        facts = facts if whole else bounded(facts)  # a command line has room, and prints them
        return types.CallToolResult(content=[*blocks], is_error=self.error, _meta={META_KEY: facts})


@dataclass(kw_only=True)
class Call:
    """What a tool knows of its call."""

    ctx: ServerRequestContext[Caller]
    caller: Caller
    number: int
    """The call's own number, the same when it is sent again."""
    params: types.InputResponseRequestParams = field(default_factory=types.InputResponseRequestParams)
    """Where the client makes a call again, with an answer to what the call asked: that and what we gave it along."""
    begun: float = field(default_factory=time.monotonic)
    until: float = 0.0
    """How long its client waits for an answer, by the same clock."""
    about: SessionName = OF_ALL
    """The session that it is about, if it is about one."""
    shown: Execution | None = None
    """The execution that its answer shows."""

    @classmethod
    def of(cls, ctx: ServerRequestContext[Caller]) -> Call:
        """The call of a request, with its own number, which the daemon's connection hands along."""
        assert isinstance(ctx.request, int)
        return cls(ctx=ctx, caller=ctx.lifespan_context, number=ctx.request)

    @property
    def supervisor(self) -> Supervisor:
        """The one supervisor of this daemon."""
        return self.caller.supervisor

    @property
    def key(self) -> str:
        """The call's key on record."""
        return self.caller.call_key(self.number)

    @property
    def once(self) -> Once:
        """The call on record: what it is about to do is committed there, and done once."""
        records = self.supervisor.records
        doubtful = self.again and records.forgot
        return Once(records=records, key=self.key, client_id=self.caller.asker.client_id, doubtful=doubtful)

    @property
    def again(self) -> bool:
        """Whether a daemon had it before, which may have done what it asks for."""
        return self.number in self.caller.again

    @property
    def client(self) -> str:
        """How the client names itself."""
        params = self.ctx.session.client_params
        return params.client_info.name if params is not None else self.caller.asker.kind

    @property
    def reader(self) -> Client:
        """What the client can take."""
        params = self.ctx.session.client_params
        return Client(name=self.client, version=params.client_info.version if params is not None else "")

    @property
    def capabilities(self) -> types.ClientCapabilities:
        """What the client declared that it can do."""
        return self.ctx.session.client_capabilities or types.ClientCapabilities()

    @property
    def ways(self) -> Mapping[str, str] | None:
        """Words for ways on: its client's own, or those of an agent that works in a session that is not its own."""
        about, asker = self.shown.session if self.shown is not None else self.about, self.caller.asker
        if asker.ways is not None:
            known = self.supervisor.sessions.known.get(about)
            here = known is not None and known.directory == asker.directory and not known.word
            return in_session(asker.ways, "" if about == OF_ALL else about, here=here)
        if about == OF_ALL or self.supervisor.sessions.is_own(asker, about):
            return asker.ways
        return of_session(about)

    def before(self, execution: Execution) -> float:
        """How long ago a call was first made that began this execution, and is sent again to the next daemon."""
        return max(0.0, time.time() - execution.queued_at - (time.monotonic() - self.begun))

    async def session(self, wanted: str) -> SessionRecord:
        """The session this call is about; what the client has to know of it is noted for its next result."""
        session = await self.supervisor.sessions.of(self.caller.asker, wanted)
        await self.supervisor.reached(session)
        session = self.supervisor.sessions.known.get(session.name, session)
        self.about = session.name
        await notices.note(self.caller, session)
        return session

    async def with_notices(self, answer: Answer) -> Answer:
        """An answer of text alone with what its client is to be told."""
        if answer.content is not None or answer.instead is not None:
            return answer
        told = await notices.taken(self.caller, self.about, text=said(answer.text))
        if not told:
            return answer
        notes = [f"\nnote: {clipped(said(notice, self.ways))}" for notice in told]
        return replace(answer, text=(*parts(answer.text), *notes), facts={**answer.facts, "notices": told})

    async def progress(self, message: str) -> None:
        """Tell a client that asked for it how it goes; numbers must rise, so they are seconds."""
        await self.ctx.session.report_progress(round(time.monotonic() - self.begun, 1), message=message)

    async def wait(self, ticket: Ticket, patience_s: float) -> None:
        """Wait for an execution's end, or for what it asks, `patience_s` at most, with progress. It is left alone."""
        end = self.until = time.monotonic() + patience_s
        while self.goes_on(ticket) and (left := end - time.monotonic()) > 0:
            if not await happens(ticket.attention.next, min(PROGRESS_S, left)):
                await self.progress(await how_it_goes(ticket))

    def goes_on(self, ticket: Ticket) -> bool:
        """Whether it is worth waiting: it is not over, asks for nothing, and the daemon is not about to stop."""
        return not (ticket.settled.is_set() or ticket.question or self.caller.admin.stopping.is_set())

    async def show(self, execution: Execution, ticket: Ticket | None, reading: Reading) -> Answer:
        """An execution as the client is to see it now; without its outputs where they cannot be prepared in time."""
        execution = self.shown = ticket.execution if ticket is not None else execution
        reading = replace(reading, ways=self.ways, max_bytes=self.reader.max_bytes(reading.max_chars))
        session = self.supervisor.sessions.known.get(execution.session)
        if session is not None and self.about != session.name and self.caller.asker.kind != "cli":
            await notices.note(self.caller, session)
        await notices.note_environment(self.caller, execution)
        notices.note_startup(self.caller, execution)
        told = await notices.taken(self.caller, execution.session, execution)
        execution, question = (ticket.execution, ticket.question) if ticket is not None else (execution, None)
        began, self.shown = execution.started_at, execution
        if self.caller.admin.stopping.is_set():
            told.append("the daemon was stopped on request; kernel and cell run on, the next call finds them")
        if self.supervisor.records.not_recorded:
            told.append(f"this is not being recorded: {self.supervisor.records.not_recorded}")
        runner = self.supervisor.kernels.that_ran(execution)
        interpreter = runner.kernel.record.interpreter if runner is not None else None
        behind, ahead = self.supervisor.executions.behind(ticket) if ticket is not None else ((), 0)
        view = ResultView(
            execution=execution,
            folded=Folded(),
            duration_s=None if began is None else max(0.0, (execution.finished_at or time.time()) - began),
            kernel=interpreter.name if interpreter is not None and interpreter.kind != "default" else "",
            behind=behind,
            ahead=ahead,
            notices=tuple(told),
            question=question,
            advice=await hints.on(self.caller, execution, behind),
        )
        left_s = max(_PREPARING_S, self.until - time.monotonic())
        try:
            view, rendered = await asyncio.wait_for(self._prepared(view, reading, interpreter), left_s)
        except asyncio.TimeoutError:
            left_out = (_LEFT_OUT, WayOn("take longer", (execution.id,)))
            view = replace(view, folded=_UNREAD, advice=(*view.advice, left_out))
            short = Reading(max_chars=reading.max_chars, max_bytes=reading.max_bytes, ways=reading.ways)
            rendered = replace(render(view, short), lines=0, truncated=True)
        return Answer(content=rendered.content, facts=machine(view, rendered))

    async def _prepared(
        self, view: ResultView, reading: Reading, interpreter: Interpreter | None
    ) -> tuple[ResultView, Rendered]:
        """A view with what its execution has shown, and what is made from it, where that holds up nobody else."""
        await self.caller.preparing.acquire()
        executions = self.supervisor.executions
        long = executions.is_giant(view.execution)
        long = long or takes_long(reading.grep or "", executions.recorded(view.execution))
        making = self.caller.tasks.begin(self._prepare(view, reading, interpreter, long), "a result", awaited=True)
        making.add_done_callback(lambda _: self.caller.preparing.release())
        try:
            return await asyncio.shield(making)
        finally:
            if long:  # a process ends with who waits for it; a thread does not, and counts as long as it works
                making.cancel()

    async def _prepare(
        self, view: ResultView, reading: Reading, interpreter: Interpreter | None, long: bool
    ) -> tuple[ResultView, Rendered]:
        executions, execution = self.supervisor.executions, view.execution
        folded = await executions.folded(execution, without_outputs=long)
        advice = (*view.advice, *await hints.on_what_is_missing(self.caller, execution, interpreter, folded))
        cells = await executions.cells_of(execution, folded.errors)
        view = replace(view, folded=folded, advice=advice, cells=cells)
        if long:
            return view, await rendered_elsewhere(view, reading, executions.unrecorded(execution))
        view = await with_figures_drawn(view, reading, interpreter, self.caller.tasks)
        return view, await apart("results", render, view, reading) if blocks(folded) else render(view, reading)


async def how_it_goes(ticket: Ticket) -> str:
    """An execution that is not over, in one line, with the last line that it printed."""
    execution = ticket.execution
    if execution.started_at is None:
        return f"execution {execution.id} is queued"
    if ticket.question is not None:
        return f"execution {execution.id} waits for input"
    line = await last_line(ticket)
    return f"execution {execution.id} runs for {time.time() - execution.started_at:.0f} s. {line}".rstrip()


def _block(part: Content) -> types.ContentBlock:
    if isinstance(part, str):
        return types.TextContent(type="text", text=part)
    return types.ImageContent(type="image", data=part.base64, mime_type=part.mime)


def needed(text: str, *otherwise: str | WayOn) -> str:
    """`text`, if there is something in it. Raises RefusedError."""
    if not text.strip():
        raise RefusedError(*otherwise)
    return text
