"""One kernel: its process and its channels, from start or adoption to its end. It decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import zmq

from kernel_supervisor.core.errors import UnavailableError
from kernel_supervisor.core.model import KernelRecord, Message, OnMessage, ProcessIdentity
from kernel_supervisor.inside import source
from kernel_supervisor.inside.lookup import INSPECT, VARIABLES
from kernel_supervisor.inside.place import PLACE
from kernel_supervisor.kernels import postmortem
from kernel_supervisor.kernels.channels import Channels, watch
from kernel_supervisor.kernels.connection import check_own
from kernel_supervisor.kernels.hindrances import searched_first
from kernel_supervisor.kernels.launch import Surroundings, launch, remove_connection, stage, why_it_failed
from kernel_supervisor.kernels.process import Process, identify
from kernel_supervisor.kernels.provisioned import Provisioned
from kernel_supervisor.servers import rest
from kernel_supervisor.servers.rest import FindServer
from kernel_supervisor.servers.websocket import ServerChannels

log = logging.getLogger(__name__)
READY_DEADLINE_S = 60.0
"""An interpreter on a cold network disk takes its time; nothing hangs longer than this."""
_ASK_AGAIN_S, _ASK_SERVER_AGAIN_S = 0.05, 1.0
_THEIR_SHARE = 0.75
"""Of the time that a look may take: what the kernel may use of it, so that its answer still arrives."""
_AS_LONG_AS_IT_TAKES_S = 30 * 86_400.0
_HEAR_S = 20.0
_PASS_S = 2.0
"""How long a question behind what runs is waited for at first, before it is asked again."""
_INTERRUPT_S = 2.0
_SHUTDOWN_LADDER_S = (3.0, 3.0, 3.0)
"""How long a request, SIGTERM and SIGKILL are each given."""


class Kernel:
    """A running kernel. `on_message` gets every message, `on_death` is called once; both on the loop."""

    def __init__(self, record: KernelRecord, process: Process | None, find_server: FindServer | None = None) -> None:
        """Hold a kernel that was launched; `process` is None for kernels that are not on this machine or not ours.

        `find_server` gives the server that has it, if there is one.
        """
        self.record = record
        self.process = process
        self._find_server = find_server
        self.provisioned: Provisioned | None = None
        self.info: dict[str, Any] = {}
        """The content of its kernel_info_reply."""
        self._on_message: OnMessage | None = None
        self._early: list[Message] = []
        """What was heard before anybody listened, of a kernel that does not record itself."""
        self.on_death: Callable[[], None] = lambda: None
        self.on_resumed: Callable[[str], None] = lambda gap: None
        """Called when a broken connection is up again, with what is to be said of the time between."""
        self.on_restarted: Callable[[], None] = lambda: None
        """Called when somebody else restarted it."""
        self.on_state: Callable[[str], None] = lambda state: None
        """Called now and then with what its server says that it does."""
        self.memory: postmortem.MemoryWatch | None = None
        self.last_variables: tuple[float, dict[str, Any]] | None = None
        """What `variables` found when all were asked for last, and when that was."""
        self._heard = False
        self._ready = asyncio.Event()
        self._dead = asyncio.Event()
        self._gone_because = ""
        self._searched_first: tuple[str, ...] = ()
        """Folders of the user's that may keep it from starting."""
        self._restarting = False
        self._watch: asyncio.Task[None] | None = None
        self.channels: Channels | ServerChannels

    @classmethod
    async def start(cls, record: KernelRecord, surroundings: Surroundings, key: str = "") -> Kernel:
        """Launch a kernel. It is not ready before `connect`. Raises UnavailableError."""
        if record.provisioned:
            provisioned = await Provisioned.start(record, surroundings)
            kernel = cls(replace(record, provisioner_state=await provisioned.state()), None)
            kernel.provisioned = provisioned
            return kernel
        process = await launch(record, surroundings, key)
        kernel = cls(replace(record, process=process.identity), process)
        kernel._searched_first = searched_first(record, surroundings.env)
        return kernel

    @classmethod
    def adopt(cls, record: KernelRecord, find_server: FindServer | None = None) -> Kernel:
        """Take over a kernel that lives. Raises ProcessLookupError where it does not."""
        return cls(record, Process(record.process) if record.process is not None else None, find_server)

    async def connect(self, deadline_s: float = READY_DEADLINE_S) -> None:
        """Connect and wait until it answers and its messages arrive.

        Asked on the control channel, so that a busy kernel answers too. Raises UnavailableError, with the
        stage and the end of its standard error, or with the server's reason; KernelGoneError where that has it
        no more.
        """
        if self.process is not None:
            self.process.watch(self._died)
            await asyncio.to_thread(self.watch_memory, system=True)
        if self.record.provisioned:
            self.provisioned = self.provisioned or await Provisioned.adopt(self.record)
            watching = self.provisioned.watch(self._left)
            self._watch = asyncio.create_task(watching, name=f"watch of kernel {self.record.id}")
        self.channels = self._open_channels()
        ask_again_s = _ASK_AGAIN_S
        if isinstance(self.channels, ServerChannels):
            await self.channels.connected(deadline_s)
            ask_again_s = _ASK_SERVER_AGAIN_S
        end = asyncio.get_running_loop().time() + deadline_s
        while not self._ready.is_set():
            if self._dead.is_set() or (self.process is not None and not self.process.alive()):
                how, doing = self.ended_how(), stage(self.record)
                words = await asyncio.to_thread(why_it_failed, self.record, self._searched_first)
                raise UnavailableError(f"Stage {doing}: the kernel ended while it started ({how}).{words}")
            if asyncio.get_running_loop().time() >= end:
                silent = f"the kernel runs but did not answer within {deadline_s:g} s"
                words = await asyncio.to_thread(why_it_failed, self.record, self._searched_first)
                raise UnavailableError(f"Stage connection: {silent}.{words}")
            await self.channels.send("control", "kernel_info_request", {})
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ready.wait(), ask_again_s)
        self.record = replace(self.record, language_info=dict(self.info.get("language_info") or {}))

    def _open_channels(self) -> Channels | ServerChannels:
        """Through the connection file where there is one here. Who else has the kernel is watched, else its sockets."""
        record, identity = self.record, self.record.channel_identity
        if self._find_server is not None:
            watching = rest.watch(self._find_server, record.server_kernel, self._left, self._told_state)
            self._watch = asyncio.create_task(watching, name=f"watch of kernel {record.id}")
            if not record.connection_file:
                return ServerChannels(
                    self._find_server,
                    record.server_kernel,
                    identity,
                    self._take,
                    on_resumed=lambda gap: self.on_resumed(gap),
                    on_gone=self._left,
                )
        elif not record.owned:
            watching = watch(Path(record.connection_file), self._left)
            self._watch = asyncio.create_task(watching, name=f"watch of kernel {record.id}")
        elif self.process is not None:
            check_own(Path(record.connection_file))
        return Channels(Path(record.connection_file), identity, self._take)

    def listen(self, on_message: OnMessage) -> None:
        """From now on `on_message` gets every message, those first that came before anybody listened."""
        self._on_message = on_message
        for message in self._early:
            self._pass_on(on_message, message)
        self._early.clear()

    def _take(self, message: Message) -> None:
        if message.channel == "iopub":
            self._heard = True
        elif message.msg_type == "kernel_info_reply":
            self.info = message.content
        if self._heard and self.info:
            self._ready.set()
        if self._on_message is not None:
            self._pass_on(self._on_message, message)
        elif not self.record.recorded:
            self._early.append(message)
        if message.channel == "iopub" and self.process is None:
            announced = _announces_restart(message)
            if announced and not self._restarting:
                self.on_restarted()
            self._restarting = announced

    def _pass_on(self, on_message: OnMessage, message: Message) -> None:
        try:
            on_message(message)
        except Exception:  # one odd message must not make us deaf to all that follow
            log.exception("kernel %s: a message of type %s was passed over", self.record.id, message.msg_type)

    def _told_state(self, state: str) -> None:
        if not self.trouble:
            self.on_state(state)

    def _left(self, why: str) -> None:
        if not self._dead.is_set():
            self._gone_because = why
            self._died()

    @property
    def trouble(self) -> str:
        """Why it cannot be reached at the moment; empty where nothing says so."""
        return self.channels.trouble if isinstance(self.channels, ServerChannels) else ""

    def _died(self) -> None:
        self._dead.set()
        self.on_death()

    @property
    def alive(self) -> bool:
        """Whether its process runs; of a kernel without one here, whether nothing says otherwise."""
        return not self._dead.is_set() and (self.process is None or self.process.alive())

    def watch_memory(self, *, system: bool = False) -> None:
        """Note the counters of out-of-memory kills, to be compared if it dies."""
        if self.process is not None:
            before = self.memory.system_killed if self.memory is not None else 0
            self.memory = postmortem.watch_memory(self.process.identity.pid, system=system)
            if not system:
                self.memory = replace(self.memory, system_killed=before)

    def post_mortem(self) -> str:
        """Why it died, as far as can be known. Blocks on files."""
        if self.process is None:
            return f"the kernel is gone: {self._gone_because}" if self._gone_because else "the kernel is gone"
        return postmortem.explain(self.record, self.process.exit(), self.memory)

    def ended_how(self) -> str:
        """How its process ended, in words."""
        return "unknown" if self.process is None else str(self.process.exit())

    async def execute(self, msg_id: str, code: str) -> None:
        """Send an execute_request under `msg_id`. Its recorder never begins one msg_id twice."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": False,  # it would abort what other clients have queued
        }
        await self.channels.send("shell", "execute_request", content, msg_id=msg_id)

    async def answer(self, question: str, text: str) -> None:
        """Give `text` to the `input()` whose `input_request` has the msg_id `question`."""
        value = text.encode("utf-8", "replace").decode()  # half of a surrogate pair cannot be sent
        await self.channels.send("stdin", "input_reply", {"status": "ok", "value": value}, parent={"msg_id": question})

    async def teach(self) -> str:
        """Give a kernel that our recorder did not start what is not in it yet, without a trace in its history.

        That is `coroutines`, `lookup`, `questions` and `place`. It has them once it is idle; until then looking is not
        answered.
        All in one request, since some ipykernels do not bear two at a time. The version of its ipykernel, empty where
        a connection broke before the kernel told it.
        """
        content = {
            "code": " or ".join(map(_lesson, ("coroutines", "lookup", "questions", "place"))),
            "silent": True,
            "store_history": False,
            "user_expressions": {"version": "__import__('ipykernel').__version__"},
            "allow_stdin": False,
        }
        with contextlib.suppress(TimeoutError, UnavailableError):
            reply = await self.channels.ask("shell", "execute_request", content, _AS_LONG_AS_IT_TAKES_S)
            said = (reply.get("user_expressions") or {}).get("version") or {}
            return str((said.get("data") or {}).get("text/plain") or "").strip("'")
        return ""

    async def hear_again(self) -> None:
        """Wait until what it publishes arrives, after somebody else restarted it; not for ever. A server sees to it."""
        if isinstance(self.channels, Channels):
            with contextlib.suppress(TimeoutError):
                await self.channels.hear(_HEAR_S)

    async def pass_through_shell(self) -> None:
        """Return when everything that was sent on the shell channel so far is done; no deadline but its owner's."""
        deadline_s = _PASS_S
        while True:  # a connection that breaks takes the question along, an interrupt the answer
            with contextlib.suppress(TimeoutError):
                await self.channels.ask("shell", "kernel_info_request", {}, deadline_s)
                return
            deadline_s *= 2

    async def variables(self, name: str, type_name: str, deadline_s: float, sign_s: float | None) -> dict[str, Any]:
        """The content of `lookup.variables`: those whose names and types have these parts.

        Raises TimeoutError, and NoSignError where it did not begin within `sign_s`.
        """
        content = {"filter": name, "type": type_name, "deadline_s": deadline_s * _THEIR_SHARE}
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

    async def interrupt(self) -> None:
        """SIGINT to the kernel and what it started, as a terminal does; else through its server, or a message, until it
        was taken, for _INTERRUPT_S at most. Raises ProcessLookupError, UnavailableError."""
        if self.process is not None:
            self.process.signal_group(signal.SIGINT)
        elif self.provisioned is not None and not self.provisioned.by_message:
            await self.provisioned.interrupt(self.record)
        elif self._find_server is not None:
            await rest.interrupt_kernel(await self._find_server(), self.record.server_kernel)
        else:
            with contextlib.suppress(TimeoutError):
                await self.channels.ask("control", "interrupt_request", {}, _INTERRUPT_S)
        if self.info.get("language_info", {}).get("name") == "python":
            with contextlib.suppress(zmq.ZMQError):  # it died of it, and is let go of already
                await self.channels.send("control", PLACE, {})  # it wakes a cell that awaits

    async def place(self, deadline_s: float) -> dict[str, Any]:
        """Where its cell is, the content of `place`'s reply. Raises TimeoutError, NoSignError."""
        try:
            return await self.channels.ask("control", PLACE, {}, deadline_s, sign_s=deadline_s)
        except zmq.ZMQError:
            raise TimeoutError("the kernel is let go of") from None

    async def shutdown(self) -> None:
        """End it: ask, then SIGTERM, then SIGKILL to its group, each with a deadline; then remove its sockets.

        One behind a server is ended there. Raises ServerError.
        """
        if self._find_server is not None:
            await rest.end_kernel(await self._find_server(), self.record.server_kernel)
        elif self.provisioned is not None:
            await self._ask_to_end()
            await self.provisioned.end(self.record)
        elif self.process is None:
            await self._ask_to_end()
        elif self.process.alive():
            await self._end_process(self.process)
        await self.close()
        remove_connection(self.record)

    async def _end_process(self, process: Process) -> None:
        request, term, kill = _SHUTDOWN_LADDER_S
        asked = hasattr(self, "channels")  # not where its sockets could not even be opened
        if asked:
            await self.channels.send("control", "shutdown_request", {"restart": False})
        if not (asked and await process.wait(request)) and not await self._signal(signal.SIGTERM, term):
            await self._signal(signal.SIGKILL, kill)
        process.exit()

    async def _ask_to_end(self) -> None:
        if not hasattr(self, "channels"):
            return
        with contextlib.suppress(TimeoutError):  # it is not ours: asking is all that can be done
            await self.channels.ask("control", "shutdown_request", {"restart": False}, _SHUTDOWN_LADDER_S[0])

    async def _signal(self, number: int, deadline_s: float) -> bool:
        assert self.process is not None
        try:
            self.process.signal_group(number)
        except ProcessLookupError:
            return True
        return await self.process.wait(deadline_s)

    async def close(self) -> None:
        """Let go of it; it runs on."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        if hasattr(self, "channels"):
            await self.channels.close()
        if self.process is not None:
            self.process.close()


def _lesson(name: str) -> str:
    """An expression that installs one of our modules in a kernel; its value is None."""
    text = source(name).read_text()
    return (
        f"(lambda ns: (exec(compile({text!r}, '<kernel-supervisor>', 'exec'), ns), "
        f"ns['install'](get_ipython().kernel)) and None)({{'__name__': '_kernel_supervisor_{name}'}})"
    )


def surroundings_of(identity: ProcessIdentity | None) -> Surroundings | None:
    """What a living process was started with; None where the system does not tell. Blocks on /proc."""
    if identity is None or identify(identity.pid) != identity:
        return None
    try:
        process = psutil.Process(identity.pid)
        return Surroundings(env=process.environ(), umask=_umask_of(process.pid), limits=_limits_of(process))
    except (psutil.Error, OSError):
        return None


def _announces_restart(message: Message) -> bool:
    """Whether a message on iopub says that the kernel is started again: its own, or its server's."""
    if message.msg_type == "shutdown_reply":
        return bool(message.content.get("restart"))
    return bool(message.msg_type == "status" and message.content.get("execution_state") == "restarting")


def _umask_of(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    except OSError:
        return None
    return None


def _limits_of(process: psutil.Process) -> dict[str, tuple[int, int]]:
    if not hasattr(process, "rlimit"):
        return {}
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: process.rlimit(getattr(resource, name)) for name in names}
