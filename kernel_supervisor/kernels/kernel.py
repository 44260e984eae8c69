"""One kernel as those who use it see it: its channels, and its keeper, from start or adoption to its end.

It decides nothing, and does not know what kind of kernel it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import zmq

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import BESIDE, KernelRecord, Message
from kernel_supervisor.inside import CHECKPOINTS
from kernel_supervisor.inside.door import KEEP
from kernel_supervisor.inside.lookup import INSPECT, ROWS, VARIABLES
from kernel_supervisor.inside.near import NEAR
from kernel_supervisor.inside.place import PLACE
from kernel_supervisor.inside.recorder import UNRECORDED_TOPIC
from kernel_supervisor.kernels.connection import remove_connection
from kernel_supervisor.kernels.keeper import Keeper, OpenChannels
from kernel_supervisor.kernels.postmortem import stage
from kernel_supervisor.kernels.process import is_stopped
from kernel_supervisor.records.messagelog import begins
from kernel_supervisor.tasks import Tasks, happens

log = logging.getLogger(__name__)
READY_DEADLINE_S = 60.0
"""An interpreter on a cold network disk takes its time; nothing hangs longer than this."""
_SOON_S = 0.01
"""After how long a kernel is asked again whether it is ready, at first."""
_THEIR_SHARE = 0.75
"""Of the time that a look may take: what the kernel may use of it, so that its answer still arrives."""
_HEAR_S = 20.0
_PASS_S = 2.0
"""How long a question behind what runs is waited for at first, before it is asked again."""


class Listener(Protocol):
    """Who is told of a kernel, on the loop."""

    def hear(self, message: Message) -> None:
        """It sent a message."""

    def died(self) -> None:
        """It is gone; told once."""

    def resumed(self, gap: str) -> None:
        """A broken connection is up again; `gap` is what is to be said of the time between."""

    def restarted(self) -> None:
        """Somebody else restarted it."""

    def told_state(self, state: str) -> None:
        """Now and then: what others say that it does."""


class Kernel:
    """A living kernel."""

    def __init__(self, keeper: Keeper) -> None:
        """Hold a kernel that was launched or adopted. It is not ready before `connect`."""
        self.keeper = keeper
        self.channels: OpenChannels
        self.info: dict[str, Any] = {}
        """The content of its kernel_info_reply."""
        self.recorder: Mapping[str, Any] = {}
        """What its recorder says of itself; nothing where none began its log, or one of a version before this one."""
        self.last_variables: tuple[float, dict[str, Any]] | None = None
        """What `variables` found when all were asked for last, and when that was."""
        self._listener: Listener | None = None
        self._early: list[Message] = []
        """What was heard before anybody listened, of a kernel that does not record itself."""
        self._heard = False
        self._ready = asyncio.Event()
        self._dead = asyncio.Event()
        self._gone_because = ""
        self._restarting = False
        self._tasks = Tasks()

    @property
    def record(self) -> KernelRecord:
        """What stands on record of it, or is to."""
        return self.keeper.record

    def note(self, **changes: Any) -> None:
        """Change some fields of its record, which is then to be committed."""
        self.keeper.record = replace(self.keeper.record, **changes)

    async def connect(self, deadline_s: float = READY_DEADLINE_S) -> None:
        """Connect and wait until it answers and its messages arrive.

        Asked on the control channel, so that a busy kernel answers too. Raises UnavailableError, with the
        stage and the end of its standard error, or with the server's reason; KernelGoneError where that has it
        no more.
        """
        self._tasks.keep(self._watch, f"watch of kernel {self.record.id}")  # else its death would be noticed by nobody
        self.channels = self.keeper.open_channels(self._take, self._resumed, self._left)
        await self.channels.connected(deadline_s)
        end, pause_s = asyncio.get_running_loop().time() + deadline_s, _SOON_S
        while not self._ready.is_set():
            if self._dead.is_set():
                how = f"the kernel ended while it started ({self._gone_because})"
                raise await self._failed(stage(self.record), how)
            if asyncio.get_running_loop().time() >= end:
                raise await self._failed("connection", self._silent(deadline_s))
            await self.channels.send("control", "kernel_info_request", {})
            await happens(self._ready, min(pause_s, self.channels.ask_again_s))
            pause_s *= 2
        recorder = await asyncio.to_thread(begins, self.record.message_log)
        self.recorder = recorder or {}
        self.note(language_info=dict(self.info.get("language_info") or {}))

    def _silent(self, deadline_s: float) -> str:
        process = self.record.process
        if process is not None and is_stopped(process):
            return f"the kernel's process {process.pid} is stopped; `kill -CONT {process.pid}` lets it go on"
        return f"the kernel runs but did not answer within {deadline_s:g} s"

    async def _failed(self, doing: str, what: str) -> UnavailableError:
        return UnavailableError(f"Stage {doing}: {what}.{await asyncio.to_thread(self.keeper.last_words)}")

    async def _watch(self) -> None:
        self._left(await self.keeper.watch(self._told_state))

    def listen(self, listener: Listener) -> None:
        """From now on `listener` is told everything, first what came before anybody listened."""
        self._listener = listener
        for message in self._early:
            self._pass_on(listener, message)
        self._early.clear()
        if self._dead.is_set():
            listener.died()

    def _take(self, message: Message) -> None:
        if message.channel == "iopub":
            self._heard = True
        elif message.msg_type == "kernel_info_reply":
            self.info = message.content
        if self._heard and self.info:
            self._ready.set()
        if self._listener is not None:
            self._pass_on(self._listener, message)
        elif not self.record.recorded:
            self._early.append(message)
        if message.channel == "iopub" and not self.keeper.here:
            announced = _announces_restart(message)
            if announced and not self._restarting and self._listener is not None:
                self._listener.restarted()
            self._restarting = announced

    def _pass_on(self, listener: Listener, message: Message) -> None:
        try:
            listener.hear(message)
        except Exception:  # one odd message must not make us deaf to all that follow
            log.exception("kernel %s: a message of type %s was passed over", self.record.id, message.msg_type)

    def _resumed(self, gap: str) -> None:
        if self._listener is not None:
            self._listener.resumed(gap)

    def _told_state(self, state: str) -> None:
        if self._listener is not None and not self.trouble:
            self._listener.told_state(state)

    def _left(self, why: str) -> None:
        if self._dead.is_set():
            return
        self._gone_because = why
        self._dead.set()
        if self._listener is not None:
            self._listener.died()

    @property
    def trouble(self) -> str:
        """Why it cannot be reached at the moment; empty where nothing says so."""
        return self.channels.trouble

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as is known."""
        return not self._dead.is_set() and self.keeper.alive

    def post_mortem(self) -> str:
        """Why it died, as far as can be known. Blocks on files."""
        return self.keeper.explain(self._gone_because)

    async def execute(self, msg_id: str, code: str, beside: str = "") -> None:
        """Send an execute_request under `msg_id`, with what is to stand `beside` it in the log.

        Its recorder never begins one msg_id twice.
        """
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": False,  # it would abort what other clients have queued
        }
        header = {"msg_id": msg_id, **({BESIDE: beside} if beside else {})}
        await self.channels.send("shell", "execute_request", content, header)
        self.keeper.sample()  # while the kernel is busy anyway

    async def answer(self, question: str, text: str) -> None:
        """Give `text` to the `input()` whose `input_request` has the msg_id `question`."""
        value = text.encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be sent
        await self.channels.send("stdin", "input_reply", {"status": "ok", "value": value}, parent={"msg_id": question})

    def hear_less(self) -> None:
        """Of a kernel that records itself hear only that there is news, and what could not be recorded."""
        if self.recorder:
            status = f"kernel.{self.recorder.get('ident')}.status"
            self.channels.hear_only((status.encode(), UNRECORDED_TOPIC))
        elif self.record.recorded:
            self.channels.hear_only((b"kernel.",))

    async def hear_again(self) -> None:
        """Wait until what it publishes arrives, after somebody else restarted it; not for ever."""
        await self.channels.hear(_HEAR_S)

    async def pass_through_shell(self) -> None:
        """Return when everything that was sent on the shell channel so far is done; no deadline but its owner's."""
        deadline_s = _PASS_S
        while True:  # a connection that breaks takes the question along, an interrupt the answer
            with contextlib.suppress(TimeoutError):
                await self.channels.ask("shell", "kernel_info_request", {}, deadline_s)
                return
            deadline_s *= 2

    async def variables(
        self, name: str, type_name: str, deadline_s: float, sign_s: float | None, most: int = ROWS
    ) -> dict[str, Any]:
        """The content of `lookup.variables`: those whose names and types have these parts, so many at most.

        Raises TimeoutError, and NoSignError where it did not begin within `sign_s`.
        """
        content = {"filter": name, "type": type_name, "deadline_s": deadline_s * _THEIR_SHARE, "most": most}
        found = await self.channels.ask("control", VARIABLES, content, deadline_s, sign_s=sign_s)
        if found.get("status") == "ok" and not (name or type_name):
            self.last_variables = (time.time(), found)
        return found

    async def inspect(self, expression: str, detail: str, deadline_s: float, sign_s: float | None) -> dict[str, Any]:
        """The content of `lookup.look`. Raises TimeoutError, NoSignError."""
        content = {"expression": expression, "detail": detail, "deadline_s": deadline_s * _THEIR_SHARE}
        return await self.channels.ask("control", INSPECT, content, deadline_s, sign_s=sign_s)

    @property
    def language(self) -> str:
        """What it runs, as it says itself: `python`, `bash`, `R`."""
        return str((self.info.get("language_info") or {}).get("name") or "")

    async def inspect_as_jupyter(self, expression: str, deadline_s: float) -> str:
        """What a kernel of another language says of `expression`, empty where nothing. Raises TimeoutError."""
        content = {"code": expression, "cursor_pos": len(expression), "detail_level": 0}
        reply = await self.channels.ask("shell", "inspect_request", content, deadline_s)
        data = reply.get("data") or {}
        return str(data.get("text/plain") or data.get("text/markdown") or "") if reply.get("found") else ""

    async def interrupt(self, since: float | None) -> None:
        """Interrupt what it runs since then, a cell that awaits too, and what that started.

        Raises ProcessLookupError, UnavailableError.
        """
        await self.keeper.interrupt(since)
        if self.language == "python":
            with contextlib.suppress(zmq.ZMQError):  # it died of it, and is let go of already
                await self.channels.send("control", PLACE, {})  # it wakes a cell that awaits

    async def place(self, deadline_s: float) -> dict[str, Any]:
        """Where its cell is, the content of `place`'s reply. Raises TimeoutError, NoSignError."""
        try:
            return await self.channels.ask("control", PLACE, {}, deadline_s, sign_s=deadline_s)
        except zmq.ZMQError:
            raise TimeoutError("the kernel is let go of") from None

    async def near(self, key: str, evalue: str, deadline_s: float) -> tuple[str, str]:
        """What an error's line asks for a missing key, and the one near key that it has; empty where there is none.

        Raises TimeoutError, NoSignError.
        """
        if not self.recorder.get("near"):  # one that a version before this one started
            return "", ""
        found = await self.channels.ask("control", NEAR, {"key": key, "evalue": evalue}, deadline_s)
        return str(found.get("of", "")), str(found.get("near", ""))

    async def shutdown(self) -> None:
        """End it, politely first, each step with a deadline; then remove its sockets. Raises UnavailableError."""
        if self.recorder.get("door") and self.alive:  # what is ended on purpose saves nothing by itself
            await self.save_nothing()
        await self.keeper.terminate()
        await self.close()
        remove_connection(self.record)

    async def save_nothing(self) -> None:
        """Have it save nothing by itself any more where others end it, once no cell runs."""
        with contextlib.suppress(zmq.ZMQError):  # it is let go of
            await self.channels.send("control", KEEP, {"code": CHECKPOINTS, "into": None})

    async def close(self) -> None:
        """Let go of it; it runs on."""
        await self._tasks.close()
        await self.keeper.close()


def _announces_restart(message: Message) -> bool:
    """Whether a message on iopub says that the kernel is started again: its own, or its server's."""
    if message.msg_type == "shutdown_reply":
        return bool(message.content.get("restart"))
    return bool(message.msg_type == "status" and message.content.get("execution_state") == "restarting")
