"""The values that travel between the layers: messages, executions, kernels and sessions as frozen snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

from kernel_supervisor.core.forms import formed
from kernel_supervisor.core.ways import WayOn

KernelId = NewType("KernelId", str)
SessionName = NewType("SessionName", str)
ExecutionId = NewType("ExecutionId", int)
MessageId = NewType("MessageId", str)
Channel = Literal["shell", "control", "stdin", "iopub"]
ExecutionStatus = Literal["queued", "running", "ok", "error", "interrupted", "aborted", "lost", "dead"]
"""`interrupted`: an interrupt ended it after it had begun; `aborted`: it was not run; `dead`: the kernel died while the
execution ran; `lost`: nobody can know what became of it."""

EntryKind = Literal["code", "markdown", "note"]
"""What an entry of a session's history is. A `note` is ours: a restart, a switch of environment."""

KernelState = Literal["starting", "idle", "busy", "waiting for input", "dead", "unreachable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One Jupyter message that a kernel sent.

    https://jupyter-client.readthedocs.io/en/stable/messaging.html, as the message log keeps it.
    """

    channel: str
    """`iopub`, `shell` or `stdin`; `control` for what no log has."""
    msg_type: str
    msg_id: str
    parent_id: str
    """The `msg_id` of the request that caused it, empty where there was none."""
    date: str
    """ISO 8601, as the kernel wrote it."""
    username: str
    """The user name of the *request*: who asked."""
    content: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)
    buffers: tuple[bytes, ...] = ()
    asked_in: str = ""
    """The Jupyter session of the request: ours, or that of another client of the kernel."""
    beside: str = ""
    """What a request of ours says of its execution (`records/beside.py`); empty for those of others."""
    written: bytes = field(default=b"", compare=False, repr=False)
    """`content` as JSON, as the kernel wrote it, where that is at hand: writing it again is what costs most."""


OnMessage = Callable[[Message], None]
BESIDE = "supervisor"
"""Where in the header of a request of ours stands what travels beside it; text, as ipykernel hashes what is there."""


def message_of(channel: str, parts: Sequence[Any], buffers: Iterable[bytes] = (), written: bytes = b"") -> Message:
    """The message whose header, parent header, metadata and content are `parts`; some kernels send null for an object.

    Raises ValueError and KeyError where it is not known by them what it is, and of which request.
    """
    header, parent, metadata, content = parts
    parent = parent or {}
    if not (isinstance(header, dict) and isinstance(parent, dict)):
        raise ValueError("a header of it is no object")
    if not all(isinstance(name, str) for name in (header["msg_id"], header["msg_type"], parent.get("msg_id", ""))):
        raise ValueError("its ids and its type are not text")
    beside = parent.get(BESIDE)
    return Message(
        channel=channel,
        msg_type=header["msg_type"],
        msg_id=header["msg_id"],
        parent_id=parent.get("msg_id", ""),
        date=str(header.get("date", "")),
        username=str(parent.get("username", "")),
        content=formed(header["msg_type"], content),
        metadata=metadata if isinstance(metadata, dict) else {},
        buffers=tuple(buffers),
        asked_in=str(parent.get("session", "")),
        beside=beside if isinstance(beside, str) else "",
        written=written,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an `input()` or a `getpass()` in a running cell asks for."""

    id: str
    """The `msg_id` of its `input_request`."""
    prompt: str
    password: bool
    """Whether what is typed is not to be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What the recorder says about its own record: not a message of the kernel's."""

    kind: Literal["hole", "limit", "cut", "before", "gap", "odd"]
    """`hole`: records could not be written; `limit`: an execution reached its limit; `cut`: so the middle of what it
    showed is missing; `before`: how much stood before
    a file that has its end; `gap`: nobody listened; `odd`: a record cannot be read."""
    parent_id: str
    detail: str
    goes_on: bool = False
    """Whether what an execution at its limit showed last is recorded beside the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where an execution's messages stand in its kernel's message log: byte offsets, `end` exclusive."""

    log: str
    """Path of the message log."""
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One entry of a session's history: code that was run, markdown that was added, or a note of ours."""

    id: ExecutionId
    session: SessionName
    kind: EntryKind
    source: str
    status: ExecutionStatus
    kernel_id: KernelId | None = None
    generation: int = 0
    """How many times that kernel had been started when this ran; 0 for markdown and notes."""
    msg_id: MessageId | None = None
    execution_count: int | None = None
    client: str = ""
    """Who asked, as the client names itself."""
    queued_at: float = 0.0
    """Seconds since the epoch, as `started_at` and `finished_at`."""
    started_at: float | None = None
    finished_at: float | None = None
    region: Region | None = None
    reason: str = ""
    """Why it is aborted, lost or dead."""
    replaces: ExecutionId | None = None
    """The entry of a loaded notebook that this is a run of; it stands in that entry's place."""
    unrecorded: int = 0
    """How many of its messages its log could not take, as far as is known."""

    @property
    def settled(self) -> bool:
        """Whether its status is final."""
        return self.status not in ("queued", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A place in a session's history: directly before or after another entry of it."""

    entry: ExecutionId
    before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """A process that cannot be mistaken for another: pid, start and boot.

    `start` is in clock ticks since boot on Linux (`/proc/PID/stat`, field 22), in microseconds since the
    epoch on macOS. psutil's create time is not used: it moves when the clock is set.
    """

    pid: int
    start: int
    boot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """What runs a kernel: an environment's Python, or a kernelspec's command."""

    name: str
    """How people call it: `default`, an environment's or a kernelspec's name."""
    kind: str
    """`default`, `venv`, `conda`, `kernelspec`, …"""
    argv: tuple[str, ...]
    """The command up to, and without, the kernel module: usually just the interpreter's path."""
    prefix: str = ""
    """The environment's folder, empty where there is none."""
    language: str = "python"
    why: str = ""
    """Why this one was chosen, in words for a person."""


PART = "part"
"""What stands among a notebook's fingerprints where it was asked for a part of the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A session: a durable name with a directory, one current kernel and one notebook."""

    name: SessionName
    """As `core.names` spells it: unique, the same from everywhere."""
    directory: str
    """Where its kernels work: the project's directory, by its real path."""
    kernel_id: KernelId | None = None
    """Its current kernel; None until the first execution."""
    created_at: float = 0.0
    notebooks: Mapping[str, str] = field(default_factory=dict)
    """The notebooks that this session wrote: path, and fingerprints of what may stand there, with a space between.

    PART is among them where it may be but a part of the history.
    """
    autosave: str = ""
    """The notebook that is kept up to date, empty for none."""
    notice: str = ""
    """What the next client that works here is to be told of it, once."""
    loaded: str = ""
    """The message log of the notebook that was loaded last, which begins with the notebook's metadata."""
    checkpoints: str = ""
    """When its variables are saved: `asked`, `auto` (by itself, too) or `off`; empty where nobody said."""
    old_name: str = ""
    """What a version before this one called it, whose names meant the same in every project; empty for its others."""

    @property
    def folder(self) -> str:
        """What its project is called."""
        return self.name.partition("/")[0]

    @property
    def word(self) -> str:
        """What it is called in its project; empty for the project's own one."""
        return self.name.partition("/")[2]

    @property
    def title(self) -> str:
        """What its notebook is called."""
        return self.word or self.folder


DAMAGED = "damaged"
"""The kind of interpreter of a kernel whose record nobody can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRecord:
    """One kernel as it stands on disk: everything that a next daemon needs to find it again."""

    id: KernelId
    session: SessionName
    generation: int
    """How many times it was started; raised by each restart."""
    interpreter: Interpreter
    connection_file: str
    directory: str
    channel_identity: str
    """The ZeroMQ identity of our channels, kept so that replies find the next daemon."""
    missing: str = ""
    """Its session's directory, where nothing could work in that when it was started; `directory` stands in then."""
    connection: str = field(default="", repr=False)
    """What its connection file says, its key too, should that file be removed; empty for kernels of others."""
    process: ProcessIdentity | None = None
    """None while it is being started, and for kernels that are not ours."""
    overlay: str = ""
    """A folder with an ipykernel for an interpreter that has none, appended to its `sys.path`."""
    owned: bool = True
    """Started by us. What is not ours is never shut down without being asked by name."""
    recorded: bool = True
    """Whether it writes its own message log; else the daemon does."""
    message_log: str = ""
    standard_error: str = ""
    """The file that its standard output and error go to."""
    language_info: Mapping[str, Any] = field(default_factory=dict)
    """As its kernel_info_reply has it, once there was one."""
    ipykernel: str = ""
    """The version of its ipykernel as the kernel itself tells it, where we did not start it."""
    server: str = ""
    """The base URL of the server that it is reached through, without a token; empty for a connection file."""
    server_kernel: str = ""
    """Its id there; empty while that server starts it for us."""
    provisioner_state: str = ""
    """What its provisioner needs to find it again, for one that a provisioner placed."""
    started_at: float = 0.0
    ended_at: float | None = None
    end_reason: str = ""

    @property
    def called(self) -> str:
        """How people call it: by its environment."""
        return "default" if self.interpreter.kind == "default" else self.interpreter.name

    @property
    def damaged(self) -> bool:
        """Whether nothing is known of it but its id and its session."""
        return self.interpreter.kind == DAMAGED

    @property
    def pid(self) -> int | None:
        """Its process's number, where it has one here."""
        return self.process.pid if self.process is not None else None

    @property
    def ended(self) -> bool:
        """Whether it is known to be gone."""
        return self.ended_at is not None

    @property
    def way_on(self) -> WayOn:
        """What a session can do whose kernel it was, once it is gone."""
        return WayOn("fresh kernel" if self.owned else "default kernel")
